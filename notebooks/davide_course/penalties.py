"""Penalties that lessons use in training, also while a student's own is still to be written."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def squared_jacobian(codes: Any, weights: Any) -> Any:
    """Return the squared Frobenius norm of the Jacobian of a sigmoid layer, one number per image.

    Parameters
    ----------
    codes
        The layer's outputs, one image a row.
    weights
        Its weights, one input a row and one unit a column.
    """
    return tf.reduce_sum((codes * (1 - codes)) ** 2 * tf.reduce_sum(tf.square(weights), axis=0), axis=1)
