"""The course's data. Nothing is downloaded inside a job: what isn't part of a package is staged by an administrator."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

MNIST_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
# Of the unpacked contents: whoever packs these files again, as Debian does, gets other bytes.
FASHION_SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


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
    """Return the images of a lesson: `digits()` in mode "fast", `mnist()` in "full", `fashion_mnist()` in "fashion".

    Raises
    ------
    DatasetError
        If `mode` is something else, or the images aren't staged.
    """
    loaders = {"fast": digits, "full": mnist, "fashion": fashion_mnist}
    if mode not in loaders:
        raise DatasetError(f'no mode \'{mode}\'; choose "fast", "full" or "fashion" in the lesson\'s first cell')
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


def fashion_mnist() -> Images:
    """Return 70,000 pictures of garments of ten kinds, 28 x 28 pixels, 60,000 for training and 10,000 for testing.

    Pixels are the original 0..255 divided by 255. Source: Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, MIT licence.

    Raises
    ------
    DatasetError
        If one of the four files isn't staged, or isn't what it should be.
    """
    train, train_labels, test, test_labels = (fashion_file(name) for name in FASHION_SHA256)
    images = [(one[16:].reshape(-1, 784) / 255).astype(np.float32) for one in (train, test)]
    labels = [one[8:].astype(np.int64) for one in (train_labels, test_labels)]
    source = "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017)"
    return Images("Fashion-MNIST", source, images[0], images[1], labels[0], labels[1], (28, 28))


def fashion_file(name: str) -> NDArray[np.uint8]:
    """Return the unpacked bytes of one of the files of Fashion-MNIST, after checking them."""
    path = datasets() / "fashion-mnist" / name
    stage = (
        f"an administrator stages the folder {path.parent}: apt-get install dataset-fashion-mnist && "
        f"cp -r /usr/share/datasets/fashion-mnist {path.parent.parent}  (unpacked, sha256 {FASHION_SHA256[name]})"
    )
    if not path.is_file():
        raise DatasetError(f'{path} is missing; set mode = "fast", or {stage}')
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as problem:
        raise DatasetError(f'{path} is damaged ({problem}); set mode = "fast", or {stage}') from problem
    if hashlib.sha256(content).hexdigest() != FASHION_SHA256[name]:
        raise DatasetError(f'{path} is damaged; set mode = "fast", or {stage}')
    return np.frombuffer(content, np.uint8)


def datasets() -> Path:
    """Return the folder of staged files, which DAVIDE_DATASETS names (the kernels' launch script sets it)."""
    folder = os.environ.get("DAVIDE_DATASETS")
    if not folder:
        raise DatasetError("DAVIDE_DATASETS isn't set: choose one of this site's kernels (menu Kernel, Change Kernel)")
    return Path(folder)


def staged(name: str, address: str, sha256: str) -> Path:
    """Return the path of a staged file after checking it.

    Parameters
    ----------
    name
        Its name in the folder `datasets()`.
    address
        Where an administrator gets it, for the message.
    sha256
        Its checksum.

    Raises
    ------
    DatasetError
        If it isn't there or isn't whole; the text has the command that stages it.
    """
    path = datasets() / name
    stage = f"an administrator stages it where there is internet: curl -fo {path} {address}  (sha256 {sha256})"
    if not path.is_file():
        raise DatasetError(f'{path} is missing; set mode = "fast", or {stage}')
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DatasetError(f'{path} is damaged; set mode = "fast", or {stage}')
    return path
