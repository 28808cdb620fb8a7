"""The stage of the attack suite, and the table that it ends with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults.waiting import wait_for
from support.cluster import ROOT, Cluster

from attacks.attack import Attack
from attacks.scene import Scene
from attacks.table import Result, summary, table, write
from attacks.weaken import give_back

RESULTS: dict[str, Result] = {}


def result_of(row: Attack) -> Result:
    """Return what is known of a row so far."""
    return RESULTS.setdefault(row.name, Result(row))


def keep(result: Result, faults: list[str]) -> None:
    """Write down what a row has come to by now, since a run may be broken off; fail if there are faults."""
    result.faults += faults
    write(ROOT / ".davide" / "attacks.json", list(RESULTS.values()))
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="session")
def scene(cluster: Cluster) -> Iterator[Scene]:
    """Return the stage, as our configuration has it; everybody's sessions are ended afterwards."""
    made = Scene(cluster)
    give_back(made)
    wait_for(made.hub_answers, "the hub to answer", 60)
    made.log_in()
    made.end_all()
    yield made
    made.end_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if RESULTS:
        results = list(RESULTS.values())
        terminalreporter.write_line(f"\n{table(results)}\n\n{summary(results)}")
