"""Checks of lesson 08, generative adversarial networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import initializers, optimizers
from keras.layers import Dense
from numpy.typing import NDArray
from scipy.special import xlogy

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written
from davide_course.judge import Judge, Verdict
from davide_course.ring import shares

__all__ = ["improve_discriminator", "optimum", "prediction", "report"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("08", ("optimum", "improve_discriminator"))
DRAWS = 8


def optimum(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `optimum(p_data, p_model)` returns the best discriminator and the value of the game."""
    return LESSON.run(
        "optimum", _check_optimum, attempt, "And for equal distributions it is one half everywhere, and -log 4."
    )


def improve_discriminator(attempt: Callable[..., Any], loss: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `improve_discriminator(discriminator, optimiser, real, fake)` takes one step down the loss.

    Parameters
    ----------
    attempt
        What the student wrote.
    loss
        The lesson's loss of the discriminator, from discriminator, real and fake.
    """
    praise = "The discriminator, and nothing else, took the right step."
    return LESSON.run("improve_discriminator", lambda written_: _check_step(written_, loss), attempt, praise)


def report(even: Any, uneven: Any, calm: Any, wild: Any, mode: str = "fast") -> Report:
    """Return how the lesson stands, from its generators; everything is computed anew from what they draw.

    Parameters
    ----------
    even, uneven
        The generators of the two games on the ring.
    calm
        The generator of digits with the gradient penalty and averaged weights.
    wild
        The one without either.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    images = data.load_images(mode)
    judge = Judge(images)
    verdict, without = (
        judge.verdict([draw(generator, judge.draw_size, number) for number in range(DRAWS)])
        for generator in (calm, wild)
    )
    good, collapsed = shares(draw(even, 8000, 0)), shares(draw(uneven, 8000, 0))
    on_ring = (
        Band("ring: share of the rarest mode", ">=", 0.05, float(good.min())),
        Band("ring: share of good samples", ">=", 0.60, float(good.sum())),
        Band("ring, uneven game: modes served", "<", 8, float(np.sum(collapsed > 0.01))),
    )
    return LESSON.report(on_ring + on_digits(verdict, without, mode))


def on_digits(calm: Verdict, wild: Verdict, mode: str = "fast") -> tuple[Band, ...]:
    """Return what is required of generated digits: with both cures, and how much worse it is without them."""
    bands = (
        Band("digits: Frechet distance / floor", "<=", 2.0, calm.distance),
        Band("digits: share of the rarest class", ">=", 0.07, calm.rarest),
        Band("digits: confidence of the judge", ">=", 0.93, calm.confidence),
        Band("digits: distance to training images / test's", ">=", 0.9, calm.novelty),
        Band("without the cures: Frechet distance / with them", ">=", 2.0, wild.distance / calm.distance),
    )
    return bands if mode == "fast" else tuple(replace(band, comparison="") for band in bands)


def draw(generator: Any, count: int, number: int) -> Array:
    """Return `count` samples of a generator; another number, another draw."""
    noise = tf.random.stateless_normal((count, generator.input_shape[1]), [20181, number])
    return np.asarray(generator(noise))


def _check_optimum(attempt: Callable[..., Any]) -> None:
    for seed, bins in ((0, 6), (1, 40)):
        random = np.random.default_rng(seed)
        p_data, p_model = random.dirichlet(np.ones(bins), 2)
        p_data[0] = p_model[-1] = 0.0
        p_data, p_model = p_data / p_data.sum(), p_model / p_model.sum()
        returned = written(attempt(p_data.copy(), p_model.copy()))
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise NotYet("Return two things: the best discriminator in each bin, and the value.")
        best = p_data / (p_data + p_model)
        _compare_best(np.asarray(returned[0], dtype=float), best)
        _compare_value(float(np.asarray(returned[1])), p_data, p_model, best)


def _compare_best(found: Array, best: Array) -> None:
    if found.shape != best.shape:
        raise NotYet(f"The best discriminator has one number a bin, shape {best.shape}, not {found.shape}.")
    if np.allclose(found, best):
        return
    if np.allclose(found, 1 - best):
        raise NotYet("This is the probability that a sample is forged. The discriminator says how likely it is real.")
    raise NotYet("The best discriminator is off: it is the share of `p_data` in `p_data + p_model`, bin by bin.")


def _compare_value(found: float, p_data: Array, p_model: Array, best: Array) -> None:
    on_real, on_fake = float(np.sum(xlogy(p_data, best))), float(np.sum(xlogy(p_model, 1 - best)))
    if np.isclose(found, on_real + on_fake):
        return
    if np.isnan(found):
        raise NotYet("The value is not a number: in empty bins 0 * log(0) has to be 0. `xlogy(x, y)` knows that.")
    mistakes = {
        "The value lacks the second term, what the discriminator gains on generated samples.": on_real,
        "The value has the wrong sign: D maximises V, and the logarithm of a probability is negative.": -on_real
        - on_fake,
        "The value is averaged over the bins. Each bin already counts with its probability; take the sum.": (
            on_real + on_fake
        )
        / len(best),
    }
    for hint, value in mistakes.items():
        if np.isclose(found, value):
            raise NotYet(hint)
    raise NotYet("The value is off: the sum over bins of p_data * log(D) + p_model * log(1 - D).")


def critic(seed: int) -> Any:
    """Return a small discriminator whose weights depend on the seed alone."""
    starts = [initializers.GlorotUniform(seed + layer) for layer in range(2)]
    layers = [
        Dense(size, name, kernel_initializer=start)
        for size, name, start in zip((5, 1), ("tanh", None), starts, strict=True)
    ]
    return keras.Sequential([keras.Input((3,)), *layers])


def _check_step(attempt: Callable[..., Any], loss: Callable[..., Any]) -> None:
    for seed, rate in ((0, 0.1), (10, 0.02)):
        random = np.random.default_rng(seed)
        real, fake = (tf.constant(random.normal(middle, 1, (20, 3)), tf.float32) for middle in (0.5, -0.5))
        network, start = critic(seed), critic(seed).get_weights()
        first = float(loss(network, real, fake))
        returned = written(attempt(network, optimizers.SGD(rate), real, fake))
        compare_weights(network.get_weights(), start, _stepped(seed, rate, real, fake, loss))
        found = float(np.asarray(returned))
        if np.isclose(found, float(loss(network, real, fake)), rtol=1e-4):
            raise NotYet("The step is right; but return the loss before it, not after.")
        if not np.isclose(found, first, rtol=1e-4):
            raise NotYet("The step is right; but what comes back isn't the loss.")


def _stepped(seed: int, rate: float, real: Any, fake: Any, loss: Callable[..., Any]) -> list[Array]:
    """Return the weights after the right step."""
    network = critic(seed)
    with tf.GradientTape() as tape:
        value = loss(network, real, fake)
    slopes = tape.gradient(value, network.trainable_variables)
    return [
        np.asarray(one) - rate * np.asarray(slope) for one, slope in zip(network.get_weights(), slopes, strict=True)
    ]


def compare_weights(found: list[Array], start: list[Array], right: list[Array]) -> None:
    """Raise `NotYet` unless the weights went from `start` to where the right step leads."""
    moved, wanted = (
        np.concatenate([(a - b).ravel() for a, b in zip(one, start, strict=True)]) for one in (found, right)
    )
    if np.allclose(moved, wanted, rtol=1e-3, atol=1e-6):
        return
    if np.allclose(moved, 0):
        raise NotYet(
            "The discriminator didn't move: none of its weights changed. Hand the gradients and its "
            "`trainable_variables` to `optimiser.apply`."
        )
    if np.allclose(moved, -wanted, rtol=1e-3, atol=1e-6):
        raise NotYet("The discriminator walked uphill. `optimiser.apply` already walks down what it is given.")
    raise NotYet(
        "The discriminator moved, but not by one step down its loss. Compute the loss inside the tape, on real and "
        "fake in this order, and apply its gradient once."
    )
