"""Checks of lesson 05, deep or shallow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["classifier", "prediction", "report", "spreads"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("05", ("spreads", "classifier"))


def spreads(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `spreads(layers, images)` returns the spread over the images in each layer."""
    return LESSON.run("spreads", _check_spreads, attempt, "The spread of every layer agrees with one computed apart.")


def classifier(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `classifier(encoder, classes)` starts from a copy of the trained encoder."""
    praise = "It starts with the encoder's weights, and training it leaves the encoder alone."
    return LESSON.run("classifier", _check_classifier, attempt, praise)


def report(deep: Any, greedy: Any, gained: Any, modern: Any, mode: str = "fast") -> Report:
    """Return how the lesson stands, from the trained autoencoders; everything is computed anew on the test images.

    Parameters
    ----------
    deep
        Sigmoids, usual random start.
    greedy
        Sigmoids, pre-trained layer by layer and fine-tuned.
    gained
        Sigmoids, random start with larger weights.
    modern
        ELU, usual random start.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    test = data.load_images(mode).test
    bands = (
        Band("sigmoid, random start, error", ">=", 0.035, error(deep, test)),
        Band("sigmoid, pre-trained, error", "<=", 0.012, error(greedy, test)),
        Band("sigmoid, weights 4 times larger, error", "<=", 0.009, error(gained, test)),
        Band("ELU, random start, error", "", 0.0, error(modern, test)),
    )
    if mode != "fast":
        return LESSON.report(tuple(replace(band, comparison="") for band in bands))
    return LESSON.report(bands)


def error(model: Any, images: Array) -> float:
    """Return the mean squared error over images and pixels."""
    return float(np.mean((np.asarray(model(images)) - images) ** 2))


def hidden_layer(weights: Array) -> Callable[[Any], Array]:
    """Return a layer with these weights."""

    def layer(numbers: Any) -> Array:
        found: Array = np.tanh(np.asarray(numbers) @ weights)
        return found

    return layer


def hidden_layers(seed: int) -> tuple[list[Callable[[Any], Array]], Array, list[float]]:
    """Return layers that no lesson has, images for them, and the spread of each layer."""
    random = np.random.default_rng(seed)
    weights = [random.normal(size=shape) for shape in ((6, 9), (9, 4), (4, 7))]
    layers = [hidden_layer(one) for one in weights]
    images = random.uniform(size=(30, 6))
    outputs: list[Array] = [images]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    return layers, images, [float(numbers.std(axis=0).mean()) for numbers in outputs[1:]]


def _check_spreads(attempt: Callable[..., Any]) -> None:
    for seed in (0, 1):
        layers, images, expected = hidden_layers(seed)
        found = np.asarray(written(attempt(layers, images.copy())), dtype=float)
        if found.shape != (len(layers),):
            raise NotYet(f"Return one number per layer, here {len(layers)}, not the shape {found.shape}.")
        if not np.allclose(found, expected):
            _explain_spreads(found, layers, images)


def _explain_spreads(found: Array, layers: list[Callable[[Any], Array]], images: Array) -> None:
    outputs = [images]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    mistakes = {
        "That is the spread over the units. Take the standard deviation over the *images*: `axis=0`.": [
            numbers.std(axis=1).mean() for numbers in outputs[1:]
        ],
        "That is one standard deviation over images and units together. Images first, `axis=0`, then the mean.": [
            numbers.std() for numbers in outputs[1:]
        ],
        "The first number is that of the images themselves. Call the layer before you measure.": [
            numbers.std(axis=0).mean() for numbers in outputs[:-1]
        ],
        "That is the variance, the square of what is asked for.": [
            numbers.var(axis=0).mean() for numbers in outputs[1:]
        ],
    }
    for hint, values in mistakes.items():
        if np.allclose(found, values):
            raise NotYet(hint)
    raise NotYet("The numbers are off. Does each layer get what the layer before it gives?")


def _check_classifier(attempt: Callable[..., Any]) -> None:
    import keras  # only here: the environment that tests the hints has no TensorFlow

    for sizes, classes in (((7, 5, 3), 4), ((6, 8), 3)):
        encoder = keras.Sequential(
            [keras.Input((sizes[0],)), *(keras.layers.Dense(size, "tanh") for size in sizes[1:])]
        )
        before = [weights.copy() for weights in encoder.get_weights()]
        images = np.random.default_rng(0).normal(size=(20, sizes[0])).astype(np.float32)
        model = written(attempt(encoder, classes))
        if not callable(model) or not hasattr(model, "get_weights"):
            raise NotYet("Return a network: `keras.Sequential([copy, Dense(classes, ...)])`.")
        _compare_output(np.asarray(model(images)), len(images), classes)
        weights = model.get_weights()
        if [one.shape for one in weights[: len(before)]] != [one.shape for one in before]:
            raise NotYet("The layers of the encoder should come first, with the same sizes, then one layer more.")
        if not all(np.array_equal(one, other) for one, other in zip(weights, before, strict=False)):
            raise NotYet(
                "The layers have the encoder's sizes, but not its weights: what was learnt is lost. `clone_model` "
                "begins with new random weights; put the trained ones in with `set_weights`."
            )
        model.set_weights([one + 1 for one in weights])
        if not all(np.array_equal(one, other) for one, other in zip(encoder.get_weights(), before, strict=True)):
            raise NotYet("Training the classifier would change the encoder itself. Use a copy of it: `clone_model`.")


def _compare_output(found: Array, rows: int, classes: int) -> None:
    if found.shape != (rows, classes):
        raise NotYet(
            f"For {rows} images and {classes} classes the output should be {(rows, classes)}, not {found.shape}."
        )
    if not np.allclose(found.sum(axis=1), 1, atol=1e-4) or found.min() < 0:
        raise NotYet("The last layer should give probabilities, which add up to 1: activation `softmax`.")
