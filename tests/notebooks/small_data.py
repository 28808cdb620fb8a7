"""Full mode on little data: the same shapes as MNIST and the card table, so that each cell of full mode runs.

How good the lessons are on the real data is not seen here.
"""

from __future__ import annotations

import json

CELL = """
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from davide_course import cards, data
from sklearn.datasets import load_digits

folder = Path(tempfile.mkdtemp())
os.environ["DAVIDE_DATASETS"] = str(folder)
digits = load_digits()
large = np.kron(digits.images, np.ones((1, 3, 3))) * 255 / 16
large = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
arrays = {"x_train": large[360:], "x_test": large[:360], "y_train": digits.target[360:], "y_test": digits.target[:360]}
np.savez(folder / "mnist.npz", **arrays)
data.MNIST_SHA256 = hashlib.sha256((folder / "mnist.npz").read_bytes()).hexdigest()


def some_payments():
    made = cards.synthetic(0)
    rows = np.flatnonzero(made.fraud | (np.arange(len(made.fraud)) % 10 == 0))
    amounts = np.expm1(made.features[rows, 28])
    table = np.column_stack([made.seconds[rows], made.features[rows, :28], amounts, made.fraud[rows]])
    np.savetxt(folder / "creditcard.csv", table, delimiter=",", header="Time,V,Amount,Class")
    return cards.read(folder / "creditcard.csv", len(rows), int(made.fraud[rows].sum()))


cards.real = some_payments
"""


def in_full_mode(text: str) -> str:
    """Return a lesson in full mode, with a first cell that stages little data."""
    assert text.count('mode = \\"fast\\"') == 1
    book = json.loads(text.replace('mode = \\"fast\\"', 'mode = \\"full\\"'))
    stage = {"cell_type": "code", "id": "stage", "metadata": {}, "source": CELL, "outputs": [], "execution_count": None}
    return json.dumps(book | {"cells": [stage, *book["cells"]]})
