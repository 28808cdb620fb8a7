"""Waiting for the thing itself, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def wait_for(what: Callable[[], _T], because: str, seconds: float = 60, every: float = 0.3) -> _T:
    """Return the first answer of `what` that is true.

    Raises
    ------
    AssertionError
        If there is none in time; says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {because}"
        time.sleep(every)
    return found


def last(seconds: float) -> None:
    """Let an outage go on: how long it lasts is part of the fault."""
    time.sleep(seconds)
