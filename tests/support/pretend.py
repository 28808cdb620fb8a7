"""Accounts and a Slurm of our making, which note whatever would have been done wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from davide_hub.broker.accounts import Account, WrongPassword
from davide_hub.broker.owner import OwnersJob, SlurmRefused, SlurmSilent

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
        self.orders = 0
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

    def _check(self, account: Account, key: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", key):
            self.wrong.append(f"the key {key!r}")
        if self._owners.setdefault(key, account.name) != account.name:
            self.wrong.append(f"{account.name} reaches {key} of {self._owners[key]}")
