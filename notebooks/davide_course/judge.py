"""How good generated digits are, in the eyes of a classifier that saw only real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import optimizers
from keras.layers import Dense
from numpy.typing import ArrayLike, NDArray

from davide_course.data import Images

Array = NDArray[np.floating[Any]]
_STEPS, _BATCH = 1500, 64
DRAW = 10_000  # images of a draw at most: eight draws of MNIST's size would fill the memory of a session
_ENOUGH = 2_000  # images whose nearest neighbours are looked for: all pairs of MNIST would be 14 GB


def frechet(some: ArrayLike, others: ArrayLike) -> float:
    """Return the Frechet distance between the Gaussians with the means and covariances of two sets of features.

    With means m, n and covariances A, B: |m - n|^2 + trace(A + B - 2 sqrt(A B)). Zero if and only if both agree.

    Parameters
    ----------
    some, others
        Features, one example a row.
    """
    first, second = np.asarray(some, dtype=float), np.asarray(others, dtype=float)
    covariances = [np.cov(one, rowvar=False) for one in (first, second)]
    # Trace of the root of a product of covariances: the sum of the roots of its eigenvalues, which aren't negative.
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0))
    apart = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return float(apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots.sum())


@dataclass(frozen=True)
class Verdict:
    """What the judge says of generated digits.

    `distance` is the Frechet distance of all draws together to the test images, divided by that of the training
    images; `single` the mean of the same for each draw alone, `spread` its standard deviation. `rarest` is the share of
    the class that comes least often, `confidence` the mean of the largest class probability, `novelty` the mean
    distance to the nearest training image divided by that of the test images (well below 1: copies).
    """

    distance: float
    single: float
    spread: float
    rarest: float
    confidence: float
    novelty: float


class Judge:
    """A classifier with 32 features, trained on the training images; it compares with the test images.

    Parameters
    ----------
    images
        Real digits with their labels.

    Attributes
    ----------
    floor
        The Frechet distance of the training images to the test images.
    draw_size
        How many images a draw from a generator should have: as many as there are for training, up to 10,000.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self.draw_size = min(len(images.train), DRAW)
        self.classifier = _trained(images.train, images.train_labels)
        self._features = keras.Model(self.classifier.inputs[0], self.classifier.layers[-2].output)
        self._real = self.features(images.test)
        self.floor = frechet(self.features(images.train), self._real)
        self._usual = to_nearest(images.test, images.train)

    def features(self, digits: ArrayLike) -> Array:
        """Return the 32 features of each image."""
        found: Array = self._features(tf.constant(digits)).numpy()
        return found

    def classes(self, digits: ArrayLike) -> Array:
        """Return the probabilities of the ten classes for each image."""
        found: Array = tf.nn.softmax(self.classifier(tf.constant(digits))).numpy()
        return found

    def distance(self, digits: ArrayLike) -> float:
        """Return the Frechet distance of images to the test images, divided by that of the training images."""
        return frechet(self.features(digits), self._real) / self.floor

    def verdict(self, draws: Sequence[ArrayLike]) -> Verdict:
        """Return everything about generated digits, given as several draws of `draw_size` images."""
        each = [self.distance(draw) for draw in draws]
        every = np.concatenate([np.asarray(draw) for draw in draws])
        sure = self.classes(every)
        counts = np.bincount(sure.argmax(axis=1), minlength=sure.shape[1])
        return Verdict(
            distance=self.distance(every),
            single=float(np.mean(each)),
            spread=float(np.std(each)),
            rarest=float(counts.min() / counts.sum()),
            confidence=float(sure.max(axis=1).mean()),
            novelty=to_nearest(np.asarray(draws[0]), self.images.train) / self._usual,
        )


def to_nearest(digits: Array, known: Array) -> float:
    """Return the mean distance of images, of the first ones if they are many, to the nearest known one."""
    some, lengths = digits[:_ENOUGH], (known**2).sum(axis=1)
    squares = (some**2).sum(axis=1)[:, None] + lengths - 2 * some @ known.T
    return float(np.sqrt(squares.min(axis=1).clip(min=0)).mean())


def _trained(train: Array, labels: NDArray[np.int64]) -> keras.Model:
    """Return the classifier: the same for the same images, whatever was computed before."""
    pixels, classes = train.shape[1], int(labels.max()) + 1
    start = [keras.initializers.GlorotUniform(seed) for seed in range(3)]
    sizes = zip((128, 32, classes), ("relu", "relu", None), start, strict=True)
    layers = [Dense(size, name, kernel_initializer=one) for size, name, one in sizes]
    network = keras.Sequential([keras.Input((pixels,)), *layers])
    adam = optimizers.AdamW(optimizers.schedules.CosineDecay(2e-3, _STEPS), weight_decay=1e-2)
    adam.build(network.trainable_variables)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(train)) for _ in range(_STEPS * _BATCH // len(train) + 1)]
    batches = tf.constant(np.concatenate(orders)[: _STEPS * _BATCH].reshape(_STEPS, _BATCH))
    inputs, targets = tf.constant(train), tf.constant(labels)

    def run() -> None:
        for step in tf.range(_STEPS):
            chosen = batches[step]
            noise = 0.1 * tf.random.stateless_normal((_BATCH, pixels), [5, step])
            with tf.GradientTape() as tape:
                guess = network(tf.gather(inputs, chosen) + noise)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(targets, chosen), guess)
                loss = tf.reduce_mean(losses)
            adam.apply(tape.gradient(loss, network.trainable_variables))

    tf.function(run)()
    return network
