"""The table that the suite ends with, and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

from davide_lab.place import write_atomically

from faults.judge import Verdict

HEAD = ("fault", "kept", "counters", "dead ended", "told why", "orphans", "duplicates", "seconds to heal")


def cells(verdict: Verdict) -> tuple[str, ...]:
    """Return a verdict as the cells of its row."""
    healed = f"{verdict.seconds:.1f}" if verdict.seconds is not None else "not healed"
    return (
        verdict.row,
        f"{verdict.kept}/{verdict.healthy}",
        f"{verdict.counted}/{verdict.healthy}",
        f"{verdict.ended}/{verdict.dead}" if verdict.dead else "-",
        f"{verdict.told}/{verdict.dead}" if verdict.dead else "-",
        str(verdict.orphans),
        str(verdict.duplicates),
        healed if verdict.is_good else f"{healed}  FAILED",
    )


def table(verdicts: list[Verdict]) -> str:
    """Return the table as text."""
    rows = [HEAD, *map(cells, verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def summary(verdicts: list[Verdict]) -> str:
    """Return the sums over all rows in a sentence."""
    lost = sum(verdict.healthy - verdict.kept for verdict in verdicts)
    unburied = sum(verdict.dead - verdict.ended for verdict in verdicts)
    good = sum(verdict.is_good for verdict in verdicts)
    return (
        f"{good} of {len(verdicts)} rows good: {lost} healthy sessions lost, {unburied} dead ones shown as alive, "
        f"{sum(one.orphans for one in verdicts)} orphans, {sum(one.duplicates for one in verdicts)} duplicates"
    )


def write(path: Path, target: str, verdicts: list[Verdict]) -> None:
    """Write all of it as JSON, for the note of a change and for whoever compares."""
    content = {"target": target, "summary": summary(verdicts), "rows": [verdict.as_json() for verdict in verdicts]}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
