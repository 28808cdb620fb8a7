"""Accounts and a Slurm of our making, which note whatever would have been done wrong."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from davide_hub.broker import owner, sessions, verbs
from davide_hub.broker.accounts import Account, WrongPassword
from davide_hub.broker.owner import OwnersJob, SlurmRefused, SlurmSilent
from davide_hub.questions import COMMANDS, Outcome
from davide_hub.questions import SlurmSilent as SilentToAll

ACCOUNTS = {
    name: Account(name, uid, 2000, Path("/home") / name, "/bin/bash")
    for name, uid in (("student01", 3001), ("student02", 3002))
}
# student02 has no password that is right, and so never a ticket.
RIGHT = {"student01": "right"}


def find_account(name: str) -> Account:
    """Return one of the two accounts."""
    if name not in ACCOUNTS:
        raise WrongPassword
    return ACCOUNTS[name]


class Slurm:
    """Takes orders, is silent or refuses now and then, and writes down orders that it must never get.

    Attributes
    ----------
    wrong
        Orders in the name of somebody without a ticket, with a key or a variable that is none of ours, or
        about a session of somebody else.
    """

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.orders = self.questions = self.estimates = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew, without jobs."""
        self._owners: dict[str, str] = {}
        self._jobs: dict[str, list[OwnersJob]] = {name: [] for name in ACCOUNTS}

    def submit(self, account: Account, order: dict[str, Any]) -> str:
        """Take a job: every seventh time in silence, every eleventh not at all."""
        self.orders += 1
        key = order["session_key"]
        self._check(account, key)
        if account.name not in RIGHT:
            self.wrong.append(f"a job of {account.name}, who never logged in")
        for name in order["environment"]:
            if not re.fullmatch(r"JUPYTERHUB_[A-Z_]+|DAVIDE_PROFILE", name):
                self.wrong.append(f"the variable {name!r}")
        if self.orders % 11 == 0:
            raise SlurmRefused("Slurm refused the session: no")
        job = OwnersJob(str(self.orders), "RUNNING", "gpu01", "", account.uid, "N/A", order["mark"])
        self._jobs[account.name] = [*self._jobs[account.name][-20:], job]
        if self.orders % 7 == 0:
            raise SlurmSilent
        return job.number

    def estimate(self, account: Account, script: str) -> float:
        """Say when a script would start: every fifth time nothing."""
        self.estimates += 1
        if account.name not in RIGHT:
            self.wrong.append(f"an estimate for {account.name}, who never logged in")
        if not script.startswith("#!/bin/bash\n") or "\n#SBATCH --account=" not in script:
            self.wrong.append(f"an estimate of {script[:80]!r}")
        if self.estimates % 5 == 0:
            raise SlurmSilent
        return 1e9

    def jobs(self, account: Account) -> list[OwnersJob]:
        """Return the user's jobs."""
        return list(self._jobs[account.name])

    def record(self, account: Account, number: str) -> None:
        """Return no record."""

    def cancel(self, account: Account, numbers: list[str]) -> None:
        """End jobs, of this user only."""
        mine = self._jobs[account.name]
        if strange := set(numbers) - {job.number for job in mine}:
            self.wrong.append(f"{account.name} ends {strange}")
        self._jobs[account.name] = [job for job in mine if job.number not in numbers]

    def discard(self, account: Account, key: str) -> bool:
        """Note whose session it is."""
        self._check(account, key)
        return True

    def recall(self, account: Account, key: str) -> str:
        """Return what a user may have made of the files in the own home."""
        self._check(account, key)
        return '{"JUPYTERHUB_API_TOKEN": 7}\n[]\n'

    def log_end(self, account: Account, key: str) -> str:
        """Return a line that no terminal would like."""
        self._check(account, key)
        return "\x1b[2J\u2028log\n"

    def ask(self, question: str, jobs: Collection[str]) -> Outcome:
        """Answer the hub's own questions; note those that would not be the fixed commands with job numbers."""
        self.questions += 1
        if question not in COMMANDS or not all(re.fullmatch("[0-9]{1,10}", job) for job in jobs):
            self.wrong.append(f"the question {question!r} about {jobs!r}")
        if bool(jobs) != (question in ("queue", "states", "accounting")):
            self.wrong.append(f"the question {question!r} about {len(jobs)} jobs")
        if question != "queue":
            raise SilentToAll("squeue took more than 15 s")
        jobs = [job for one in self._jobs.values() for job in one]
        times = "prod|7|1764440000|N/A|N/A"
        lines = [f"{job.number}|{job.state}|{job.node}|{job.uid}|{times}|None\n" for job in jobs]
        header = "JOBID|STATE|EXEC_HOST|UID|PARTITION|PRIORITY|SUBMIT_TIME|START_TIME|END_TIME|REASON\n"
        return Outcome(0, header + "".join(line for line in lines if line.split("|")[0] in jobs))

    def _check(self, account: Account, key: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", key):
            self.wrong.append(f"the key {key!r}")
        if self._owners.setdefault(key, account.name) != account.name:
            self.wrong.append(f"{account.name} reaches {key} of {self._owners[key]}")


def pretended(patch: pytest.MonkeyPatch) -> Slurm:
    """Return a Slurm of our making, which the broker of this process takes for the real one; accounts likewise."""
    slurm = Slurm()
    for name in ("submit", "estimate", "jobs", "record", "cancel", "discard", "recall", "log_end"):
        patch.setattr(owner, name, getattr(slurm, name))
    for module in (verbs, sessions):
        patch.setattr(module, "find_account", find_account)
        patch.setattr(module, "check_membership", lambda _account, _group: None)
    return slurm
