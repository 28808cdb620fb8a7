"""Every fault of the suite: nobody healthy is lost, the dead are buried, nothing is left over."""

from __future__ import annotations

import os

import pytest

from faults import rows_answers, rows_broker, rows_hub, rows_slurm, rows_state
from faults.conftest import keep, target_name
from faults.judge import Verdict, judge
from faults.row import ROWS, Row
from faults.scene import Scene

MODULES = (rows_hub, rows_broker, rows_slurm, rows_answers, rows_state)
LONG = os.environ.get("DAVIDE_FAULTS_LONG") == "yes"
MEANINGFUL = sorted(
    (row for row in ROWS if (LONG or not row.long) and (not row.needs_broker or target_name() != "stock")),
    key=lambda row: [module.__name__ for module in MODULES].index(row.fault.__module__),
)


def suffer(scene: Scene, row: Row) -> Verdict:
    """Let a row's fault happen, and judge what it came to. One that could not even happen is no good row either."""
    try:
        row.fault(scene)
    except AssertionError as error:
        return Verdict(row.words, faults=[f"the fault itself: {error}"])
    return judge(scene, row.words)


@pytest.mark.parametrize("row", MEANINGFUL, ids=lambda row: row.name)
def test_fault(scene: Scene, row: Row) -> None:
    lost_before = scene.set_up(row.mortals)
    with scene.after:
        verdict = suffer(scene, row)
    verdict.faults += [f"{name} lost the session after the row before" for name in lost_before]
    keep(verdict)
    assert verdict.is_good, "\n".join(verdict.faults)


def test_nobody_was_lost_after_the_last_row(scene: Scene) -> None:
    assert scene.set_up(mortals=0) == []
