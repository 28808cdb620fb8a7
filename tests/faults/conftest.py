"""The stage of the fault suite, and the table that it ends with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from davide_lab.place import site_facts
from support.cluster import ROOT, Cluster

from faults.judge import Verdict
from faults.people import Person
from faults.scene import Scene
from faults.table import summary, table, write
from faults.targets import on_stage

STUDENTS = [f"student0{number}" for number in range(1, 9)]
VERDICTS: list[Verdict] = []


def target_name() -> str:
    """Return which hub is tried: ours, unless a control says otherwise."""
    return os.environ.get("DAVIDE_FAULTS_TARGET", "ours")


@pytest.fixture(scope="session")
def scene(cluster: Cluster) -> Iterator[Scene]:
    """Return the stage, with the hub that is tried on it; everybody's sessions are ended afterwards."""
    with ExitStack() as stack:
        target = stack.enter_context(on_stage(target_name(), cluster))
        people = [Person(name, cluster.password(name), target) for name in STUDENTS]
        made = Scene(target, people, site_facts(ROOT)["slurm"]["account"])
        yield made
        made.clear_all()


def keep(verdict: Verdict) -> None:
    """Add a row to the table, and to its JSON: a run that is broken off leaves what it has found."""
    VERDICTS.append(verdict)
    name = target_name()
    write(ROOT / ".davide" / ("faults.json" if name == "ours" else f"faults-{name}.json"), name, VERDICTS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if VERDICTS:
        terminalreporter.write_line(f"\n{table(VERDICTS)}\n\n{target_name()}: {summary(VERDICTS)}")
