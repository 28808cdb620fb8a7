"""The world of one server of one user: Slurm, the home, the broker's disk, the hub's database and its memory.

Only what a decision depends on is kept, in a form that can be compared (`frozen`) and brought back (`thawed`).
The broker in it is the real one: `SessionKeeper` over a `Ledger` on a disk in memory, with a real `Marker`, meeting
a Slurm of which each answer is a choice.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from choices import Choices
from davide_hub.broker import ledger as ledger_module
from davide_hub.broker import owner, sessions
from davide_hub.broker.accounts import Account
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.owner import OwnersJob, SlurmRefused, SlurmSilent
from davide_hub.broker.protocol import Request
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.facts import load_site

USER, UID = "student01", 6001
SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
MARKER = Marker("0a1b2c3d", b"the broker's secret")
_ACCOUNT = Account(USER, UID, 6000, Path("/home/student01"), "/bin/bash")
_TOKENS = {f"s{i:02}": f"token of s{i:02}" for i in range(40)}
DIGESTS = {key: sha256(token.encode()).hexdigest() for key, token in _TOKENS.items()}
_SLURMS_WORDS = {"waits": "PENDING", "runs": "RUNNING", "ended": "COMPLETED"}


def age(key: str) -> float:
    """Return when a session was submitted: the later, the higher. All of it is long ago for `Broker._clock`."""
    return float(key[1:])


class BrokerDied(BaseException):
    """The broker is killed in this instant."""


class HubDied(BaseException):
    """The hub is killed in this instant."""


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


class _File(NamedTuple):
    name: str


class _Folder:
    """The ledger's folder, in memory."""

    def __init__(self, disk: dict[str, dict[str, Any]]) -> None:
        self.disk = disk

    def __truediv__(self, name: str) -> _File:
        return _File(name)

    def glob(self, _pattern: str) -> list[_File]:
        return [_File(name) for name in self.disk]

    def iterdir(self) -> list[_File]:
        return []


class Broker:
    """The real broker over a world: what it asks of Slurm, of homes and of its disk happens there."""

    def __init__(self, patch: Any) -> None:
        self.world = World()
        self.choices = Choices()
        self._forgets = False
        for verb in ("submit", "jobs", "record", "cancel", "discard", "recall", "log_end"):
            patch.setattr(owner, verb, getattr(self, f"_{verb}"))
        patch.setattr(sessions, "find_account", lambda _name: _ACCOUNT)
        patch.setattr(sessions, "check_membership", lambda _account, _group: None)
        patch.setattr(sessions, "render_session", lambda *_, **__: "")
        patch.setattr(sessions, "session_log", lambda *_: "")
        patch.setattr(Marker, "_mac", cache(Marker._mac))
        patch.setattr(ledger_module, "asdict", lambda entry: dict(vars(entry)))
        patch.setattr(ledger_module, "made", lambda folder: folder)
        patch.setattr(ledger_module, "read", lambda path: dict(self.world.disk.get(path.name, {})))
        patch.setattr(ledger_module, "write", self._write)
        self._folder = _Folder({})
        tickets = type("Tickets", (), {"holds": lambda *_: True})()
        ledger = Ledger(self._folder, clock=lambda: 0.0)
        keeper = SessionKeeper(lambda: SITE, Path(), tickets, ledger, MARKER, clock=self._clock)
        self._verbs: dict[str, Callable[[Any], str]] = {
            "submit": keeper.submit,
            "cancel": keeper.cancel,
            "close": keeper.close,
            "look": keeper.look,
            "recall": keeper.recall,
            "sessions": lambda _: keeper.open(),
        }

    def serve(self, request: Any) -> str:
        """Return the answer to a request, or raise `Refused`; may die over it."""
        self._folder.disk = self.world.disk
        return self._verbs[request.verb](request)

    # -- the disk, the clock

    def _write(self, path: _File, content: dict[str, Any]) -> None:
        # More often than twice makes no difference to anybody.
        self.world.disk[path.name] = content | {"tried": age(path.name), "tries": min(content["tries"], 2)}
        if content["state"] in ("closing", "closed"):
            for job in self.world.jobs.values():
                if job.key == path.name:
                    self._mourn(job)
            # Decided: what of it turns up from now on is late.
            self.world.unwanted.add(path.name)
        self._may_die()

    def _mourn(self, job: SlurmJob) -> None:
        """Note that a session ends, if it is one that had better gone on."""
        if job.serves and job.heard and job.key not in self.world.unwanted:
            self.world.lost = job.key

    def _may_die(self) -> None:
        if self.choices.among(False, True):
            raise BrokerDied

    def _clock(self) -> float:
        # An order comes within the time that the broker gives it.
        return 0.0 if self.world.late else 1e6

    # -- Slurm and the home, as `broker.owner` meets them

    def _submit(self, _account: Account, order: dict[str, Any]) -> str:
        key = order["session_key"]
        self.world.secrets.add(key)
        what = self.choices.among("taken", "taken, reply lost", "late", "lost", "refused")
        number = self.world.new_number()
        if what.startswith("taken"):
            self.world.jobs[number] = SlurmJob(key)
        if what == "late":
            self.world.late.append(key)
        if what == "refused":
            self.world.unwanted.add(key)
            raise SlurmRefused("Slurm refused the session")
        if what != "taken":
            raise SlurmSilent(what)
        return number

    def _jobs(self, _account: Account) -> list[OwnersJob]:
        if self.choices.among(False, True):
            raise SlurmSilent("squeue")
        jobs = self.world.jobs
        # After a while Slurm forgets jobs that have ended, and accounting too.
        ended = len(jobs) > len(self.world.alive())
        self._forgets = self.choices.among(False, True) if ended else False
        return [
            OwnersJob(number, _SLURMS_WORDS[job.state], "gpu01", "", UID, "2026", MARKER.mark(job.key, UID))
            for number, job in jobs.items()
            if job.alive or not self._forgets
        ]

    def _record(self, _account: Account, number: str) -> OwnersJob | None:
        job = None if self._forgets else self.world.jobs.get(number)
        return OwnersJob(number, _SLURMS_WORDS[job.state], "gpu01", "", UID) if job else None

    def _cancel(self, _account: Account, numbers: list[str]) -> None:
        what = self.choices.among("done", "done, reply lost", "lost")
        if what != "lost":
            for job in (self.world.jobs[number] for number in numbers):
                self._mourn(job)
                job.state, job.serves = "ended", False
        if what != "done":
            raise SlurmSilent(what)

    def _discard(self, _account: Account, key: str) -> bool:
        if not self.choices.among(True, False):
            return False
        self.world.secrets.discard(key)
        return True

    def _recall(self, _account: Account, key: str) -> str:
        if key not in self.world.secrets:
            return ""
        holder = self.world.jobs.get(self.world.claims.get(key, ""))
        told = json.dumps({"port": 40123}) if holder is not None and holder.serves else ""
        return json.dumps({"JUPYTERHUB_API_TOKEN": _TOKENS[key]}) + "\n" + told + "\n"

    def _log_end(self, _account: Account, _key: str) -> str:
        return ""

