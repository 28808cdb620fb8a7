"""The audit trail: who did what, from the address to the log-in to the job.

A file per day, a JSON object per line, so that keeping it for so many days is removing files, and reading it needs
no tool of ours. The broker writes it, since it is what nobody gets past; the address is what the hub says it is.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_log = logging.getLogger("davide-broker")

FOLDER = Path("/var/log/davide-hub")


@dataclass
class Audit:
    """Writes the trail.

    Parameters
    ----------
    folder
        Where its files lie.
    keep_days
        Returns for how many days a file is kept.
    clock
        Seconds since 1970.
    """

    folder: Path
    keep_days: Callable[[], int]
    clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _day: str = field(default="", init=False)

    def write(self, **what: Any) -> None:
        """Add a line; what is empty is left out. A full disk stops nobody from working, and is told in the journal."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        line = {"time": now.isoformat(timespec="seconds"), **{name: text for name, text in what.items() if text != ""}}
        try:
            with self._lock:
                self._begin_day(now)
                descriptor = os.open(self.folder / _name(self._day), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
                with os.fdopen(descriptor, "w") as file:
                    file.write(json.dumps(line) + "\n")  # at once: no other line comes in between
        except OSError as error:
            _log.error("the audit trail can't be written (%s): %s", error, json.dumps(line))

    def _begin_day(self, now: datetime) -> None:
        today = now.strftime("%Y-%m-%d")
        if today == self._day:
            return
        self._day = today
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        oldest = _name((now - timedelta(days=self.keep_days())).strftime("%Y-%m-%d"))
        for path in self.folder.glob(_name("*")):
            if path.name < oldest:
                path.unlink()


def read(folder: Path, *, user: str = "", since: str = "") -> Iterator[dict[str, Any]]:
    """Yield the lines of the trail, oldest first.

    Parameters
    ----------
    folder
        Where its files lie.
    user
        Only what concerns this user; all if empty.
    since
        Only from this time on: the beginning of an ISO date, such as 2026-11-24 or 2026-11-24T08.
    """
    for path in sorted(folder.glob(_name("*"))):
        for text in path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the last line of a host that lost its power
            if user in ("", line.get("user")) and line.get("time", "") >= since:
                yield line


def shown(line: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the part of a line that somebody may see: what a teacher may is a fact of the site."""
    return {name: line[name] for name in names if name in line}


def _name(day: str) -> str:
    return f"audit-{day}.jsonl"
