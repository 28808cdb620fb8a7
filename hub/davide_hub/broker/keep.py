"""What the broker remembers between two requests, and across its own restarts: tickets, and files like them.

One small file each, written whole or not at all, in a folder that only root can read.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

TICKET_SECONDS = 24 * 3600


class Tickets:
    """Who has logged in within the last day. Without a ticket, nobody submits in a user's name."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = made(folder)
        self._clock = clock

    def give(self, user: str, uid: int) -> str:
        """Note that the user has just proved who they are; return a name for this log-in."""
        login = token_hex(4)
        write(self._folder / user, {"uid": uid, "expires": self._clock() + TICKET_SECONDS, "login": login})
        return login

    def drop(self, user: str) -> None:
        """Take the user's ticket away."""
        (self._folder / user).unlink(missing_ok=True)

    def login_of(self, user: str) -> str:
        """Return the name of the user's last log-in, for the audit trail; empty without one."""
        return str(read(self._folder / user).get("login", ""))

    def holders(self) -> list[str]:
        """Return who holds a ticket."""
        return [path.name for path in self._folder.glob("[!.]*") if self.holds(path.name, None)]

    def holds(self, user: str, uid: int | None) -> bool:
        """Return whether the user holds a ticket: for this uid, since names are given to new people.

        Parameters
        ----------
        user, uid
            Whose. None if the directory does not tell the uid just now: then the name counts.
        """
        ticket = read(self._folder / user)
        return bool(ticket) and uid in (ticket["uid"], None) and self._clock() < ticket["expires"]


def made(folder: Path) -> Path:
    """Return the folder, made if it was missing; only root may look into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def read(path: Path) -> dict[str, Any]:
    """Return what a file holds, or nothing where there is none."""
    try:
        return parsed(path.read_bytes())
    except FileNotFoundError:
        return {}


def parsed(text: bytes) -> dict[str, Any]:
    """Return what the text of a file holds, or nothing."""
    try:
        content = json.loads(text)
    except ValueError:
        # A file that isn't JSON is the half-written one of a power loss: as good as none.
        return {}
    return content if isinstance(content, dict) else {}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that a crash at any instant leaves the old or the new one."""
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
