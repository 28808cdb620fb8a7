"""Checks of lesson 02, regularised and contractive autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written
from davide_course.penalties import squared_jacobian as right_norm
from davide_course.probe import fit_probe, gaussian_noise
from davide_course.probe import noisy_accuracy as right_accuracy

__all__ = ["noisy_accuracy", "prediction", "report", "squared_jacobian"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("02", ("squared_jacobian", "noisy_accuracy"))
SPREAD, DRAWS = 0.3, 10


def squared_jacobian(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `squared_jacobian(codes, weights)` returns one squared norm per image."""
    return LESSON.run("squared_jacobian", _check_norm, attempt, "Every image has its own number, and the right one.")


def noisy_accuracy(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `noisy_accuracy(classify, encode, images, labels, noises)` returns one share."""
    return LESSON.run("noisy_accuracy", _check_accuracy, attempt, "The noise is on the images, and every draw counts.")


def report(plain: Any, decayed: Any, contractive: Any, mode: str = "fast") -> Report:
    """Return how the lesson stands, from the three trained networks; everything is computed anew on the test images.

    Parameters
    ----------
    plain, decayed, contractive
        Autoencoders whose first layer is the sigmoid encoder: trained without a penalty, with weight decay, and with
        the penalty on the Jacobian.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    images = data.load_images(mode)
    noises = gaussian_noise(images.test, SPREAD, DRAWS)
    networks = (plain, decayed, contractive)
    norms = [_mean_norm(network.layers[0], images.test) for network in networks]
    shares = [_share(network.layers[0], images, noises) for network in networks]
    error = float(np.mean((np.asarray(contractive(images.test)) - images.test) ** 2))
    bands = (
        Band("closed form against autodiff, relative", "<=", 1e-5, _disagreement(contractive.layers[0], images.test)),
        Band("Jacobian, contractive / plain", "<=", 0.5, norms[2] / norms[0]),
        Band("contractive, error", "<=", 0.003, error),
        Band("accuracy on noisy images, gain over plain", ">=", 0.05, shares[2] - shares[0]),
        Band("the same, gain over weight decay", "", 0.0, shares[2] - shares[1]),
    )
    if mode != "fast":
        return LESSON.report(tuple(replace(band, comparison="") for band in bands))
    fair = norms[1] <= 1.25 * norms[2]
    hint = "The control isn't fair: weight decay has to shrink the Jacobian about as much as the penalty does."
    return LESSON.report(bands, () if fair else (hint,))


def _mean_norm(layer: Any, images: Array) -> float:
    return float(np.mean(np.sqrt(right_norm(layer(images), layer.kernel))))


def _share(layer: Any, images: data.Images, noises: Array) -> float:
    probe = fit_probe(layer(images.train), images.train_labels)
    return right_accuracy(probe.predict, layer, images.test, images.test_labels, noises)


def _disagreement(layer: Any, images: Array) -> float:
    some = tf.constant(images[:64])
    with tf.GradientTape() as tape:
        tape.watch(some)
        codes = layer(some)
    by_autodiff = tf.reduce_sum(tape.batch_jacobian(codes, some) ** 2, axis=(1, 2))
    return float(np.max(np.abs(right_norm(codes, layer.kernel) / by_autodiff - 1)))


def _check_norm(attempt: Callable[..., Any]) -> None:
    for rows, pixels, units, seed in ((5, 7, 4, 0), (3, 4, 6, 1)):
        random = np.random.default_rng(seed)
        weights = random.normal(size=(pixels, units)).astype(np.float32)
        images = random.normal(size=(rows, pixels)).astype(np.float32)
        codes = 1 / (1 + np.exp(-images @ weights))
        returned = written(attempt(tf.constant(codes), tf.constant(weights)))
        _compare_norm(np.asarray(returned, dtype=float), codes, weights)


def _compare_norm(found: Array, codes: Array, weights: Array) -> None:
    slopes, lengths = codes * (1 - codes), (weights**2).sum(axis=0)
    right = (slopes**2 * lengths).sum(axis=1)
    if found.shape == right.shape and np.allclose(found, right, rtol=1e-4):
        return
    if np.allclose(found, lengths.sum(), rtol=1e-4):
        raise NotYet(
            "This is weight decay, the sum of the squared weights: it is the same for every image. The Jacobian also "
            "has the slope of each unit, `codes * (1 - codes)`, which tells how near to saturation the unit is."
        )
    mistakes = {
        "These are the norms; the penalty is their square. Leave out the root.": np.sqrt(right),
        "The slopes are not squared: the norm is the sum of the *squares* of h (1 - h) W.": (slopes * lengths).sum(1),
        "This is the mean over the images. Return one number per image; the loss takes the mean.": right.mean(),
        "This is the sum over the images. Return one number per image; the loss takes the mean.": right.sum(),
        "The weights are not squared before they are summed.": (slopes**2 * weights.sum(axis=0)).sum(axis=1),
        "The slope of the sigmoid is h (1 - h), not h.": (codes**2 * lengths).sum(axis=1),
        "This is the mean over the units; the squared norm is the sum.": (slopes**2 * lengths).mean(axis=1),
        "The units aren't summed yet.": slopes**2 * lengths,
    }
    for hint, value in mistakes.items():
        if found.shape == np.shape(value) and np.allclose(found, value, rtol=1e-4):
            raise NotYet(hint)
    if found.shape != right.shape:
        raise NotYet(f"Return one number per image, shape {right.shape} here, not {found.shape}.")
    raise NotYet(
        "The numbers are off: the sum over units j of (h_j (1 - h_j))^2 times the sum over pixels i of W_ij^2."
    )


def _check_accuracy(attempt: Callable[..., Any]) -> None:
    # As many numbers in the code as pixels: else noise on the codes stops with NumPy's words instead of ours.
    for seed, pixels in ((0, 4), (1, 5)):
        random = np.random.default_rng(seed)
        weights = random.normal(size=(pixels, pixels))
        images = random.normal(size=(40, pixels))

        def encode(rows: Any, weights: Array = weights) -> Array:
            codes: Array = np.tanh(np.asarray(rows) @ weights)
            return codes

        def classify(codes: Any) -> Array:
            found: Array = np.asarray(codes).argmax(axis=1)
            return found

        labels = classify(encode(images))
        labels[:5] = (labels[:5] + 1) % pixels
        noises = random.normal(0, 0.8, (7, *images.shape))
        returned = written(attempt(classify, encode, images.copy(), labels.copy(), noises.copy()))
        found = np.asarray(returned, dtype=float)
        if found.shape:
            raise NotYet(f"Return one number, the mean over all draws, not {found.size} of them.")
        shares = [float(np.mean(classify(encode(images + noise)) == labels)) for noise in noises]
        clean = float(np.mean(classify(encode(images)) == labels))
        on_codes = float(np.mean([classify(encode(images) + noise) == labels for noise in noises]))
        _compare_accuracy(float(found), shares, clean, on_codes)


def _compare_accuracy(found: float, shares: list[float], clean: float, on_codes: float) -> None:
    right = float(np.mean(shares))
    mistakes = {
        "This is the accuracy on the clean images: add a noise to the images before they are encoded.": clean,
        "The noise is on the codes: it belongs on the images, before they are encoded.": on_codes,
        "Only the first draw of the noise counts; take the mean over all of them.": shares[0],
        "Only the last draw of the noise counts; take the mean over all of them.": shares[-1],
        "This is the share of mistakes; the accuracy is one minus it.": 1 - right,
        "This is the sum over the draws; take the mean.": sum(shares),
    }
    if np.isclose(found, right):
        return
    for hint, value in mistakes.items():
        if np.isclose(found, value):
            raise NotYet(hint)
    raise NotYet(
        "The share is off: for each noise, `classify(encode(images + noise)) == labels`; then the mean of all."
    )
