"""A training in a real kernel writes its checkpoint when the signal before the session's end comes."""

from __future__ import annotations

import json
from typing import Any

from places import Place

BEGIN = """
import os, signal, tempfile, threading
import keras
import numpy as np
from davide_course import walltime

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.Dense(8)])
model.compile("adam", "mse")
path = os.path.join(tempfile.mkdtemp(), "run.keras")
"""
# As the session sends it, while the kernel is in the middle of `fit`.
TRAIN = """
class Session(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

model.fit(x, x, epochs=1_000_000, verbose=0, callbacks=[walltime.checkpoint(path), Session()])
"""
COMPARE = """
again = keras.models.load_model(path)
pairs = zip(model.get_weights(), again.get_weights(), strict=True)
print("weights", max(float(np.abs(one - other).max()) for one, other in pairs))
print("steps", int(model.optimizer.iterations), int(again.optimizer.iterations))
print("loss goes on", again.evaluate(x, x, verbose=0) == model.evaluate(x, x, verbose=0))
"""
AFTER = """
with walltime.watch() as end:
    print("told too early", end.is_near)
    os.kill(os.getpid(), signal.SIGUSR1)
    print("told", end.is_near)
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""


def cell(source: str) -> dict[str, Any]:
    """Return a cell of a notebook."""
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    return empty | {"source": source, "id": f"cell{abs(hash(source)) % 10**6}"}


def printed(book: dict[str, Any], number: int) -> str:
    """Return what a cell printed; fail if it failed."""
    outputs = book["cells"][number]["outputs"]
    assert [out for out in outputs if out["output_type"] == "error"] == []
    return "".join("".join(out["text"]) for out in outputs if out.get("name") == "stdout")


def test_a_training_is_saved_by_the_signal_and_goes_on_from_there(place: Place) -> None:
    kernel = {"kernelspec": {"name": "tf-cpu", "display_name": "TensorFlow (CPU)", "language": "python"}}
    cells = [cell(source) for source in (BEGIN, TRAIN, COMPARE, AFTER)]
    book = place.run("walltime", json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    printed(book, 0)
    # The first batch of the fourth epoch, and no epoch after that.
    assert "epoch 4, batch 1 is saved in" in printed(book, 1)
    weights, steps, loss = printed(book, 2).splitlines()
    assert float(weights.split()[1]) <= 1e-6
    assert steps.split()[1] == steps.split()[2] == str(3 * 8 + 1)
    assert loss == "loss goes on True"
    assert printed(book, 3).splitlines() == ["told too early False", "told True", "alive"]
