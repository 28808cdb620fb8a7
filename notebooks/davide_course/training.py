"""A training loop that stays inside TensorFlow: on a CPU, small networks spend most of Keras' `fit` waiting for Python.

What is minimised is the lesson's business: it hands over a loss as a function of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import optimizers
from numpy.typing import ArrayLike, NDArray


def train(
    loss: Callable[..., Any],
    variables: Sequence[Any],
    arrays: Sequence[ArrayLike],
    *,
    epochs: int,
    learning_rate: float,
    batch: int = 64,
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Minimise a loss with Adam, whose learning rate shrinks to zero along a cosine.

    Parameters
    ----------
    loss
        Takes a batch of each array (tensors) and returns a number, in TensorFlow's operations.
    variables
        What to change, for example `model.trainable_variables`.
    arrays
        Images, and labels or targets if the loss wants them: equally long, one example a row.
    epochs
        How often to go through the examples.
    learning_rate
        Where the learning rate begins.
    batch
        Examples a step. What is left over at the end of an epoch is not used in that epoch.
    seed
        Of the order of the examples; what else is random in the loss has seeds of its own.
    watch
        Called after each epoch with the number of epochs done.

    Returns
    -------
    ndarray
        The mean loss of each epoch.

    Raises
    ------
    ValueError
        If the arrays have different lengths or fewer rows than a batch.
    """
    tensors = [tf.constant(array) for array in arrays]
    counts = {len(tensor) for tensor in tensors}
    if len(counts) != 1 or batch > min(counts):
        raise ValueError(f"the arrays need equally many rows, at least {batch} (a batch); they have {sorted(counts)}")
    steps = min(counts) // batch
    adam = optimizers.Adam(optimizers.schedules.CosineDecay(learning_rate, epochs * steps))
    adam.build(variables)

    def epoch(number: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(tensors[0])), seed=[seed, number])
        total = tf.constant(0.0)
        for step in tf.range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            with tf.GradientTape() as tape:
                value = loss(*[tf.gather(tensor, chosen) for tensor in tensors])
            adam.apply(tape.gradient(value, variables), variables)
            total += value
        return total / steps

    run = tf.function(epoch)
    means = []
    for number in range(epochs):
        means.append(run(tf.constant(number)))
        if watch:
            watch(number + 1)
    return np.array([float(mean) for mean in means], dtype=np.float32)
