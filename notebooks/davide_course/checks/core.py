"""What all checks share: outcomes that a notebook shows, and functions of a student that can't stop a notebook."""

from __future__ import annotations

import html
import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MIME = "application/vnd.davide-course.check+json"
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}


class NotYet(Exception):  # noqa: N818 - it is what the student reads, not an error
    """An exercise isn't right yet; the text is the hint."""


@dataclass(frozen=True)
class Outcome:
    """What a check of an exercise found."""

    name: str
    passed: bool
    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return bundle(asdict(self), str(self), f"<b>{self.heading}</b> {code(self.text)}", self.passed)

    @property
    def heading(self) -> str:
        """How the exercise stands, in two words."""
        return f"{self.name}: {'right.' if self.passed else 'not yet.'}"

    def __str__(self) -> str:
        return f"{self.heading} {self.text}"


@dataclass(frozen=True)
class Band:
    """A number that a lesson has to reach; without a comparison it is only shown."""

    name: str
    comparison: str
    required: float
    reached: float

    @property
    def requirement(self) -> str:
        """What is required, for people."""
        return f"{self.comparison} {self.required:g}" if self.comparison else "-"

    @property
    def passed(self) -> bool:
        """Whether it is reached; a number that is not a number is not."""
        if not self.comparison:
            return math.isfinite(self.reached)
        return math.isfinite(self.reached) and _COMPARISONS[self.comparison](self.reached, self.required)


@dataclass(frozen=True)
class Report:
    """How a lesson stands: its numbers, reached against required, and its exercises."""

    lesson: str
    bands: tuple[Band, ...]
    exercises: tuple[Outcome, ...]
    hints: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything is reached."""
        return not self.hints and all(row[3] for row in self.rows)

    @property
    def rows(self) -> list[tuple[str, str, str, bool]]:
        """Name, reached, required and verdict of each line of the table."""
        numbers = [(band.name, f"{band.reached:#.4g}", band.requirement, band.passed) for band in self.bands]
        states = [
            (f"exercise {one.name}", "right" if one.passed else "not yet", "right", one.passed)
            for one in self.exercises
        ]
        return numbers + states

    @property
    def heading(self) -> str:
        """The whole in one line."""
        reached = sum(row[3] for row in self.rows)
        count = f"all {reached}" if self.passed else f"{reached} of {len(self.rows)}"
        return f"Lesson {self.lesson}: {count} reached{', but see the hint' if self.hints else ''}."

    def __str__(self) -> str:
        lines = [
            f"{'ok     ' if row[3] else 'not yet'}  {row[0]:<46} {row[1]:>9}   required {row[2]}" for row in self.rows
        ]
        return "\n".join([*lines, *self.hints, self.heading])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        cells = "".join(
            f"<tr><td style='text-align:left'>{name}</td><td>{reached}</td><td>{html.escape(required)}</td>"
            f"<td style='text-align:left'>{'✔' if passed else '○ not yet'}</td></tr>"
            for name, reached, required, passed in self.rows
        )
        table = f"<table><tr><th></th><th>reached</th><th>required</th><th></th></tr>{cells}</table>"
        hints = "".join(f"<p>{code(hint)}</p>" for hint in self.hints)
        plain = {"lesson": self.lesson, "passed": self.passed, "hints": list(self.hints)}
        plain["bands"] = [asdict(band) | {"passed": band.passed} for band in self.bands]
        plain["exercises"] = [asdict(one) for one in self.exercises]
        return bundle(plain, str(self), f"{table}{hints}<b>{self.heading}</b>", self.passed)


@dataclass
class Lesson:
    """The checks of one lesson and how they stood when they were last run."""

    number: str
    names: tuple[str, ...]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def run(self, name: str, check: Callable[[Callable[..., Any]], None], attempt: object, praise: str) -> Outcome:
        """Check a student's function.

        Parameters
        ----------
        name
            The exercise.
        check
            Calls the student's function with hidden inputs and raises `NotYet` with a hint.
        attempt
            What the student wrote: anything.
        praise
            What to say if it is right.

        Returns
        -------
        Outcome
            Whatever the student's function does.
        """
        self.outcomes[name] = outcome_of(name, check, attempt, praise)
        return self.outcomes[name]

    def report(self, bands: tuple[Band, ...], hints: tuple[str, ...] = ()) -> Report:
        """Return how the whole lesson stands."""
        missing = {name: Outcome(name, False, "Its check wasn't run.") for name in self.names}
        exercises = missing | {name: outcome for name, outcome in self.outcomes.items() if name in missing}
        return Report(self.number, bands, tuple(exercises.values()), hints)


def outcome_of(name: str, check: Callable[[Callable[..., Any]], None], attempt: object, praise: str) -> Outcome:
    """Return what a check says of a student's function, whatever that does."""
    if not callable(attempt):
        return Outcome(name, False, f"`{name}` is not a function any more; run the cell that defines it again.")
    try:
        check(attempt)
    except NotYet as hint:
        return Outcome(name, False, str(hint))
    except Exception as error:  # noqa: BLE001 - a student's code may raise anything, and the notebook has to go on
        return Outcome(name, False, f"`{name}` stopped with {type(error).__name__}: {error}")
    return Outcome(name, True, praise)


def written(value: Any) -> Any:
    """Return what a student's function returned; NotYet if nothing is written there."""
    if value is None or value is ...:
        raise NotYet("Nothing comes back. Write the body where the three dots are, and end it with `return`.")
    return value


def prediction(guess: Mapping[str, float | None], reached: Sequence[float]) -> None:
    """Print a student's guesses beside what came out, in the same order; None is a guess that wasn't written."""
    width = max(map(len, guess))
    for (name, mine), value in zip(guess.items(), reached, strict=False):
        said = "-" if mine is None else str(mine)  # whatever was written there
        print(f"{name:<{width}}   your guess {said:>6}   it is {value:#.3g}")


def bundle(plain: dict[str, Any], text: str, markup: str, passed: bool) -> dict[str, Any]:
    """Return an outcome for people (HTML and text) and for programs (JSON)."""
    colour = "#009E73" if passed else "#E69F00"
    box = f"<div style='border-left:6px solid {colour};padding:.4em 1em'>{markup}</div>"
    return {MIME: json.loads(json.dumps(plain)), "text/html": box, "text/plain": text}


def code(text: str) -> str:
    """Return text with `code` in backticks as HTML."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
