"""Runs the lessons once, two at a time, and prints what they reached."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
from davide_course.build import Kernel, notebook
from places import ROOT, Here, Notebook, OnCluster, Place
from plan import REACHED, SABOTAGE, SEEDS


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return where lessons are run: on the local cluster, unless DAVIDE_KERNELS names a folder with kernels."""
    kernels = os.environ.get("DAVIDE_KERNELS")
    if kernels:
        yield Here(kernels, tmp_path_factory.mktemp("lessons"))
        return
    cluster = OnCluster()
    yield cluster
    cluster.shell(f"rm -rf {cluster.folder}")


@pytest.fixture(scope="session")
def ran(place: Place) -> Iterator[Callable[[str, str], Notebook]]:
    """Return a function: (lesson, version) -> the notebook with its outputs. All runs begin with the first call."""
    with ThreadPoolExecutor(max_workers=2) as pool:

        @cache
        def begin(lesson: str) -> dict[str, Any]:
            return {
                name: pool.submit(place.run, f"{lesson}-{name}", text) for name, text in texts(place, lesson).items()
            }

        yield lambda lesson, version: begin(lesson)[version].result()


def texts(place: Place, lesson: str) -> dict[str, str]:
    """Return the versions of a lesson that are run; those for the numbers alone leave out the cells tagged `aside`."""
    solved = notebook(
        (ROOT / f"notebooks/lessons/{lesson}.py").read_text(), Kernel("tf-cpu", "TensorFlow (CPU)"), solved=True
    )
    versions = {"student": place.handed_out(lesson), "solved": solved}
    for seed in SEEDS[1:]:
        versions[f"seed-{seed}"] = changed(without_asides(solved), "seed = 0", f"seed = {seed}")
    (right, wrong), _ = SABOTAGE[lesson]
    return versions | {"sabotage": changed(without_asides(solved), right, wrong)}


def changed(text: str, old: str, new: str) -> str:
    """Return a notebook with one of its texts changed."""
    assert text.count(old) == 1, f"'{old}' should be there once, not {text.count(old)} times"
    return text.replace(old, new)


def without_asides(text: str) -> str:
    """Return a notebook without the cells that the report doesn't need."""
    book = json.loads(text)
    book["cells"] = [cell for cell in book["cells"] if "aside" not in cell["metadata"].get("tags", [])]
    return json.dumps(book)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was reached against what is required."""
    if REACHED:
        terminalreporter.section("reached against required")
        terminalreporter.write_line("\n".join(REACHED))
