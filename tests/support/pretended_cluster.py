"""A cluster of our making under a real hub: the commands that the hub runs, and what the broker orders in users' names.

A test says what Slurm is to answer, and sees what it was asked. A session's job can really start: as a small server on
this machine that calls home.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from davide_hub.broker import owner, sessions, verbs
from davide_hub.broker.accounts import Account, WrongPassword
from davide_hub.broker.owner import OwnersJob, SlurmRefused, SlurmSilent

from support.cluster import ROOT
from support.slurm_commands import UNREACHABLE, Answer, SlurmCommands

PASSWORD = "made-up-password"
NODE = "localhost"  # where jobs of ours run: the hub finds out who calls home by the node's name
STAND_IN = ROOT / "tests/bench/files/stand_in.py"
# squeue's letters, by what is its header and which field of a job it shows.
_COLUMNS = {
    "i": ("JOBID", "number"), "T": ("STATE", "state"), "B": ("EXEC_HOST", "node"), "U": ("UID", "uid"),
    "r": ("REASON", "reason"), "u": ("USER", "user"), "k": ("COMMENT", "mark"), "S": ("START_TIME", "start"),
    "e": ("END_TIME", "end"), "L": ("TIME_LEFT", "left"), "M": ("TIME", "elapsed"), "l": ("TIME_LIMIT", "limit"),
    "Q": ("PRIORITY", "priority"), "V": ("SUBMIT_TIME", "submitted"), "P": ("PARTITION", "partition"),
    "a": ("ACCOUNT", "account"), "q": ("QOS", "qos"), "v": ("RESERVATION", "reservation"),
    "b": ("TRES_PER_NODE", "gres"), "N": ("NODELIST", "node"), "j": ("NAME", "name"), "D": ("NODES", "nodes"),
}  # fmt: skip


@dataclass
class PretendedJob:
    """A session's job.

    Attributes
    ----------
    order
        What the broker had sbatch do: script, environment, session_key, mark.
    shown
        What squeue shows of it beside state, node and reason, by the names in `_COLUMNS`; "N/A" where nothing is set.
    """

    number: str
    account: Account
    order: dict[str, Any]
    state: str = "PENDING"
    reason: str = "Priority"
    node: str = ""
    shown: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """Return what squeue shows of it in a column."""
        mine = {"uid": str(self.account.uid), "user": self.account.name, "mark": self.order["mark"]}
        own = {"number": self.number, "state": self.state, "reason": self.reason, "node": self.node or "n/a"}
        return (self.shown | mine | own).get(name, "N/A")


class PretendedCluster(SlurmCommands):
    """Slurm and the directory of accounts, as a test wants them.

    Attributes
    ----------
    jobs
        By number.
    says
        What a command prints, by its name: a text, or a function of the arguments. squeue and sacct need none.
    estimates, estimated
        When Slurm would start a profile, in seconds since 1970, or what it says if never; whom that was told, and of
        which profile.
    refuses
        What sbatch says instead of taking a job.
    runs_at_once
        Whether a job that was submitted starts, and calls home.
    """

    names = ("squeue", "sinfo", "sacct", "scontrol", "sacctmgr")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.jobs: dict[str, PretendedJob] = {}
        self.says: dict[str, str | Callable[[list[str]], str]] = {}
        self.logs: dict[str, str] = {}
        self.estimates: dict[str, float | str] = {}
        self.estimated: list[str] = []
        self.runs_at_once = False
        self.refuses = ""
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    # -- what a test does

    def run(self, number: str) -> None:
        """Let a job start, and its server call home."""
        job = self.jobs[number]
        job.state, job.reason, job.node = "RUNNING", "None", NODE
        environment = self.folder / f"environment-{number}.json"
        environment.write_text(json.dumps(job.order["environment"]))
        self._servers[number] = subprocess.Popen([sys.executable, str(STAND_IN), str(environment)])

    def lose_server(self, number: str) -> None:
        """Let a job's server be gone before Slurm notices anything."""
        server = self._servers.pop(number)
        server.kill()
        server.wait()

    @contextmanager
    def suspended(self, number: str) -> Iterator[None]:
        """Suspend a job for a while."""
        server, job = self._servers[number], self.jobs[number]
        server.send_signal(signal.SIGSTOP)
        job.state = "SUSPENDED"
        try:
            yield
        finally:
            job.state = "RUNNING"
            server.send_signal(signal.SIGCONT)

    def end(self, number: str, state: str = "COMPLETED") -> None:
        """Let a job end."""
        self.jobs[number].state = state

    def newest(self, user: str) -> PretendedJob:
        """Return the job that a user submitted last."""
        return [job for job in self.jobs.values() if job.account.name == user][-1]

    # -- the commands that the hub runs

    def stop(self) -> None:
        """Answer no more, and leave no server behind."""
        super().stop()
        for number in list(self._servers):
            self.lose_server(number)

    def run_command(self, program: str, arguments: list[str], _given: str, _environment: dict[str, str]) -> Answer:
        """Return what `says` has of a command, or the queue."""
        if program == "squeue":
            return 0, self._queue(arguments), ""
        said = self.says.get(program, "")
        return 0, said if isinstance(said, str) else said(arguments), ""

    def _queue(self, arguments: list[str]) -> str:
        named = {name: value for name, _, value in (argument.partition("=") for argument in arguments)}
        columns = [_COLUMNS[letter] for letter in re.findall(r"%[.0-9]*([A-Za-z])", named["--format"])]
        wanted = named["--jobs"].split(",") if "--jobs" in named else list(self.jobs)
        rows = [[header for header, _ in columns]]
        rows += [[job.column(name) for _, name in columns] for job in map(self.jobs.get, wanted) if job]
        return "".join("|".join(row) + "\n" for row in rows)

    # -- what the broker orders

    def submit(self, account: Account, order: dict[str, Any]) -> str:
        """Take a job."""
        if self.silent:
            raise SlurmSilent(UNREACHABLE)
        if self.refuses:
            raise SlurmRefused(f"Slurm refused the session: {self.refuses}")
        number = str(1000 + len(self.jobs))
        self.jobs[number] = PretendedJob(number, account, order)
        if self.runs_at_once:
            self.run(number)
        return number

    def estimate(self, account: Account, script: str) -> float:
        """Say when a script would start."""
        if self.silent:
            raise SlurmSilent(UNREACHABLE)
        profile = script.split(" on profile ")[1].split(",")[0]
        self.estimated.append(f"{account.name} {profile}")
        told = self.estimates.get(profile)
        if not isinstance(told, float):
            raise SlurmRefused(told or "allocation failure: Requested node configuration is not available")
        return told

    def owners_jobs(self, account: Account) -> list[OwnersJob]:
        """Return a user's jobs."""
        if self.silent:
            raise SlurmSilent(UNREACHABLE)
        mine = (job for job in self.jobs.values() if job.account.name == account.name)
        return [
            OwnersJob(job.number, job.state, job.node, job.reason, account.uid, "N/A", job.order["mark"])
            for job in mine
        ]

    def cancel(self, _account: Account, numbers: list[str]) -> None:
        """End jobs."""
        if self.silent:
            raise SlurmSilent(UNREACHABLE)
        for number in numbers:
            if self.jobs[number].state in ("PENDING", "RUNNING"):
                self.end(number, "CANCELLED")

    def log_end(self, _account: Account, key: str) -> str:
        """Return the end of a session's log."""
        return self.logs.get(key, "")

    def patched(self, patch: pytest.MonkeyPatch) -> None:
        """Give the broker of this process these accounts and this Slurm."""
        ours = {
            "submit": self.submit,
            "estimate": self.estimate,
            "jobs": self.owners_jobs,
            "record": lambda _account, _number: None,
            "cancel": self.cancel,
            "discard": lambda _account, _key: True,
            "recall": lambda _account, _key: "{}\n\n",
            "log_end": self.log_end,
        }
        for name, function in ours.items():
            patch.setattr(owner, name, function)
        for module in (verbs, sessions):
            patch.setattr(module, "find_account", find_account)
            patch.setattr(module, "check_membership", lambda _account, _group: None)
        patch.setattr(verbs, "check_password", _check_password)


def find_account(name: str) -> Account:
    """Return an account: everybody whose name is a word and two or three digits has one."""
    if not re.fullmatch(r"[a-z]+[0-9]{2,3}", name):
        raise WrongPassword
    # No two of those that tests use have the same number.
    uid = {"student": 3000, "teacher": 4000, "admin": 5000}.get(name.rstrip("0123456789"), 6000)
    return Account(name, uid + int(name.lstrip("abcdefghijklmnopqrstuvwxyz")), 2000, Path("/home") / name, "/bin/bash")


def _check_password(_account: Account, password: str, _service: str) -> None:
    if password != PASSWORD:
        raise WrongPassword
