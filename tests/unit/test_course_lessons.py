"""What all lessons have in common, read from their cells without running them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from davide_course import build

LESSONS = Path(__file__).resolve().parent.parent.parent / "notebooks" / "lessons"
every_lesson = pytest.mark.parametrize("lesson", sorted(LESSONS.glob("[01][0-9]_*.py"))[1:], ids=lambda path: path.stem)


def cells(lesson: Path) -> list[tuple[set[str], str]]:
    """Return tags and text of each cell with code."""
    book: dict[str, Any] = json.loads(build.notebook(lesson.read_text(), build.Kernel("k", "K"), solved=True))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    return [(set(cell["metadata"].get("tags", [])), "".join(cell["source"])) for cell in code]


def defined(text: str) -> set[str]:
    """Return the names that a cell defines."""
    return {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def used(text: str) -> set[str]:
    """Return the names that a cell mentions."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


@every_lesson
def test_what_a_student_writes_is_used_by_its_check_alone(lesson: Path) -> None:
    """Or an exercise that isn't solved would break the cells after it; tests leave out asides for this reason."""
    found = cells(lesson)
    theirs = set().union(*(defined(text) for tags, text in found if "solution" in tags))
    assert theirs
    others = {text: used(text) & theirs for tags, text in found if not tags & {"solution", "check"}}
    assert {text: names for text, names in others.items() if names} == {}


@every_lesson
def test_an_exercise_is_followed_by_its_check(lesson: Path) -> None:
    found = cells(lesson)
    for (tags, text), (next_tags, check) in zip(found, [*found[1:], (set(), "")], strict=True):
        if "solution" in tags:
            assert "check" in next_tags and used(check) & defined(text)


@every_lesson
def test_each_reference_has_a_year_and_a_link(lesson: Path) -> None:
    _, references = lesson.read_text().split("## References")
    entries = re.split(r"^# \d+\. ", references, flags=re.MULTILINE)[1:]
    lines = [" ".join(entry.replace("\n#", " ").split()) for entry in entries]
    assert lines
    dated = re.compile(r"\((19|20)\d\d\)|read in 20\d\d")
    assert [line for line in lines if "](https://" not in line or not dated.search(line)] == []
