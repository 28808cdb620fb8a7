"""Doing the exercises of a lesson in the page, as a student who has understood it would."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from support.cluster import ROOT
from support.student import Student

LESSON_SCRIPT = ROOT / "notebooks/lessons/01_undercomplete_autoencoder.py"
_CELL = re.compile(r'^# %% tags=\["solution"\]\n(.*?)(?=^# %%|\Z)', re.DOTALL | re.MULTILINE)


def solutions(script: Path = LESSON_SCRIPT) -> list[str]:
    """Return the cells of a lesson that students find empty, as its author wrote them."""
    return [cell.strip() for cell in _CELL.findall(script.read_text())]


def solve(student: Student) -> None:
    """Type every solution into its cell of the notebook that is open."""
    for solution in solutions():
        first = solution.splitlines()[0]
        cell = student.page.locator(".jp-CodeCell", has_text=first).filter(has_text="write your code here")
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        student.page.keyboard.press("Control+a")
        student.page.keyboard.insert_text(solution)
        expect(cell).to_have_count(0)  # the place to write is gone
