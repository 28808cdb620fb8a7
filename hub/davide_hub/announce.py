"""The announcement on every page: a file that root writes, and that a crash leaves whole."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from davide_hub.facts import FactsError
from davide_hub.posted import Posted, post, take_down

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
    """The announcement, as pages ask for it.

    Parameters
    ----------
    file
        Where it is written.
    log
        Who is told of a file that can't be read.
    """

    def __init__(self, file: Path, log: Any) -> None:
        self._posted = Posted(file, Announcement, None, _UNREADABLE, log)

    def shown(self) -> Announcement | None:
        """Return what is to be shown now."""
        one = self._posted.content()
        return one if one and (one.until is None or time.time() < one.until) else None


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


def one_line(name: str, written: str, longest: int) -> str:
    """Return what somebody wrote for everybody to read; raises `FactsError`."""
    said = written.strip()
    if not said or not said.isprintable() or len(said) > longest:
        raise FactsError([f"{name} must be one line of 1 to {longest} characters that can be seen; shorten it"])
    return said


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
        take_down(arguments.file)
        return 0
    said = one_line("TEXT", arguments.text, _LONGEST)
    until = moment(arguments.until, datetime.now()).timestamp() if arguments.until else None
    post(arguments.file, Announcement(said, arguments.level, until))
    return 0
