"""The broker's ledger: one file per session, written before Slurm hears of it and closed when the job is gone.

It lies outside the hub's database. Whatever becomes of the hub, here stands which sessions there are; and
whatever becomes of the broker between two steps, the entry says which step that was.

    intended ──sbatch answers──> submitted ──cancel, end──> closing ──no job is left──> closed
        └──────────── cancel, refusal ────────────────────────┘  <──a job is alive again──┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from davide_hub.broker.keep import made, read, write

State = Literal["intended", "submitted", "closing", "closed"]

# Longer than any session: the longest walltime that the site facts allow is 30 days.
_OPEN_SECONDS = 40 * 24 * 3600
# The log of a session that has just failed is still asked for.
_CLOSED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Entry:
    """What the broker knows of one session.

    Attributes
    ----------
    key
        The session's name, made by the hub.
    user, uid, gid, home
        Whose it is, as the directory had it: ending a session must not wait for a directory that is silent.
    server
        The hub's name of the server; empty for a user's default one.
    profile
        What it was started with.
    state
        See the picture above.
    job
        The job's number; empty until Slurm has told it.
    token_digest
        SHA-256 of the session's API token: what is recalled from the user's home is known again by it.
    tried
        When sbatch was last run, in seconds since 1970: an order may reach Slurm later than its sender thinks.
    tries
        How often it was run. Where an order whose fate was not known is given again, there may be two jobs.
    """

    key: str
    user: str
    uid: int
    gid: int
    home: str
    server: str
    profile: str
    state: State
    job: str = ""
    token_digest: str = ""
    tried: float = 0.0
    tries: int = 0

    @property
    def doubtful(self) -> bool:
        """Whether Slurm may have taken the session twice."""
        return self.tries > 1


_FIELDS = [field.name for field in fields(Entry)]


class Ledger:
    """All sessions that the broker was asked to submit."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = made(folder)
        self._clock = clock
        self._forget_old()

    def find(self, key: str) -> Entry | None:
        """Return the entry of a session, or None."""
        kept = read(self._folder / key)
        known = {name: kept[name] for name in _FIELDS if name in kept}
        try:
            return Entry(**known)
        except TypeError:
            return None  # no such file, or one that a power loss left half-written

    def intend(self, entry: Entry) -> Entry:
        """Note that sbatch is about to be run for this session."""
        return self._write(replace(entry, state="intended", tried=self._clock(), tries=entry.tries + 1))

    def submitted(self, entry: Entry, job: str) -> Entry:
        """Note the job's number, before anybody hears of it."""
        return self._write(replace(entry, state="submitted", job=job))

    def certain(self, entry: Entry) -> Entry:
        """Note that there is one job and that no second one can turn up."""
        return self._write(replace(entry, tries=1))

    def closing(self, entry: Entry) -> Entry:
        """Note that the session is over for its user, though a job may still run or turn up."""
        return entry if entry.state in ("closing", "closed") else self._write(replace(entry, state="closing"))

    def closed(self, entry: Entry) -> Entry:
        """Note that no job of this session is left."""
        return self._write(replace(entry, state="closed"))

    def reopened(self, entry: Entry) -> Entry:
        """Note that a job of a closed session is alive after all, and is to end."""
        return self._write(replace(entry, state="closing"))

    def open(self) -> Iterator[Entry]:
        """Yield every session that may still have a job, the latest first: of two, that is the one a user is in."""
        entries = [self.find(path.name) for path in sorted(self._folder.glob("[!.]*"))]
        found = [entry for entry in entries if entry is not None and entry.state != "closed"]
        yield from sorted(found, key=lambda entry: entry.tried, reverse=True)

    def _write(self, entry: Entry) -> Entry:
        write(self._folder / entry.key, asdict(entry))
        return entry

    def _forget_old(self) -> None:
        for path in self._folder.iterdir():
            entry = self.find(path.name)
            age = self._clock() - path.stat().st_mtime
            if entry is None or age > (_CLOSED_SECONDS if entry.state == "closed" else _OPEN_SECONDS):
                path.unlink()
