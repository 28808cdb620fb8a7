"""`davide-hub drain`: no new sessions, before maintenance; those that run or wait go on. `davide-hub undrain` ends it.

It stands in a file that root writes, so a hub that is restarted is still closed. A start that was accepted before is
carried through, also by a hub that is restarted in between.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_hub.announce import one_line
from davide_hub.posted import Posted, post, take_down
from davide_hub.texts import text

FILE = Path("/etc/davide-hub/drain.json")
_LONGEST = 80
_UNREADABLE = (
    "whether the hub is drained can't be read ({}), so it is; give the order anew: davide-hub drain, or undrain"
)


@dataclass(frozen=True)
class Drain:
    """That no new sessions are wanted.

    Attributes
    ----------
    until
        In the administrator's words, for people to read; may be empty. Nothing opens by itself: maintenance takes as
        long as it takes.
    """

    until: str = ""

    @property
    def sentence(self) -> str:
        """What stands on every page."""
        return text("drain.until", until=self.until) if self.until else text("drain.now")


class Gate:
    """Where every new session comes through.

    Parameters
    ----------
    file
        Where a drain is written.
    log
        Who is told of a file that can't be read.
    """

    def __init__(self, file: Path, log: Any) -> None:
        self._posted = Posted(file, Drain, Drain(), _UNREADABLE, log)

    def drain(self) -> Drain | None:
        """Return the drain that holds, or None if everybody comes through."""
        return self._posted.content()


def standing(file: Path = FILE) -> Drain | None:
    """Return the drain that holds now, for those who look once."""
    return Gate(file, logging.getLogger(__name__)).drain()


def add_verbs(verbs: Any) -> None:
    """Add `davide-hub drain` and `undrain`."""
    drain = verbs.add_parser("drain", help="let no new sessions start; those that run go on")
    drain.add_argument("--until", metavar="TEXT", help="when it is over, as people are to read it: 'Thursday 14:00'")
    drain.set_defaults(run=_drain)
    undrain = verbs.add_parser("undrain", help="let sessions start again")
    undrain.set_defaults(run=_undrain)
    for verb in (drain, undrain):
        verb.add_argument("--file", type=Path, default=FILE, help=argparse.SUPPRESS)


def _drain(arguments: argparse.Namespace) -> int:
    post(arguments.file, Drain(one_line("--until", arguments.until, _LONGEST) if arguments.until is not None else ""))
    print("no new sessions start; those that run go on. Let them start again by: davide-hub undrain")
    return 0


def _undrain(arguments: argparse.Namespace) -> int:
    take_down(arguments.file)
    print("sessions start again")
    return 0
