"""What the broker remembers between two requests, and across its own restarts: tickets and sessions.

One small file each, written whole or not at all, in a folder that only root can read.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKET_SECONDS = 24 * 3600
# Longer than any session: the longest walltime that the site facts allow is 30 days.
_SESSION_SECONDS = 40 * 24 * 3600


class Tickets:
    """Who has logged in within the last day. Without a ticket, nobody submits in a user's name."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = _made(folder)
        self._clock = clock

    def give(self, user: str, uid: int) -> None:
        """Note that the user has just proved who they are."""
        _write(self._folder / user, {"uid": uid, "expires": self._clock() + TICKET_SECONDS})

    def holds(self, user: str, uid: int) -> bool:
        """Return whether the user holds a ticket: for this uid, since names are given to new people."""
        ticket = _read(self._folder / user)
        return bool(ticket) and ticket["uid"] == uid and self._clock() < ticket["expires"]


class Sessions:
    """Which job the broker submitted for which session: it cancels these and no others."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = _made(folder)
        self._clock = clock
        self._forget_old()

    def remember(self, key: str, user: str, job_id: str) -> None:
        """Note a submitted job, before anybody hears of it."""
        _write(self._folder / key, {"user": user, "job": job_id, "submitted": self._clock()})

    def job_of(self, key: str, user: str) -> str | None:
        """Return the job of this user's session, or None if there is no such session."""
        session = _read(self._folder / key)
        return str(session["job"]) if session and session["user"] == user else None

    def _forget_old(self) -> None:
        for path in self._folder.iterdir():
            session = _read(path)
            if not session or self._clock() - session["submitted"] > _SESSION_SECONDS:
                path.unlink()


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        # A file that isn't JSON is the half-written one of a power loss: as good as none.
        return {}
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    # The dot keeps the half-written file apart: names and keys never begin with one.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with draft.open("x") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
