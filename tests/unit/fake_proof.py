"""Proofs by word of the test: what became of jobs is what it says."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from davide_hub.broker.client import BrokerClient
from davide_hub.states import UNKNOWN, Job


class FakeProof:
    """Says of every job what it is told to say; the last word stands.

    Attributes
    ----------
    jobs
        The words that come, for all jobs alike, or for each number its own.
    asked
        Keys and numbers that were asked about.
    view
        What there is of a view of Slurm.
    """

    def __init__(self, *jobs: Job, broker: BrokerClient | None = None, **by_number: Job) -> None:
        self.jobs = list(jobs)
        self.by_number = by_number
        self.asked: list[tuple[str, str]] = []
        self.broker = broker
        self.forgotten: list[str] = []
        self.view = SimpleNamespace(
            last=self.last,
            forget=self.forgotten.append,
            silent=False,
            risen=asyncio.Event(),
            watch_the_buried=self._watch_the_buried,
            marked=self._marked,
            place=lambda _number: (2, 3),
        )
        self.marks: list[object] = []

    async def job(self, _user: str, key: str, number: str) -> Job:
        """Return the next word."""
        self.asked.append((key, number))
        if f"j{number}" in self.by_number:
            return self.by_number[f"j{number}"]
        return self.jobs.pop(0) if len(self.jobs) > 1 else self.last(number)

    def last(self, _number: str) -> Job:
        """Return the word that stands."""
        return self.jobs[0] if self.jobs else UNKNOWN

    async def uid_of(self, _user: str) -> int:
        """Return the uid of every user here."""
        return 6001

    async def _watch_the_buried(self) -> None:
        return None

    async def _marked(self) -> list[object]:
        return self.marks
