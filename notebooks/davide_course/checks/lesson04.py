"""Checks of lesson 04, denoising autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from davide_course import data, denoising
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["denoising_loss", "prediction", "report", "wiener"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("04", ("wiener", "denoising_loss"))
SPREAD, SEEN = 0.5, 0.5


def wiener(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `wiener(train, spread)` returns the mean image and the filter's matrix."""
    return LESSON.run("wiener", _check_wiener, attempt, "No linear filter has a smaller error on these images.")


def denoising_loss(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `denoising_loss(model, images, corrupt)` returns the loss of a batch."""
    return LESSON.run(
        "denoising_loss", _check_loss, attempt, "Corrupted images go in, and the clean ones are the target."
    )


def report(against_noise: Any, against_gaps: Any, mode: str = "fast") -> Report:
    """Return how the lesson stands, from the two trained networks; everything is computed anew on the test images.

    Parameters
    ----------
    against_noise
        The network that was trained to remove noise.
    against_gaps
        The network that was trained to fill in missing pixels.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    images = data.load_images(mode)
    test = images.test
    noisy = denoising.corrupted(test, SPREAD)
    mean, matrix = denoising.wiener(images.train, SPREAD)
    by_network = psnr(against_noise(noisy), test)
    seen = denoising.seen_pixels(test, SEEN)
    by_mean = np.where(seen > 0, test, images.train.mean(axis=0))
    bands = (
        Band("noise removed, PSNR (dB)", ">=", 15.2, by_network),
        Band(
            "the same, gain over Wiener's filter (dB)",
            ">=",
            0.9,
            by_network - psnr(mean + (noisy - mean) @ matrix.T, test),
        ),
        Band(
            "gaps filled, gain over the mean image (dB)",
            ">=",
            1.0,
            psnr(against_gaps(test * seen), test) - psnr(by_mean, test),
        ),
    )
    return LESSON.report(bands if mode == "fast" else tuple(replace(band, comparison="") for band in bands))


def psnr(restored: Any, originals: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, for pixels between 0 and 1."""
    return float(-10 * np.log10(np.mean((np.asarray(restored) - originals) ** 2)))


def _check_wiener(attempt: Callable[..., Any]) -> None:
    for rows, pixels, spread, seed in ((60, 5, 0.4, 0), (90, 8, 0.8, 1)):
        random = np.random.default_rng(seed)
        train = random.normal(size=(rows, pixels)) @ random.normal(size=(pixels, pixels)) / 2 + random.normal(
            size=pixels
        )
        returned = written(attempt(train.copy(), spread))
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise NotYet("Return two things: `return mean, matrix`.")
        mean, matrix = (np.asarray(one, dtype=float) for one in returned)
        if mean.shape != (pixels,) or not np.allclose(mean, train.mean(axis=0)):
            raise NotYet("The first thing should be the mean image, one number per pixel: `train.mean(axis=0)`.")
        _compare_matrix(matrix, np.cov(train.T), spread)


def _compare_matrix(found: Array, covariance: Array, spread: float) -> None:
    one = np.eye(len(covariance))
    if found.shape != covariance.shape:
        raise NotYet(
            f"The matrix should be pixels x pixels, here {covariance.shape}, not {found.shape}; mind `train.T`."
        )
    if np.allclose(found, covariance @ np.linalg.inv(covariance + spread**2 * one), rtol=0.05, atol=0.01):
        return
    mistakes = {
        "The noise enters with its variance, the square of `spread`.": covariance
        @ np.linalg.inv(covariance + spread * one),
        "The noise is missing: what is inverted is the covariance of the *noisy* images.": one,
        "The two matrices are the wrong way round: the noisy covariance is the one that is inverted.": (
            covariance + spread**2 * one
        )
        @ np.linalg.inv(covariance),
        "This is only the inverse; multiply the covariance by it.": np.linalg.inv(covariance + spread**2 * one),
        "This filter keeps the noise and removes the image: it is one minus the right one.": one
        - covariance @ np.linalg.inv(covariance + spread**2 * one),
    }
    for hint, value in mistakes.items():
        if np.allclose(found, value, rtol=1e-3, atol=1e-4):
            raise NotYet(hint)
    raise NotYet("The matrix is off: C times the inverse of (C + s^2 I), with C the covariance of the pixels.")


def _check_loss(attempt: Callable[..., Any]) -> None:
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        images = tf.constant(random.random((6, 9)), tf.float32)
        noise = tf.constant(random.normal(size=(6, 9)), tf.float32)
        weights = tf.constant(random.normal(size=(9, 9)) / 3, tf.float32)
        calls: list[int] = []

        def corrupt(rows: Any, noise: Any = noise, calls: list[int] = calls) -> Any:
            calls.append(1)
            return rows + noise * len(calls)

        def model(rows: Any, weights: Any = weights, **_: Any) -> Any:
            return tf.tanh(rows @ weights)

        found = np.asarray(written(attempt(model, images, corrupt)), dtype=float)
        if found.shape:
            raise NotYet(f"Return one number, the mean over images and pixels, not {found.size} of them.")
        _compare_loss(float(found), model, images, noise)


def _compare_loss(found: float, model: Callable[[Any], Any], images: Any, noise: Any) -> None:
    def of(given: Any, wanted: Any) -> float:
        return float(tf.reduce_mean((model(given) - wanted) ** 2))

    noisy = images + noise
    mistakes = {
        "The target is noisy: the network learns to give the noise back. Compare with the clean `images`.": (
            of(noisy, noisy),
            of(noisy, images + 2 * noise),
            of(images + 2 * noise, noisy),
        ),
        "The network is given the clean images: nothing has to be undone. Give it `corrupt(images)`.": (
            of(images, images),
        ),
        "The clean images go in and the corrupted ones are the target; it is the other way round.": (
            of(images, noisy),
        ),
        "This is the sum of the squares; take the mean over images and pixels.": (
            of(noisy, images) * float(tf.size(images)),
        ),
        "This is the root of the mean square; the loss is the mean square itself.": (of(noisy, images) ** 0.5,),
    }
    if np.isclose(found, of(noisy, images), rtol=1e-5):
        return
    for hint, values in mistakes.items():
        if any(np.isclose(found, value, rtol=1e-5) for value in values):
            raise NotYet(hint)
    raise NotYet("The loss is off: the mean of (what the model makes of `corrupt(images)` - `images`) squared.")
