"""Checks of lesson 09, best practices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import initializers, optimizers
from keras.layers import Dense
from numpy.typing import NDArray

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["checkpoint", "he_weights", "prediction", "report"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("09", ("he_weights", "checkpoint"))


def he_weights(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `he_weights(inputs, outputs, random)` returns normal weights with variance 2 / inputs."""
    praise = "The size of a signal survives the layer, whatever its width."
    return LESSON.run("he_weights", _check_he_weights, attempt, praise)


def checkpoint(pack: Callable[..., Any], unpack: Callable[..., Any]) -> Outcome:
    """Check exercise 2: what `pack(model, adam)` returns and `unpack(...)` puts back goes on as before."""
    praise = "The run goes on as if nothing had happened."
    return LESSON.run("checkpoint", lambda attempt: _check_checkpoint(attempt, unpack), pack, praise)


def report(
    he: Any, zero: Any, whole: Any, resumed: Any, rounds: Sequence[Mapping[str, Array]], mode: str = "fast"
) -> Report:
    """Return how the lesson stands; what networks say is computed anew on the test images.

    Parameters
    ----------
    he, zero
        The classifiers trained from He's initial weights and from zeros.
    whole, resumed
        The classifiers of the run that wasn't stopped, and of the one that was.
    rounds
        Measured one after the other, several times: for each input (of which "synthetic", "in turn" and "parallel" are
        looked at) the milliseconds from step to step, and those of them spent waiting.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    images = data.load_images(mode)
    pairs = zip(whole.get_weights(), resumed.get_weights(), strict=True)
    bands = (
        Band("He's initial weights: rightly named", ">=", 0.93, _accuracy(he, images)),
        Band("zeros as initial weights: rightly named", "<=", 0.15, _accuracy(zero, images)),
        Band("parallel reading: share of computing", ">=", 0.90, _computing(rounds, "parallel")),
        Band("reading in turn: share of computing", "<=", 0.80, _computing(rounds, "in turn")),
        Band(
            "parallel reading: rate / synthetic rate", "", 0.90, _step(rounds, "synthetic") / _step(rounds, "parallel")
        ),
        Band("a step on synthetic input (ms)", ">=", 2.0, _step(rounds, "synthetic")),
        Band("stopped and resumed: largest difference", "<=", 1e-6, max(float(np.abs(a - b).max()) for a, b in pairs)),
        Band("the same run: rightly named", ">=", 0.9, _accuracy(resumed, images)),
    )
    if mode != "fast":
        return LESSON.report(tuple(replace(band, comparison="") for band in bands))
    return LESSON.report(bands)


def _computing(rounds: Sequence[Mapping[str, Array]], name: str) -> float:
    """Return the share of the time in which a chain's steps don't wait for their batch: the median of the rounds."""
    return float(np.median([1 - one[name][1] / one[name][0] for one in rounds]))


def _step(rounds: Sequence[Mapping[str, Array]], name: str) -> float:
    """Return the milliseconds from step to step: the median of the rounds."""
    return float(np.median([one[name][0] for one in rounds]))


def _accuracy(model: Any, images: data.Images) -> float:
    return float(np.mean(np.argmax(model(images.test), axis=1) == images.test_labels))


def _check_he_weights(attempt: Callable[..., Any]) -> None:
    for inputs, outputs in ((400, 300), (50, 2000)):
        found = np.asarray(written(attempt(inputs, outputs, np.random.default_rng(inputs))), dtype=float)
        if found.shape != (inputs, outputs):
            raise NotYet(f"The shape should be (inputs, outputs), here {(inputs, outputs)}, not {found.shape}.")
        _compare_variance(float(found.var()), inputs, outputs)
        if abs(found.mean()) > 5 * np.sqrt(2 / inputs / found.size):
            raise NotYet("The mean of the weights isn't zero.")


def _compare_variance(found: float, inputs: int, outputs: int) -> None:
    def near(value: float) -> bool:
        return bool(np.isclose(found, value, rtol=0.05))

    if near(2 / inputs):
        return
    if near((2 / inputs) ** 2):
        raise NotYet("The second argument of `random.normal` is the standard deviation: the root of the variance.")
    if near(1 / inputs):
        raise NotYet("The variance is 1 / n: ReLU throws half of the signal away, so it has to be twice that.")
    if near(2 / outputs):
        raise NotYet("n is the number of inputs: these are what a unit adds up.")
    raise NotYet("The variance is off: it should be 2 / inputs.")


def _fresh(seed: int) -> tuple[Any, Any]:
    """Return a new small network and a new optimiser for it."""
    layers = [Dense(size, kernel_initializer=initializers.GlorotUniform(seed + size)) for size in (6, 3)]
    model, adam = keras.Sequential([keras.Input((4,)), *layers]), optimizers.Adam(0.01)
    adam.build(model.trainable_variables)
    return model, adam


def _train(model: Any, adam: Any, steps: range) -> None:
    for step in steps:
        random = np.random.default_rng(step)
        inputs, targets = (random.normal(size=(8, size)).astype(np.float32) for size in (4, 3))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs) - targets) ** 2)
        adam.apply(tape.gradient(loss, model.trainable_variables))


def _check_checkpoint(pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
    model, adam = _fresh(0)
    _train(model, adam, range(12))
    weights, state = model.get_weights(), [variable.numpy() for variable in adam.variables]
    arrays = [np.array(one) for one in written(pack(model, adam))]
    _train(model, adam, range(12, 24))
    other, other_adam = _fresh(100)
    unpack(arrays, other, other_adam)
    if not _equal(other.get_weights(), weights):
        raise NotYet("After `unpack` the new model doesn't have the weights that were packed.")
    if not _equal([variable.numpy() for variable in other_adam.variables], state):
        raise NotYet(
            "The optimiser's state is lost: the weights are back, but Adam's averages or its count of steps aren't, "
            "and the run goes on differently. Pack the optimiser's `variables` too, and put them back."
        )
    _train(other, other_adam, range(12, 24))
    if not _equal(other.get_weights(), model.get_weights()):
        raise NotYet("The resumed run ends elsewhere. Does `pack` return arrays that later steps change?")


def _equal(some: Sequence[Array], others: Sequence[Array]) -> bool:
    return len(some) == len(others) and all(
        np.allclose(one, other, rtol=0, atol=1e-6) for one, other in zip(some, others, strict=True)
    )
