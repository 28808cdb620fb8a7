"""The real broker over a world: `SessionKeeper`, `Ledger` and `Marker`, with a Slurm whose every answer is a choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from choices import Choices
from davide_hub.broker import ledger as ledger_module
from davide_hub.broker import owner, sessions
from davide_hub.broker.accounts import Account
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.owner import OwnersJob, SecretsGone, SlurmRefused, SlurmSilent
from davide_hub.broker.sessions import SessionKeeper
from world import SITE, TOKENS, UID, USER, SlurmJob, World, age

_MARKER = Marker("0a1b2c3d", b"the broker's secret")
_ACCOUNT = Account(USER, UID, 6000, Path("/home/student01"), "/bin/bash")
_SLURMS_WORDS = {"waits": "PENDING", "runs": "RUNNING", "ended": "COMPLETED"}


class BrokerDied(BaseException):
    """The broker is killed in this instant."""


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
        keeper = SessionKeeper(lambda: SITE, Path(), tickets, ledger, _MARKER, clock=self._clock)
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
            OwnersJob(number, _SLURMS_WORDS[job.state], "gpu01", "", UID, "2026", _MARKER.mark(job.key, UID))
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
            raise SecretsGone(key)
        serves = any(job.serves for job in self.world.jobs.values() if job.key == key)
        told = json.dumps({"port": 40123}) if serves else ""
        return json.dumps({"JUPYTERHUB_API_TOKEN": TOKENS[key]}) + "\n" + told + "\n"

    def _log_end(self, _account: Account, _key: str) -> str:
        return ""
