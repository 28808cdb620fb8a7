"""Every attack: it reaches its aim without our defences; with them it is refused, is in the log, and its twin works."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from attacks.attack import Attack, Outcome
from attacks.conftest import keep, result_of
from attacks.rows import ROWS
from attacks.scene import Scene
from attacks.weaken import weakened


def tried(row: Attack, scene: Scene, *, evil: bool) -> Outcome:
    """Return what an attempt came to; one that could not even be made has reached nothing."""
    try:
        return row.attempt(scene, evil)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the table
        return Outcome(False, f"broke off: {type(error).__name__}: {error}")


EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.area}/{row.name}")


@pytest.fixture(scope="class")
def weak_scene(scene: Scene) -> Iterator[Scene]:
    """Return the stage without our defences, until the tests of one class are over."""
    with weakened(scene):
        yield scene


class TestWithoutOurDefences:
    @EVERY_ROW
    def test_reaches_its_aim(self, weak_scene: Scene, row: Attack) -> None:
        result = result_of(row)
        result.weak = tried(row, weak_scene, evil=True)
        keep(result, [] if result.weak.reached else [f"not reached without {row.weakness}: {result.weak.answer}"])


class TestWithOurDefences:
    @EVERY_ROW
    def test_is_refused(self, scene: Scene, row: Attack) -> None:
        result, faults, begun = result_of(row), [], scene.now()
        result.ours = tried(row, scene, evil=True)
        if result.ours.reached:
            faults.append(f"reached: {result.ours.answer}")
        if not re.search(row.refused, result.ours.answer):
            faults.append(f"is to hear '{row.refused}', and hears: {result.ours.answer}")
        if row.logged:
            result.line = scene.wait_for_line(row.unit, begun, row.logged)
            faults += [] if result.line else [f"no line of {row.unit} matches '{row.logged}'"]
        keep(result, faults)

    @EVERY_ROW
    def test_its_twin_works(self, scene: Scene, row: Attack) -> None:
        result = result_of(row)
        result.twin = tried(row, scene, evil=False)
        keep(result, [] if result.twin.reached else [f"the legitimate twin fails: {result.twin.answer}"])
