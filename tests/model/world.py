"""The world of one server of one user: Slurm, the home, the broker's disk, the hub's database and its memory.

Only what a decision depends on is kept, in a form that can be compared and brought back (`frozen.py`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from davide_hub.broker.protocol import Request
from davide_hub.facts import load_site

USER, UID = "student01", 6001
SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
TOKENS = {f"s{i:02}": f"token of s{i:02}" for i in range(40)}
DIGESTS = {key: sha256(token.encode()).hexdigest() for key, token in TOKENS.items()}


def age(key: str) -> float:
    """Return when a session was submitted: the later, the higher. All of it is long ago for `Broker._clock`."""
    return float(key[1:])


@dataclass
class SlurmJob:
    """A job as Slurm has it, and as the session in it is.

    Attributes
    ----------
    key
        The session that it was submitted for.
    state
        `waits`, `runs` or `ended`.
    serves
        Whether it holds the session, and JupyterLab listens.
    heard
        Whether a hub has heard its call home: then it does not call again.
    """

    key: str
    state: str = "waits"
    serves: bool = False
    heard: bool = False

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state != "ended"


@dataclass
class Memory:
    """What is in the memory of a hub that runs.

    Attributes
    ----------
    phase
        What JupyterHub thinks of the server: `idle`, `starting`, `resuming`, `adopting`, `up` or `stopping`.
    spawner
        The attributes of the spawner, by their names.
    submission
        Whether the task of the submission is still under way.
    stop_begun
        Whether `stop()` runs already.
    adoption
        What is being adopted.
    forgotten_ends
        Sessions that the hub has, and that the broker was closing when they were last compared.
    """

    phase: str = "idle"
    spawner: tuple[tuple[str, Any], ...] = ()
    submission: bool = False
    stop_begun: bool = False
    adoption: tuple[Any, ...] | None = None
    forgotten_ends: tuple[str, ...] = ()


@dataclass
class World:
    """All that lasts from one step to the next.

    Attributes
    ----------
    jobs
        By number.
    late
        Sessions of orders that sbatch gave up on, and that may reach Slurm yet.
    secrets, claims
        In the home: sessions whose secrets lie there; which job holds which session.
    disk
        The broker's ledger.
    queued
        Requests that a dead hub has sent and that the broker has not yet read.
    database
        The hub's database: whether it knows a server, and the spawner's state.
    hub
        None while no hub runs.
    said_gone
        Sessions of which the owner has said once that there is no job.
    unwanted
        Sessions that the user has stopped or given up by starting another, and those that are to end for a good reason.
    lost
        A session that was ended although its server ran, its hub had heard of it, and its user wanted it.
    """

    jobs: dict[str, SlurmJob] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    claims: dict[str, str] = field(default_factory=dict)
    disk: dict[str, dict[str, Any]] = field(default_factory=dict)
    queued: list[Request] = field(default_factory=list)
    database: tuple[bool, tuple[tuple[str, Any], ...]] = (False, ())
    hub: Memory | None = field(default_factory=Memory)
    said_gone: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)
    lost: str = ""

    def new_key(self) -> str:
        """Return a name that no session has."""
        return f"s{max((int(key[1:]) for key in self.keys()), default=-1) + 1:02}"

    def new_number(self) -> str:
        """Return a number that no job has."""
        return str(max(map(int, self.jobs), default=99) + 1)

    def alive(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        return [number for number, job in self.jobs.items() if job.alive]

    def keys(self) -> set[str]:
        """Return all sessions that anybody knows of."""
        return ({job.key for job in self.jobs.values()} | self.disk.keys() | set(self.late) | self._hubs()[0]) - {""}

    def numbers(self) -> set[str]:
        """Return all numbers of jobs that anybody but Slurm knows of."""
        return ({entry["job"] for entry in self.disk.values()} | self._hubs()[1]) - {""}

    def _hubs(self) -> tuple[set[str], set[str]]:
        """Return the sessions and the jobs that the hub knows of, or will be asked about."""
        states = [self.database[1], self.hub.spawner] if self.hub is not None else [self.database[1]]
        keys = {request.session_key for request in self.queued}
        numbers = set()
        for name, value in itertools.chain(*states):
            if name == "session_key":
                keys.add(value)
            elif name == "job_id":
                numbers.add(value)
        if self.hub is not None and self.hub.adoption:
            keys.add(self.hub.adoption[0])
            numbers.add(self.hub.adoption[1])
        return keys, numbers

    def forget_the_past(self) -> None:
        """Drop sessions that nothing can touch any more, and jobs that nothing names."""
        used, _ = self._hubs()
        used.update(self.late)
        used.update(job.key for job in self.jobs.values() if job.alive)
        used.update(key for key, entry in self.disk.items() if entry["state"] != "closed")
        numbers = self.numbers()
        for number, job in list(self.jobs.items()):
            if not job.alive:
                job.heard = False
                if job.key not in used or number not in numbers:
                    del self.jobs[number]
        for key in [key for key in self.disk if key not in used]:
            del self.disk[key]
        self.secrets &= used
        self.said_gone &= used
        self.unwanted &= used
        self.claims = {k: n if self._lives(n) else "a dead one" for k, n in self.claims.items() if k in used}

    def _lives(self, number: str) -> bool:
        return number in self.jobs and self.jobs[number].alive
