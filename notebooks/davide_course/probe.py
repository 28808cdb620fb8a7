"""What a code is worth to a simple classifier: logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from davide_course.data import Images

MOST = 10_000  # more images teach a logistic regression little and cost minutes


def fit_probe(codes: ArrayLike, labels: ArrayLike, scaled: bool = True) -> Any:
    """Return a logistic regression fitted to codes.

    Parameters
    ----------
    codes
        One code a row; of more than 10,000 rows the first are used.
    labels
        The class of each row.
    scaled
        Whether each number of the code is first shifted and divided by its spread. The shift changes nothing but the
        time: without it the fit takes ten times as many steps.
    """
    rows, classes = np.asarray(codes)[:MOST], np.asarray(labels)[:MOST]
    fit = LogisticRegression(max_iter=1000, tol=1e-3)
    return (make_pipeline(StandardScaler(), fit) if scaled else fit).fit(rows, classes)


def gaussian_noise(images: ArrayLike, spread: float, draws: int, seed: int = 0) -> NDArray[np.float32]:
    """Return noise of a standard deviation for images: draws x images x pixels."""
    shape = (draws, *np.shape(images))
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def noisy_accuracy(
    classify: Callable[[Any], Any],
    encode: Callable[[Any], Any],
    images: ArrayLike,
    labels: ArrayLike,
    noises: ArrayLike,
) -> float:
    """Return the share of noisy images whose codes are classified rightly, over all draws of the noise."""
    rights = [classify(np.asarray(encode(images + noise))) == labels for noise in np.asarray(noises)]
    return float(np.mean(rights))


def splits(images: Images, count: int = 5) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield splits of all images anew, as large as the course's own: training, test, and the labels of both."""
    pixels = np.vstack([images.train, images.test])
    labels = np.concatenate([images.train_labels, images.test_labels])
    for seed in range(1, count + 1):
        train, test, train_labels, test_labels = train_test_split(
            pixels, labels, test_size=len(images.test), random_state=seed, stratify=labels
        )
        yield train, test, train_labels, test_labels


def few(labels: ArrayLike, count: int, seed: int = 0) -> NDArray[np.intp]:
    """Return the rows of `count` examples of each class, drawn at random."""
    classes, random = np.asarray(labels), np.random.default_rng(seed)
    rows = [random.choice(np.flatnonzero(classes == one), count, replace=False) for one in np.unique(classes)]
    return np.concatenate(rows)
