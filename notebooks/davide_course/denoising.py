"""Corruptions of images, and the restorations that a lesson compares, also while a student's own is to be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Array = NDArray[Any]


def loss(model: Callable[[Any], Any], images: Any, corrupt: Callable[[Any], Any]) -> Any:
    """Return the mean squared difference between what a model makes of corrupted images and the clean images."""
    return tf.reduce_mean((model(corrupt(images)) - images) ** 2)


def wiener(train: Array, spread: float) -> tuple[Array, Array]:
    """Return the mean image and the matrix of the best linear filter against independent noise.

    Parameters
    ----------
    train
        Clean images, one a row.
    spread
        Standard deviation of the noise.
    """
    covariance = np.cov(train.T)
    noisy = covariance + spread**2 * np.eye(len(covariance))
    return train.mean(axis=0), np.linalg.solve(noisy, covariance).T


def fill(train: Array, images: Array, seen: Array) -> Array:
    """Return images with each unseen pixel replaced by the best linear guess from the seen ones.

    Parameters
    ----------
    train
        Clean images, whose mean and covariance are used.
    images
        The images to fill; unseen pixels may have any value.
    seen
        Which pixels are known, as 0 and 1 or booleans; the shape of `images`.
    """
    mean, covariance = train.mean(axis=0), np.cov(train.T)
    covariance += 1e-3 * np.eye(len(mean))  # pixels that are white in every image have no variance
    filled = np.array(images)
    for row, known in zip(filled, np.asarray(seen, dtype=bool), strict=True):
        known_part = covariance[np.ix_(known, known)]
        guess = mean + covariance[:, known] @ np.linalg.solve(known_part, row[known] - mean[known])
        row[~known] = np.clip(guess[~known], 0, 1)
    return filled


def corrupted(images: Array, spread: float, seed: int = 0) -> Array:
    """Return images with independent Gaussian noise of a standard deviation; not clipped."""
    noise = np.random.default_rng(seed).normal(0, spread, images.shape)
    return (images + noise).astype(np.float32)


def seen_pixels(images: Array, share: float, seed: int = 0) -> Array:
    """Return which pixels of each image are seen, as 0 and 1, each with the probability `share`."""
    return (np.random.default_rng(seed).random(images.shape) < share).astype(np.float32)
