"""The course's data. Nothing is downloaded inside a job: what isn't part of a package is staged by an administrator."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

MNIST_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


class DatasetError(Exception):
    """A data set is missing or not what it should be; the text says which, where, and how it is staged."""


@dataclass(frozen=True)
class Images:
    """Grey images with their labels, one image a row, split once and for all.

    Pixels are float32 between 0 (background) and 1 (ink); labels are integers.
    """

    name: str
    source: str
    train: NDArray[np.float32]
    test: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    shape: tuple[int, int]


def load_images(mode: str) -> Images:
    """Return the handwritten digits of a lesson: `digits()` in mode "fast", `mnist()` in mode "full".

    Raises
    ------
    DatasetError
        If `mode` is something else, or MNIST isn't staged.
    """
    loaders = {"fast": digits, "full": mnist}
    if mode not in loaders:
        raise DatasetError(f'no mode \'{mode}\'; choose "fast" or "full" in the lesson\'s first cell')
    return loaders[mode]()


def digits() -> Images:
    """Return 1797 handwritten digits of 8 x 8 pixels, 1437 for training and 360 for testing.

    Pixels are the original counts 0..16 divided by 16. Source: Alpaydin and Kaynak, Optical Recognition of
    Handwritten Digits, UCI Machine Learning Repository, 1998 (its test part), as scikit-learn carries it.
    """
    loaded = load_digits()
    pixels = (loaded.data / 16).astype(np.float32)
    train, test, train_labels, test_labels = train_test_split(
        pixels, loaded.target, test_size=360, random_state=0, stratify=loaded.target
    )
    source = "UCI handwritten digits (Alpaydin and Kaynak 1998)"
    return Images("digits", source, train, test, train_labels, test_labels, (8, 8))


def mnist() -> Images:
    """Return 70,000 handwritten digits of 28 x 28 pixels, 60,000 for training and 10,000 for testing.

    Pixels are the original 0..255 divided by 255. Source: LeCun, Cortes and Burges, the MNIST database, 1998.

    Raises
    ------
    DatasetError
        If the file isn't staged, or has another checksum.
    """
    with np.load(staged("mnist.npz", MNIST_ADDRESS, MNIST_SHA256)) as arrays:
        train, test = ((arrays[f"x_{part}"].reshape(-1, 784) / 255).astype(np.float32) for part in ("train", "test"))
        train_labels, test_labels = (arrays[f"y_{part}"].astype(np.int64) for part in ("train", "test"))
    source = "MNIST (LeCun, Cortes and Burges 1998)"
    return Images("MNIST", source, train, test, train_labels, test_labels, (28, 28))


def staged(name: str, address: str, sha256: str) -> Path:
    """Return the path of a staged file after checking it.

    Parameters
    ----------
    name
        Its name in the folder that DAVIDE_DATASETS names (the kernels' launch script sets it).
    address
        Where an administrator gets it, for the message.
    sha256
        Its checksum.

    Raises
    ------
    DatasetError
        If it isn't there or isn't whole; the text has the command that stages it.
    """
    folder = os.environ.get("DAVIDE_DATASETS")
    if not folder:
        raise DatasetError("DAVIDE_DATASETS isn't set: choose one of this site's kernels (menu Kernel, Change Kernel)")
    path = Path(folder) / name
    stage = f"an administrator stages it where there is internet: curl -fo {path} {address}  (sha256 {sha256})"
    if not path.is_file():
        raise DatasetError(f'{path} is missing; set mode = "fast", or {stage}')
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DatasetError(f'{path} is damaged; set mode = "fast", or {stage}')
    return path
