"""What a notebook shows of a job: one line with a bar that changes in place, and the processes' output below it."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# More than this makes a notebook slow to open; the rest is in the files.
MOST_LINES = 1000
_BETWEEN = 0.5
_WIDTH = 30


@dataclass(frozen=True)
class State:
    """The line with the bar: its text, and how far it is (0 to 1; None where nobody knows)."""

    text: str
    share: float | None = None


class Screen:
    """Shows in a notebook, or in a terminal with IPython."""

    def __init__(self, *, changes: bool) -> None:
        # A terminal can't change what it has printed: there only a new text is shown, not a longer bar.
        self._changes = changes
        self._handle: Any = None
        self._shown: State | None = None
        self._drawn = float("-inf")
        self._lines = 0

    def state(self, state: State, *, last: bool = False) -> None:
        """Show how the job is."""
        now = time.monotonic()
        kept = state == self._shown or (now - self._drawn < _BETWEEN and not last)
        if kept or (not self._changes and self._shown is not None and not last):
            return
        self._shown, self._drawn = state, now
        from IPython.display import display

        picture = {"text/plain": plain(state), "text/html": marked(state)}
        if self._handle is None:
            self._handle = display(picture, raw=True, display_id=True)
        elif self._changes:
            self._handle.update(picture, raw=True)
        else:
            print(plain(state))

    def lines(self, lines: Sequence[str], where: str) -> None:
        """Show lines of output; `where` is the rest once there are too many."""
        for line in lines:
            self._lines += 1
            if self._lines > MOST_LINES:
                if self._lines == MOST_LINES + 1:
                    print(f"[{MOST_LINES} lines are shown; all of them are in {where}]", flush=True)
                return
            print(line, flush=True)


def plain(state: State) -> str:
    """Return the line for a terminal, and for a notebook that is read elsewhere."""
    if state.share is None:
        return state.text
    full = round(_WIDTH * min(1.0, max(0.0, state.share)))
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {state.text}"


def marked(state: State) -> str:
    """Return the line in HTML."""
    value = "" if state.share is None else f' value="{min(1.0, max(0.0, state.share)):.4f}"'
    bar = f'<progress max="1"{value} style="width:16em;vertical-align:middle"></progress> '
    return f"<div>{bar}<span>{html.escape(state.text)}</span></div>"


def together(said: Mapping[int, Sequence[str]], count: int) -> list[str]:
    """Return what processes printed since the last look, each line with the numbers of those that printed it.

    Processes that train together mostly print the same: that is one line, `[0-3] Epoch 1`.
    """
    by_line: dict[tuple[str, int], list[int]] = {}
    for rank in sorted(said):
        times: dict[str, int] = {}
        for line in map(clean, said[rank]):
            times[line] = times.get(line, 0) + 1
            by_line.setdefault((line, times[line]), []).append(rank)
    if count == 1:
        return [line for line, _ in by_line]
    return [f"[{ranges(ranks)}] {line}" for (line, _), ranks in by_line.items()]


def clean(line: str) -> str:
    """Return a line as it looks in the end: progress bars go back and write over themselves."""
    line = line.rstrip("\r").rpartition("\r")[2]
    while "\b" in line:
        line = re.sub("^\b+|[^\b]\b", "", line)
    return line


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers that rise as text: 0-3,5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def clock(seconds: float) -> str:
    """Return a time as people write it: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
