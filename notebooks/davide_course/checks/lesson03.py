"""Checks of lesson 03, sparse autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written
from davide_course.probe import fit_probe, splits

__all__ = ["prediction", "report", "sparse_layer", "zeros_of_live_units"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("03", ("sparse_layer", "zeros_of_live_units"))


def sparse_layer(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `sparse_layer(units, strength)` returns a Keras layer with true zeros and an L1 penalty."""
    return LESSON.run("sparse_layer", _check_layer, attempt, "Its codes have true zeros, and the penalty is on them.")


def zeros_of_live_units(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `zeros_of_live_units(codes)` returns the share of zeros among units that are ever active."""
    return LESSON.run("zeros_of_live_units", _check_zeros, attempt, "Dead units don't count, and zero means zero.")


def report(sparse: Any, by_split: Sequence[Any], mode: str = "fast") -> Report:
    """Return how the lesson stands, from the trained networks; everything is computed anew.

    Parameters
    ----------
    sparse
        The sparse autoencoder that was trained on the training images; its first layer is the encoder.
    by_split
        Sparse autoencoders, each trained on the first part of a split of `probe.splits`, in their order.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    images = data.load_images(mode)
    codes = np.asarray(sparse.layers[0](images.test))
    error = float(np.mean((np.asarray(sparse(images.test)) - images.test) ** 2))
    bands = (
        Band("share of exact zeros", ">=", 0.70, float(np.mean(codes == 0))),
        Band("the same among live units", ">=", 0.60, live_zeros(codes)),
        Band("sparse, error", "<=", 0.0022, error),
        Band("accuracy, mean gain over pixels, five splits", ">=", 0.0, gain(by_split, images)),
    )
    return LESSON.report(bands if mode == "fast" else tuple(replace(band, comparison="") for band in bands))


def live_zeros(codes: Array) -> float:
    """Return the share of exact zeros among the units that are active for at least one image."""
    return float(np.mean(codes[:, (codes != 0).any(axis=0)] == 0))


def gain(networks: Sequence[Any], images: data.Images) -> float:
    """Return the mean difference of accuracy between codes and pixels over the splits."""
    gains = []
    for network, split in zip(networks, splits(images), strict=True):
        train, test, train_labels, test_labels = split
        encode = network.layers[0]
        by_code = fit_probe(encode(train), train_labels).score(np.asarray(encode(test)), test_labels)
        gains.append(by_code - fit_probe(train, train_labels).score(test, test_labels))
    return float(np.mean(gains))


def _check_layer(attempt: Callable[..., Any]) -> None:
    for units, strength, seed in ((12, 0.01, 0), (20, 0.3, 1)):
        layer = written(attempt(units, strength))
        if not hasattr(layer, "kernel_regularizer") or not callable(layer):
            raise NotYet("Return a layer of Keras: `Dense(units, ...)`.")
        if layer.units != units:
            raise NotYet(f"The layer has {layer.units} units instead of `units`, here {units}.")
        inputs = tf.constant(np.random.default_rng(seed).normal(size=(50, 9)), tf.float32)
        codes = np.asarray(layer(inputs), dtype=float)
        _compare_codes(codes)
        _compare_penalty(float(sum(np.asarray(loss) for loss in layer.losses)), codes, strength, layer)


def _compare_codes(codes: Array) -> None:
    if np.mean(codes == 0) > 0.2:
        return
    if codes.min() > 0 and codes.max() < 1:
        raise NotYet(
            "A sigmoid comes near zero and never gets there, so no unit is ever off, whatever the penalty. Take the "
            "activation that is exactly zero for every negative input."
        )
    raise NotYet("These codes are hardly ever exactly zero. Which activation is zero for every negative input?")


def _compare_penalty(found: float, codes: Array, strength: float, layer: Any) -> None:
    right = strength * np.abs(codes).sum(axis=1).mean()
    if np.isclose(found, right, rtol=1e-4):
        return
    weights = np.asarray(layer.kernel, dtype=float)
    if found == 0:
        raise NotYet("There is no penalty yet: the argument is `activity_regularizer`.")
    if np.isclose(found, strength * np.abs(weights).sum(), rtol=1e-4):
        raise NotYet("The penalty is on the weights, `kernel_regularizer`. It belongs on the codes: activity.")
    if np.isclose(found, strength * (codes**2).sum(axis=1).mean(), rtol=1e-4):
        raise NotYet("This is L2. It makes large codes smaller, but its slope vanishes at zero: take L1.")
    raise NotYet(f"The penalty is {found:.3g} where {right:.3g} is right: `strength` times the sum of |codes|.")


def _check_zeros(attempt: Callable[..., Any]) -> None:
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        codes = np.maximum(random.normal(-0.5, 1, (30, 14)), 0)
        codes[:, random.choice(14, 4, replace=False)] = 0
        codes[3, (codes != 0).any(axis=0)] *= 1e-7
        found = np.asarray(written(attempt(codes.copy())), dtype=float)
        if found.shape:
            raise NotYet(f"Return one number, the share over images and live units, not {found.size} of them.")
        live = codes[:, (codes != 0).any(axis=0)]
        mistakes = {
            "Dead units are counted, too: leave out those that are zero for every image.": np.mean(codes == 0),
            "This is the share of numbers that are *not* zero.": np.mean(live != 0),
            "Small numbers are counted as zero. Count exact zeros, `codes == 0`.": np.mean(live < 1e-4),
            "This is the share of dead units.": np.mean((codes == 0).all(axis=0)),
        }
        if np.isclose(found, np.mean(live == 0)):
            continue
        for hint, value in mistakes.items():
            if np.isclose(found, value):
                raise NotYet(hint)
        raise NotYet("The share is off: choose the units that are active for any image, then the mean of `== 0`.")
