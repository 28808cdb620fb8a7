"""The table that the suite ends with, and its JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from davide_lab.place import write_atomically

from attacks.attack import Attack, Outcome

HEAD = ("area", "attack", "without our defences", "with them", "log line", "twin")


@dataclass
class Result:
    """What a row came to.

    Attributes
    ----------
    weak, ours, twin
        The attack without our defences, the attack with them, and its legitimate twin with them; None if not tried.
    line
        The line of the journal that tells of it.
    faults
        What was not as it should be, in sentences.
    """

    attack: Attack
    weak: Outcome | None = None
    ours: Outcome | None = None
    twin: Outcome | None = None
    line: str = ""
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        row = self.attack
        told = {name: asdict(one) if one else None for name, one in self._outcomes().items()}
        kept = {"name": row.name, "area": row.area, "weakness": row.weakness, **told, "line": self.line}
        return {**kept, "faults": self.faults, "good": not self.faults}

    def _outcomes(self) -> dict[str, Outcome | None]:
        return {"weak": self.weak, "ours": self.ours, "twin": self.twin}


def cells(result: Result) -> tuple[str, ...]:
    """Return a row of the table."""
    row = result.attack
    weak = "-" if result.weak is None else "reached" if result.weak.reached else "NOT REACHED"
    ours = "-" if result.ours is None else "REACHED" if result.ours.reached else f"refused: {result.ours.answer[:40]}"
    line = "-" if not row.logged or result.ours is None else "yes" if result.line else "NONE"
    twin = "-" if result.twin is None else "works" if result.twin.reached else f"FAILS: {result.twin.answer[:40]}"
    return (row.area, row.name, weak, ours, line, twin)


def table(results: list[Result]) -> str:
    """Return the table as text."""
    rows = [HEAD, *map(cells, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """Return the sums over all rows in a sentence."""
    reached = sum(one.weak is not None and one.weak.reached for one in results)
    refused = sum(one.ours is not None and not one.ours.reached for one in results)
    twins = sum(one.twin is not None and one.twin.reached for one in results)
    return (
        f"{len(results)} attacks: {reached} reach their aim without our defences, {refused} are refused with them, "
        f"{twins} twins work; {sum(bool(one.faults) for one in results)} rows are not as they should be"
    )


def write(path: Path, results: list[Result]) -> None:
    """Write all of it as JSON."""
    content = {"summary": summary(results), "rows": [one.as_json() for one in results]}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
