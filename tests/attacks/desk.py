"""What rows need at the broker's desk: people with and without a ticket, and sessions that the hub has no part in."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from faults.hosts import HUB

from attacks.attack import Outcome
from attacks.scene import ASK_BROKER, FOLDER, Scene
from attacks.web import Person

STATE = "/var/lib/davide-broker"
TRAIL = "/var/log/davide-hub"
_TOKEN, _TOKEN_SHOWN = r'"token": "[^"]+"', '"token": "..."'
_GUEST, _STRANGER = "student05", "student06"
_SEEN: set[tuple[int, bool]] = set()


def guest(scene: Scene) -> Person:
    """Return somebody who logs in at the broker where a row wants it, and of whom the hub knows nothing."""
    return _person(scene, _GUEST)


def stranger(scene: Scene) -> Person:
    """Return somebody who never logs in."""
    stage = (id(scene), scene.is_weak)
    if stage not in _SEEN:
        # Other tests may have left a ticket.
        scene.output(HUB, f"rm -f {STATE}/tickets/{_STRANGER}")
        _SEEN.add(stage)
    return _person(scene, _STRANGER)


def _person(scene: Scene, name: str) -> Person:
    return Person(name, scene.cluster.password(name), scene.cluster.hub_url)


def told(reply: dict[str, Any]) -> str:
    """Return what the broker said in a line: the kind and sentence of a refusal, or the beginning of an answer."""
    if not reply["ok"]:
        return f"{reply['kind']} {reply['sentence']}"
    # What was heard goes into a table, and tokens do not.
    return f"ok {re.sub(_TOKEN, _TOKEN_SHOWN, reply['value'])[:200]}"


def ask_line(line: str) -> str:
    """Return the command that sends the broker a line, for whoever runs it."""
    return f"python3 -I -c {shlex.quote(ASK_BROKER)} {shlex.quote(line)}"


def log_in(person: Person) -> str:
    """Return the command by which root gives somebody a ticket."""
    line = json.dumps({"verb": "login", "user": person.name, "password": person.password})
    return f"{ask_line(line)} | grep -q '\"ok\":true'"


def last_word(text: str) -> str:
    """Return the last line of what a command complained about."""
    return text.strip().rpartition("\n")[2]


def is_there(scene: Scene, path: str) -> bool:
    """Say whether the hub's host has a file, which may be root's alone."""
    return scene.run(HUB, f"test -e {path}").returncode == 0


@dataclass(frozen=True)
class Order:
    """A session that is to be submitted without the hub.

    Attributes
    ----------
    scene
        The stage.
    user
        Whose session it is to be.
    key
        Its key.
    """

    scene: Scene
    user: str
    key: str

    @property
    def folder(self) -> str:
        """Return the folder of the session's files."""
        return f"/home/{self.user}/{FOLDER}/{self.key}"

    @property
    def entry(self) -> str:
        """Return the session's file in the ledger."""
        return f"{STATE}/ledger/{self.key}"

    def request(self, **more: Any) -> dict[str, Any]:
        """Return the request to submit it."""
        usual = {
            "verb": "submit",
            "user": self.user,
            "server": "attack",
            "profile": "no-gpu",
            "session_key": self.key,
            "environment": {"JUPYTERHUB_API_TOKEN": secrets.token_hex(16), "JUPYTERHUB_SERVER_NAME": "attack"},
        }
        return usual | more

    def submit(self, variables: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
        """Submit it as the hub's account, with more variables or fields; return the broker's reply."""
        request = self.request(**more)
        request["environment"] |= variables or {}
        return self.scene.broker_line(json.dumps(request))

    def submitted(self) -> str:
        """Submit it, which has to work; return its job's number."""
        reply = self.submit()
        assert reply["ok"], reply
        return str(reply["value"])

    def has_job(self) -> bool:
        """Say whether Slurm has a job of this session."""
        return any(self.key in job.name for job in self.scene.slurm.jobs_of(self.user))

    def gives(self, words: str) -> bool:
        """Say whether some words stand in what the session was given."""
        return self.scene.run(HUB, f"grep -qF {shlex.quote(words)} {self.folder}/environment.json").returncode == 0


@contextmanager
def order(scene: Scene, person: Person) -> Iterator[Order]:
    """Yield a session that may be submitted and waits then; afterwards there is nothing of it, nor of a ticket.

    The guest is logged in; others are as they are.
    """
    made = Order(scene, person.name, secrets.token_hex(8))
    # All at once: a row does this often, and each command on a host costs a third of a second.
    begin = _queue(scene, "DOWN") + (f" && {log_in(person)}" if person.name == _GUEST else "")
    files = f"{made.entry} {made.folder} {STATE}/tickets/{_GUEST} {STATE}/tickets/{_STRANGER}"
    try:
        scene.output(HUB, begin)
        yield made
    finally:
        scene.output(HUB, f"scancel --user={made.user}; rm -rf {files}; {_queue(scene, 'UP')}")


def _queue(scene: Scene, state: str) -> str:
    return f"scontrol update PartitionName={scene.site()['slurm']['partitions'][0]['name']} State={state}"


def asked(scene: Scene, verb: str, **fields: Any) -> Outcome:
    """Return what comes of a request where the broker's "yes" is the aim itself."""
    reply = scene.broker(verb, **fields)
    return Outcome(reply["ok"], told(reply))
