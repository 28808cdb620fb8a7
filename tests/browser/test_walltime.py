"""A session of three minutes: warned, all saved, a checkpoint written, ended by Slurm; and the pages say why."""

import json
import re

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
# It would train for hours.
TRAINING = """
import keras
import numpy as np
from davide_course import walltime

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(4096, 8)).astype("float32")
model = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(8)])
model.compile("adam", "mse")
open("walltime-began", "w").close()
model.fit(x, x, epochs=1_000_000, verbose=0, callbacks=[walltime.checkpoint("walltime.keras")])
"""
FILES = "walltime-notes.txt walltime-training.ipynb walltime-began walltime.keras"


@pytest.fixture
def three_minutes(cluster):
    """Let every new session have three minutes, as an administrator could write it."""
    cluster.output("hub01", SHORT)
    yield
    cluster.output("hub01", BACK)
    cluster.as_user("student06", f"rm -f {FILES}")


def test_nothing_is_lost_at_the_time_limit(three_minutes, student, cluster, wait_for):
    one = student("student06")
    cluster.as_user("student06", f"rm -f {FILES}; : > walltime-notes.txt")
    cell = {"cell_type": "code", "source": TRAINING, "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
    kernel = {"kernelspec": {"name": "tf-cpu", "display_name": "TensorFlow (CPU)", "language": "python"}}
    book = json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    cluster.as_user("student06", f"cat > walltime-training.ipynb <<'END'\n{book}\nEND")

    one.enter()
    one.start("No GPU")
    one.wait_for_lab()
    page = one.page
    expect(page.locator(".jp-RenderedMarkdown").first).to_be_visible(timeout=60_000)
    open_file(page, "walltime-training.ipynb")
    run_cell(page)
    wait_for(lambda: there(cluster, "walltime-began"), "the training to begin", 90)
    open_file(page, "walltime-notes.txt")
    type_into(page, "typed before the warning")

    toasts = page.locator(".jp-toastContainer")
    expect(toasts.get_by_text(re.compile("^This session ends in"))).to_be_visible(timeout=180_000)
    one.picture("8-walltime-warning")
    wait_for(lambda: text(cluster, "walltime-notes.txt") == "typed before the warning", "the edit to be saved", 60)
    wait_for(lambda: there(cluster, "walltime.keras"), "the checkpoint", 180)

    over = page.get_by_role("dialog", name="This session has ended: time limit")
    expect(over).to_be_visible(timeout=240_000)
    one.picture("8-walltime-over")
    one.wait_for(lambda: not one.job(), "the job of student06 to end", 120)
    saved = one.read_notebook("walltime-training.ipynb")
    assert "is saved in walltime.keras" in json.dumps(saved["cells"][0]["outputs"])
    form = page.get_by_role("link", name="Start a new session").evaluate("link => link.href")

    def tells():
        # Until the hub has heard of the end too, at most half a minute later, it leads to the session that was.
        page.goto(form)
        return page.get_by_text("time limit").count()

    wait_for(tells, "the form to say why the session ended", 60, every=2)
    one.picture("8-walltime-form")


def there(cluster, name):
    return cluster.as_user("student06", f"test -e {name}").returncode == 0


def text(cluster, name):
    return cluster.as_user("student06", f"cat {name}").stdout
