"""The tables of reached numbers in notebooks/README.md are written by the run of the lessons."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "notebooks"))

from reached import Reached, with_tables


def reached(value: float) -> Reached:
    """Return what a lesson with one band reached."""
    band = {"name": "error", "comparison": "<=", "required": 0.5, "reached": value}
    return Reached({"solved": 12.4}, {0: [band], 1: [band | {"reached": value + 0.01}]})


def test_a_table_has_a_column_for_each_seed() -> None:
    lines = reached(0.25).table("01_topic").splitlines()
    assert lines[1] == "| 01, solved in 12 s | seed 0 | seed 1 | required |"
    assert lines[3] == "| error | 0.250 | 0.260 | <= 0.5 |"


def test_a_run_replaces_the_tables_of_its_lessons_and_adds_new_ones_at_the_end() -> None:
    old, other = reached(0.4).table("01_topic"), reached(0.3).table("02_topic")
    text = f"before\n\n{old}\n\n{other}\n\nafter\n"
    new, third = reached(0.1).table("01_topic"), reached(0.2).table("03_topic")
    written = with_tables(text, {"01_topic": new, "03_topic": third})
    assert written == f"before\n\n{new}\n\n{other}\n\n{third}\n\nafter\n"
