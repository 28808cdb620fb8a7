"""The announcement on every page: a file that root writes, and that a crash leaves whole."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from davide_hub.facts import FactsError

FILE = Path("/etc/davide-hub/announcement.json")
Level = Literal["info", "warning", "danger"]
_LONGEST = 500
_UNREADABLE = "the announcement can't be read ({}); write it anew: davide-hub announce TEXT"


@dataclass(frozen=True)
class Announcement:
    """What stands on every page.

    Attributes
    ----------
    text
        Plain text; pages escape it.
    level
        How it looks.
    until
        Seconds since 1970; None if it stays until it is cleared.
    """

    text: str
    level: Level = "info"
    until: float | None = None


class Board:
    """The announcement, as pages ask for it: read anew only when the file is another one.

    Parameters
    ----------
    file
        Where it is written.
    log
        Who is told of a file that can't be read.
    """

    def __init__(self, file: Path, log: Any) -> None:
        self.file, self.log = file, log
        self._stamp: tuple[int, int] | None = None
        self._shown: Announcement | None = None

    def shown(self) -> Announcement | None:
        """Return what is to be shown now."""
        try:
            found = self.file.stat()
        except OSError:
            self._stamp = self._shown = None
            return None
        if (stamp := (found.st_mtime_ns, found.st_ino)) != self._stamp:
            self._stamp, self._shown = stamp, self._read()
        one = self._shown
        return one if one and (one.until is None or time.time() < one.until) else None

    def _read(self) -> Announcement | None:
        try:
            return Announcement(**json.loads(self.file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            self.log.error(_UNREADABLE.format(error))
            return None


def write(file: Path, announcement: Announcement) -> None:
    """Put an announcement in the place of the last one, whole or not at all, and on the disk."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as out:
        os.fchmod(out.fileno(), 0o644)  # whatever root's umask is: the hub reads it
        json.dump(asdict(announcement), out)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    _sync(file.parent)


def clear(file: Path) -> None:
    """Take the announcement away."""
    file.unlink(missing_ok=True)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def moment(text: str, now: datetime) -> datetime:
    """Return the time that somebody wrote: 14:00 (the next one), or 2026-12-01 14:00; raises `FactsError`."""
    try:
        if re.fullmatch(r"[0-9]{1,2}:[0-9]{2}", text):
            hour, minute = map(int, text.split(":"))
            then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return then if then > now else datetime.fromtimestamp(then.timestamp() + 86400)
        then = datetime.fromisoformat(text)
    except ValueError:
        raise FactsError([f"--until: {text!r} is no time; write 14:00, or '2026-12-01 14:00'"]) from None
    if then.timestamp() <= now.timestamp():
        raise FactsError([f"--until: {text} is over already; write a later time"])
    return then


def add_verb(verbs: Any) -> None:
    """Add `davide-hub announce`."""
    announce = verbs.add_parser("announce", help="show a text on every page of the hub, or take it away")
    what = announce.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", metavar="TEXT", help="one line of plain text")
    what.add_argument("--clear", action="store_true", help="show nothing any more")
    announce.add_argument("--until", metavar="TIME", help="show it until then: 14:00, or '2026-12-01 14:00'")
    announce.add_argument("--level", choices=get_args(Level), default="info", help="how it looks (info)")
    announce.add_argument("--file", type=Path, default=FILE, help=argparse.SUPPRESS)
    announce.set_defaults(run=_announce)


def _announce(arguments: argparse.Namespace) -> int:
    if arguments.clear:
        clear(arguments.file)
        return 0
    said = arguments.text.strip()
    if not said or not said.isprintable() or len(said) > _LONGEST:
        raise FactsError([f"TEXT must be one line of 1 to {_LONGEST} characters that can be seen; shorten it"])
    until = moment(arguments.until, datetime.now()).timestamp() if arguments.until else None
    write(arguments.file, Announcement(said, arguments.level, until))
    return 0
