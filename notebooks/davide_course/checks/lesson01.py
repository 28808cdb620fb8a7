"""Checks of lesson 01, undercomplete autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["honest_score", "pca", "prediction", "report"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("01", ("pca", "honest_score"))
CODE_SIZE = 8


def pca(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `pca(images, size)` returns the mean image and the leading directions."""
    return LESSON.run(
        "pca", _check_pca, attempt, "Mean and directions agree with a case whose answer is known exactly."
    )


def honest_score(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `honest_score(model, train, test, size)` returns both errors on the test images."""
    return LESSON.run("honest_score", _check_honest_score, attempt, "Both errors are those on images that nobody saw.")


def report(linear: Any, deep: Any, mode: str = "fast") -> Report:
    """Return how the lesson stands, from the two trained networks; everything is computed anew on the test images.

    Parameters
    ----------
    linear
        The linear autoencoder; its last layer is the decoder.
    deep
        The deep autoencoder.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    images = data.load_images(mode)
    reference = PCA(CODE_SIZE).fit(images.train)
    floor = error(reconstruct_by_pca(reference, images.test), images.test)
    deep_error = error(deep(images.test), images.test)
    angles = subspace_angles(np.asarray(linear.layers[-1].kernel).T, reference.components_.T)
    bands = (
        Band("linear autoencoder, error / PCA's", "<=", 1.001, error(linear(images.test), images.test) / floor),
        Band("linear autoencoder, angle to PCA's space (deg)", "<", 1.0, float(np.degrees(angles.max()))),
        Band("deep autoencoder, error", "<=", 0.0110, deep_error),
        Band("deep autoencoder, error / PCA's", "<=", 0.45, deep_error / floor),
    )
    if mode != "fast":
        return LESSON.report(tuple(replace(band, comparison="") for band in bands))
    seen = deep_error < error(deep(images.train), images.train)
    hint = "The deep autoencoder does better on test images than on its training images: was it trained on them?"
    return LESSON.report(bands, (hint,) if seen else ())


def error(reconstructions: Any, images: Array) -> float:
    """Return the mean squared error over images and pixels."""
    return float(np.mean((np.asarray(reconstructions) - images) ** 2))


def reconstruct_by_pca(fitted: PCA, images: Array) -> Array:
    """Return images after they went through a fitted PCA and back."""
    found: Array = fitted.inverse_transform(fitted.transform(images))
    return found


def _check_pca(attempt: Callable[..., Any]) -> None:
    for rows, pixels, size, seed in ((40, 7, 3, 0), (9, 20, 4, 1)):
        images, mean, directions = known_case(rows, pixels, size, seed)
        returned = written(attempt(images.copy(), size))
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise NotYet("Return two things: `return mean, directions`.")
        found_mean, found = (np.asarray(one, dtype=float) for one in returned)
        _compare_mean(found_mean, mean)
        _compare_directions(found, directions, images)


def known_case(rows: int, pixels: int, size: int, seed: int) -> tuple[Array, Array, Array]:
    """Return images made from a known mean image and known directions, far enough apart in variance to be unique."""
    random = np.random.default_rng(seed)
    mean = random.uniform(2, 4, pixels)
    directions = np.linalg.qr(random.normal(size=(pixels, pixels)))[0][: size + 2]
    raw = random.normal(size=(rows, size + 2))
    codes = np.linalg.qr(raw - raw.mean(axis=0))[0] * 2.0 ** -np.arange(size + 2)
    return mean + codes @ directions, mean, directions[:size]


def _compare_mean(found: Array, mean: Array) -> None:
    if found.shape != mean.shape:
        raise NotYet(
            f"The mean image should have one number per pixel, shape {mean.shape}, not {found.shape}: use `axis=0`."
        )
    if not np.allclose(found, mean, atol=1e-6):
        raise NotYet("The mean image is not the mean over the images.")


def _compare_directions(found: Array, directions: Array, images: Array) -> None:
    size, pixels = directions.shape
    if found.shape == (pixels, size):
        raise NotYet("The directions are the columns of what you return; make them its rows, `size` by pixels.")
    if found.shape != directions.shape:
        raise NotYet(f"The directions should have the shape (size, pixels), here {(size, pixels)}, not {found.shape}.")
    if matches(found, directions):
        return
    if matches(found, np.linalg.svd(images, full_matrices=False)[2][:size]):
        raise NotYet("These are the directions of the images as they are. Subtract the mean image first.")
    ordered = np.linalg.svd(images - images.mean(axis=0))[2]
    if any(matches(found, one) for one in (ordered[::-1][:size], ordered[:size][::-1])):
        raise NotYet("The directions begin with the smallest variance; the largest comes first.")
    if not np.allclose(found @ found.T, np.eye(size), atol=1e-6):
        raise NotYet("The directions should be orthogonal and of length one: they are the first rows of Vt of the SVD.")
    raise NotYet("The directions aren't the ones of largest variance. Which factor of the SVD has one entry per pixel?")


def matches(found: Array, expected: Array) -> bool:
    """Return whether two sets of directions agree up to their signs."""
    return bool(np.allclose(np.abs(np.sum(found * expected, axis=1)), 1, atol=1e-5)) and bool(
        np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    )


class HiddenModel:
    """Stands in for a trained network: it pulls images towards a constant image, so its error depends on the images."""

    def __init__(self, target: Array) -> None:
        self.target = target

    def __call__(self, images: Any, training: bool = False) -> Array:
        """Return the reconstructions, as a network does when it is called."""
        del training
        shrunk: Array = 0.7 * np.asarray(images) + 0.3 * self.target
        return shrunk

    def predict(self, images: Any, **_: Any) -> Array:
        """Return the reconstructions, as a network's `predict` does."""
        return self(images)


def _check_honest_score(attempt: Callable[..., Any]) -> None:
    for seed, size in ((0, 2), (1, 5)):
        random = np.random.default_rng(seed)
        mixing = random.normal(size=(12, 12))
        train = random.normal(size=(80, 12)) @ mixing
        test = random.normal(1.0, 1.3, size=(30, 12)) @ mixing
        model = HiddenModel(random.normal(size=12))
        returned = written(attempt(model, train.copy(), test.copy(), size))
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise NotYet("Return two numbers: the network's error, then PCA's.")
        found, found_pca = (float(np.asarray(one)) for one in returned)
        _compare_network(found, model, train, test)
        _compare_pca_error(found_pca, train, test, size)


def _compare_network(found: float, model: HiddenModel, train: Array, test: Array) -> None:
    right = error(model(test), test)
    if np.isclose(found, right, rtol=1e-5):
        return
    if np.isclose(found, error(model(train), train), rtol=1e-5):
        raise NotYet(
            "The network's error is that on the training images, which it has learnt by heart to some degree. "
            "Use images that it never saw: `test`."
        )
    if np.isclose(found, right * test.shape[1], rtol=1e-5):
        raise NotYet("The network's error is summed over the pixels; take the mean over images and pixels.")
    if np.isclose(found, np.sqrt(right), rtol=1e-5):
        raise NotYet("The network's error is the root of the mean square; the lesson compares the mean square itself.")
    raise NotYet(
        "The network's error is off: it is the mean over images and pixels of (reconstruction - image) squared."
    )


def _compare_pca_error(found: float, train: Array, test: Array, size: int) -> None:
    def of(fitted_on: Array, scored_on: Array, numbers: int = size) -> float:
        return error(reconstruct_by_pca(PCA(numbers).fit(fitted_on), scored_on), scored_on)

    if np.isclose(found, of(train, test), rtol=1e-4):
        return
    mistakes = {
        "PCA's error is that on the training images it was fitted to. Use images that it never saw: `test`.": of(
            train, train
        ),
        "PCA was fitted to the test images: then it has seen them. Fit it to `train`, score it on `test`.": of(
            test, test
        ),
        "PCA was fitted to training and test images together. Fit it to `train` alone.": of(
            np.vstack([train, test]), test
        ),
        f"PCA has to use as many numbers as the code, `size`, not always {CODE_SIZE}.": of(train, test, CODE_SIZE),
    }
    for hint, value in mistakes.items():
        if np.isclose(found, value, rtol=1e-4):
            raise NotYet(hint)
    raise NotYet("PCA's error is off: fit to `train`, then the mean square of (reconstruction - image) over `test`.")
