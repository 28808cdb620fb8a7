"""The course's data: real digits without a download; staged data with a sentence where they are missing."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from davide_course import data


def test_the_digits_are_split_as_the_numbers_of_the_lessons_were_measured() -> None:
    images = data.load_images("fast")
    assert (images.train.shape, images.test.shape, images.shape) == ((1437, 64), (360, 64), (8, 8))
    assert (images.train.min(), images.train.max(), images.train.dtype) == (0, 1, np.float32)
    assert set(np.bincount(images.test_labels)) == {35, 36, 37}


def test_an_unknown_mode_names_the_choice() -> None:
    with pytest.raises(data.DatasetError, match='choose "fast", "full" or "fashion" in the lesson\'s'):
        data.load_images("slow")


def test_without_a_folder_for_data_the_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAVIDE_DATASETS", raising=False)
    with pytest.raises(data.DatasetError, match="choose one of this site's kernels"):
        data.load_images("full")


def test_missing_data_come_with_the_command_that_stages_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    with pytest.raises(data.DatasetError) as caught:
        data.load_images("full")
    assert f'{tmp_path}/mnist.npz is missing; set mode = "fast", or an administrator stages it' in str(caught.value)
    assert f"curl -fo {tmp_path}/mnist.npz https://" in str(caught.value)


def test_damaged_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    (tmp_path / "mnist.npz").write_bytes(b"half a file")
    with pytest.raises(data.DatasetError, match="is damaged"):
        data.load_images("full")


def test_staged_data_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    arrays = {
        "x_train": chance.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "x_test": chance.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "y_train": np.arange(20, dtype=np.uint8) % 10,
        "y_test": np.arange(10, dtype=np.uint8),
    }
    np.savez(tmp_path / "mnist.npz", **arrays)  # type: ignore[arg-type]
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    monkeypatch.setattr(data, "MNIST_SHA256", hashlib.sha256((tmp_path / "mnist.npz").read_bytes()).hexdigest())
    images = data.load_images("full")
    assert (images.train.shape, images.test.shape, images.shape) == ((20, 784), (10, 784), (28, 28))
    assert images.train.max() <= 1
    assert images.train_labels.dtype == np.int64


def test_missing_garments_come_with_the_command_that_stages_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    with pytest.raises(data.DatasetError, match=r"train-images-idx3-ubyte\.gz is missing") as caught:
        data.load_images("fashion")
    assert f"cp -r /usr/share/datasets/fashion-mnist {tmp_path}  (unpacked, sha256 " in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip file",
        gzip.compress(b"other images"),
        gzip.compress(b"half")[:-9],
        gzip.compress(b"bent")[:10] + b"bent",
    ],
)
def test_damaged_garments_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist/train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(data.DatasetError, match=r"is damaged.*apt-get install"):
        data.load_images("fashion")


def test_staged_garments_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    (tmp_path / "fashion-mnist").mkdir()
    sums = {}
    for name in data.FASHION_SHA256:
        count = 20 if name.startswith("train") else 10
        content = bytes(16) + bytes([255]) * 784 * count if "images" in name else bytes(8) + bytes(range(count))
        (tmp_path / "fashion-mnist" / name).write_bytes(gzip.compress(content))
        sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(data, "FASHION_SHA256", sums)
    images = data.load_images("fashion")
    assert (images.train.shape, images.test.shape, images.shape) == ((20, 784), (10, 784), (28, 28))
    assert images.train.min() == 1
    assert list(images.test_labels) == list(range(10))
