"""What the lessons reached in this run: for the terminal, and as tables of notebooks/README.md."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

END = "<!-- /reached -->"


@dataclass
class Reached:
    """What one lesson reached: seconds of each version that ran, and the bands of each seed."""

    seconds: dict[str, float] = field(default_factory=dict)
    bands: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def lines(self, lesson: str) -> list[str]:
        """Return the lesson's lines for the terminal."""
        times = ", ".join(f"{version} {seconds:.0f} s" for version, seconds in self.seconds.items())
        numbers = [f"  seed {seed}  {row(band)}" for seed, bands in self.bands.items() for band in bands]
        return [f"{lesson}: {times}", *numbers]

    def table(self, lesson: str) -> str:
        """Return the lesson's table for the README, between its markers."""
        seeds = sorted(self.bands)
        solved = f"{lesson[:2]}, solved in {self.seconds['solved']:.0f} s" if "solved" in self.seconds else lesson[:2]
        head = [f"| {solved} |", *(f" seed {seed} |" for seed in seeds), " required |"]
        rows = ["".join(head), "|---" * (len(seeds) + 2) + "|"]
        for same in zip(*(self.bands[seed] for seed in seeds), strict=True):
            values = " | ".join(f"{band['reached']:#.3g}" for band in same)
            required = asked(same[0]) or "-"
            rows.append(f"| {same[0]['name']} | {values} | {required} |")
        return "\n".join([f"<!-- reached: {lesson} -->", *rows, END])


def row(band: dict[str, Any]) -> str:
    """Return a band as a line: reached against required."""
    wanted = asked(band)
    return f"{band['name']:<46} {band['reached']:#9.4g}   {f'required {wanted}' if wanted else 'shown'}"


def asked(band: dict[str, Any]) -> str:
    """Return what is required of a band; empty for a number that is only shown."""
    return f"{band['comparison']} {band['required']:g}" if band["comparison"] else ""


def with_tables(text: str, tables: dict[str, str]) -> str:
    """Return a README with the tables of these lessons in place of their old ones; new ones come after the last.

    Parameters
    ----------
    text
        The README; it holds at least one table already.
    tables
        Lesson -> its table with markers, as `Reached.table` makes it.
    """
    for lesson, table in tables.items():
        old = re.search(rf"<!-- reached: {re.escape(lesson)} -->.*?{re.escape(END)}", text, re.DOTALL)
        if old:
            text = text[: old.start()] + table + text[old.end() :]
        else:
            end = text.rindex(END) + len(END)
            text = f"{text[:end]}\n\n{table}{text[end:]}"
    return text
