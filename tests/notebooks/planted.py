"""The planted mistake of a lesson: made in the kernel of its solved version, where everything is trained already."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import Any

Notebook = dict[str, Any]
TAG = "planted"


def with_mistake(text: str, right: str, wrong: str) -> str:
    """Return a solved lesson that goes on after its end: the solution with a mistake, its check, and the report again.

    Parameters
    ----------
    text
        The solved lesson.
    right, wrong
        What to change in one of its solutions: a text that is there once.
    """
    book = json.loads(text)
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    places = [number for number, cell in enumerate(cells) if right in source(cell)]
    assert len(places) == 1, f"'{right}' should be in one cell, not {len(places)}"
    solution, check, report = (copy.deepcopy(cells[number]) for number in (places[0], places[0] + 1, -1))
    assert "solution" in tags(solution), f"'{right}' should be in a solution, or no student would write it"
    assert "check" in tags(check) and "check" in tags(report)
    solution["source"] = source(solution).replace(right, wrong)
    for cell in (solution, check, report):
        cell["metadata"] = {"tags": [TAG]}
        cell["id"] = f"{TAG}-{cell['id']}"
    return json.dumps(book | {"cells": [*book["cells"], solution, check, report]})


def parted(book: Notebook) -> tuple[Notebook, Notebook]:
    """Return the lesson itself with its own seconds, and the cells after its end."""
    after = [cell for cell in book["cells"] if TAG in tags(cell)]
    own = [cell for cell in book["cells"] if cell not in after]
    seconds = book["metadata"]["seconds"] - sum(map(duration, after))
    return (
        book | {"cells": own, "metadata": book["metadata"] | {"seconds": seconds}},
        book | {"cells": after, "metadata": book["metadata"] | {"seconds": sum(map(duration, after))}},
    )


def source(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    found: list[str] = cell["metadata"].get("tags", [])
    return found


def duration(cell: dict[str, Any]) -> float:
    """Return how many seconds a cell ran."""
    times = cell["metadata"]["execution"]
    begun, done = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
    return (done - begun).total_seconds()
