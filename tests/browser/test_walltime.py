"""A session of three minutes: warned, all saved, a checkpoint written, ended by Slurm; and the pages say why.

It begins before all other tests of this folder, which run while it waits for its end (`conftest.py`).
"""

import json
import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect
from support.lab import open_file, run_cell, type_into

TEMPLATE = "/etc/davide-hub/spawner_templates/session.sbatch.j2"
# Slurm sends the signal up to a minute earlier than it is told to.
SHORT = (
    f"cp -a {TEMPLATE} /root/session.sbatch.j2.before-the-test && sed -i"
    " -e 's/^#SBATCH --time=.*/#SBATCH --time=00:03:00/' -e 's/^#SBATCH --signal=.*/#SBATCH --signal=B:USR1@30/'"
    f" {TEMPLATE}"
)
BACK = f"mv /root/session.sbatch.j2.before-the-test {TEMPLATE}"
# It would train for hours, and leaves the processor to others most of the time.
TRAINING = """
import time
import keras
import numpy as np
from davide_course import walltime

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(4096, 8)).astype("float32")
model = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(8)])
model.compile("adam", "mse")
open("walltime-began", "w").close()
rest = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: time.sleep(0.05))
model.fit(x, x, epochs=1_000_000, verbose=0, callbacks=[rest, walltime.checkpoint("walltime.keras")])
"""
FILES = "walltime-notes.txt walltime-training.ipynb walltime-began walltime.keras"


@contextmanager
def three_minutes(cluster):
    """Let every session that begins meanwhile have three minutes, as an administrator could write it."""
    cluster.output("hub01", SHORT)
    try:
        yield
    finally:
        cluster.output("hub01", BACK)


@pytest.fixture(scope="session")
def short(student, cluster):
    """Seat student06 in a session of three minutes; afterwards remove what it has written."""
    one = student("student06")
    cluster.as_user("student06", f"rm -f {FILES}; : > walltime-notes.txt")
    cell = {"cell_type": "code", "source": TRAINING, "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
    kernel = {"kernelspec": {"name": "tf-cpu", "display_name": "TensorFlow (CPU)", "language": "python"}}
    book = json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    cluster.as_user("student06", f"cat > walltime-training.ipynb <<'END'\n{book}\nEND")
    one.enter()
    with three_minutes(cluster):
        one.start("No GPU")
        one.wait_for_lab()
    yield one
    cluster.as_user("student06", f"rm -f {FILES}")


@pytest.mark.turn(0)
def test_a_training_begins_and_an_edit_is_left_unsaved(short, cluster, wait_for):
    page = short.page
    expect(page.locator(".jp-RenderedMarkdown").first).to_be_visible(timeout=60_000)
    open_file(page, "walltime-training.ipynb")
    run_cell(page)
    wait_for(lambda: there(cluster, "walltime-began"), "the training to begin", 90)
    open_file(page, "walltime-notes.txt")
    type_into(page, "typed before the warning")


@pytest.mark.turn(2)
def test_its_end_is_warned_of(short):
    warning = short.page.locator(".jp-toastContainer").get_by_text(re.compile("^This session ends in"))
    expect(warning).to_be_visible(timeout=120_000)
    short.picture("8-walltime-warning")


@pytest.mark.turn(4)
def test_nothing_is_lost_at_the_time_limit_and_the_pages_say_why(short, cluster, wait_for):
    page = short.page
    over = page.get_by_role("dialog", name="This session has ended: time limit")
    expect(over).to_be_visible(timeout=240_000)
    short.picture("8-walltime-over")
    wait_for(lambda: not short.job(), "the job of student06 to end", 120)
    assert text(cluster, "walltime-notes.txt") == "typed before the warning"
    assert there(cluster, "walltime.keras")
    saved = short.read_notebook("walltime-training.ipynb")
    assert "is saved in walltime.keras" in json.dumps(saved["cells"][0]["outputs"])
    form = page.get_by_role("link", name="Start a new session").evaluate("link => link.href")

    def tells():
        # Until the hub has heard of the end too, at most half a minute later, it leads to the session that was.
        page.goto(form)
        return page.get_by_text("time limit").count()

    wait_for(tells, "the form to say why the session ended", 60, every=2)
    short.picture("8-walltime-form")


def there(cluster, name):
    return cluster.as_user("student06", f"test -e {name}").returncode == 0


def text(cluster, name):
    return cluster.as_user("student06", f"cat {name}").stdout
