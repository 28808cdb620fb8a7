"""A Slurm that holds a few jobs in memory, as the broker meets it in `broker.owner`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from davide_hub.broker import owner
from davide_hub.broker.accounts import Account
from davide_hub.broker.owner import HomeSilent, OwnersJob, SecretsGone, SlurmRefused, SlurmSilent


class FakeSlurm:
    """Takes orders, forgets nothing, and fails as it is told.

    Attributes
    ----------
    queue
        All jobs by their numbers.
    folders
        What lies in the homes: for each session its secrets.
    silent
        Verbs on which Slurm does not answer; on `recall`, the home.
    late
        Orders that sbatch gave up on and that have not reached Slurm yet.
    refuses
        What sbatch says instead of a number.
    """

    def __init__(self, monkeypatch: Any) -> None:
        self.queue: dict[str, OwnersJob] = {}
        self.folders: dict[str, dict[str, str]] = {}
        self.silent: set[str] = set()
        self.loses_reply = False
        self.late: list[OwnersJob] = []
        self.refuses = ""
        self.records: dict[str, OwnersJob] = {}
        self.ordered: list[str] = []
        self._next = 17
        for verb in ("submit", "jobs", "record", "cancel", "discard", "recall", "log_end"):
            monkeypatch.setattr(owner, verb, getattr(self, verb))

    def submit(self, account: Account, order: dict[str, Any]) -> str:
        """Take a job; its number may get lost, or the order may be on its way for long."""
        self.ordered.append("submit")
        if self.refuses:
            raise SlurmRefused(self.refuses)
        self.folders[order["session_key"]] = order["environment"]
        taken = time.strftime("%Y-%m-%dT%H:%M:%S")
        job = OwnersJob(str(self._next), "RUNNING", "gpu01", "", account.uid, taken, order["mark"])
        self._next += 1
        if "submit" in self.silent:
            self.late.append(job)
            raise SlurmSilent("timed out")
        self.queue[job.number] = job
        if self.loses_reply:
            raise SlurmSilent("zero bytes")
        return job.number

    def jobs(self, account: Account) -> list[OwnersJob]:
        """Return a user's jobs."""
        self._answer("jobs")
        return [job for job in self.queue.values() if job.uid == account.uid]

    def record(self, _account: Account, number: str) -> OwnersJob | None:
        """Return what accounting has of a job."""
        return self.records.get(number)

    def cancel(self, _account: Account, numbers: list[str]) -> None:
        """End jobs."""
        self._answer("cancel")
        for number in numbers:
            self.becomes(number, state="CANCELLED")

    def discard(self, _account: Account, key: str) -> bool:
        """Remove a session's secrets."""
        self.folders.pop(key, None)
        return True

    def recall(self, _account: Account, key: str) -> str:
        """Return a session's secrets."""
        if "recall" in self.silent:
            raise HomeSilent("recall took more than 10 s")
        if key not in self.folders:
            raise SecretsGone(key)
        return json.dumps(self.folders[key]) + "\n\n"

    def log_end(self, _account: Account, key: str) -> str:
        """Return a log."""
        return f"log of {key}"

    def late_orders_arrive(self) -> None:
        """Let every order that was given up reach Slurm after all."""
        self.queue |= {job.number: job for job in self.late}
        self.late = []

    def becomes(self, number: str, **changes: Any) -> None:
        """Change what Slurm shows of a job."""
        self.queue[number] = replace(self.queue[number], **changes)

    def alive(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        return [job.number for job in self.queue.values() if job.alive]

    def _answer(self, verb: str) -> None:
        self.ordered.append(verb)
        if verb in self.silent:
            raise SlurmSilent(f"{verb} timed out")
