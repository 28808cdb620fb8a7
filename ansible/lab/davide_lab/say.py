"""What a person at the terminal is told: stages with their time, and problems as one sentence with the fix."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Problem(Exception):  # noqa: N818 - it is printed as a sentence, not met as an error in code
    """Something a person has to mend; its text is one sentence that says what and how."""


def line(text: str) -> None:
    """Print `text` at once, also when standard output is a file; a reader that went away (`| head`) ends us quietly."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def problem(text: str) -> None:
    """Print a problem to standard error."""
    line_ = f"davide: {text}"
    print(line_, file=sys.stderr, flush=True)


def minutes(seconds: float) -> str:
    """Return a duration as people read it: `42 s`, `3 min 05 s`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


@contextmanager
def stage(number: int, of: int, title: str) -> Iterator[None]:
    """Announce a stage, and say how long it took when it is done."""
    start = time.monotonic()
    line(f"[{number}/{of}] {title}")
    yield
    line(f"      done in {minutes(time.monotonic() - start)}")


def step(text: str) -> None:
    """Print one line of progress within a stage."""
    line(f"      {text}")
