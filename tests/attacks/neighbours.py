"""What rows about neighbours share: calls from a node, a session's own log, terminals, and a third person."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import websocket
from faults.waiting import wait_for

from attacks.attack import Outcome
from attacks.scene import Running, Scene
from attacks.web import SECONDS, Person, listen

DAVIDE_HUB = "/opt/davide/envs/hub/bin/davide-hub"
# The hub asks every 10 s whom to turn out.
TURNED_OUT_SECONDS = 14
_ON_NODE = (Path(__file__).parent / "on_node.py").read_text()
_LOG_SECONDS = 4


def on_node(scene: Scene, person: Person, node: str, do: str, **order: Any) -> str:
    """Return what a function of `on_node.py` says that a person runs on a node."""
    words = shlex.quote(json.dumps({"do": do, **order}))
    done = scene.as_user(person, f"python3 -I -c {shlex.quote(_ON_NODE)} {words}", node, 40)
    return (done.stdout + done.stderr).strip()


@contextmanager
def serving(scene: Scene, person: Person, running: Running, word: str) -> Iterator[int]:
    """Have a person answer one request on a port of a node, under the name of the own session; yield the port."""
    log = f"/tmp/attack-{running.key}"
    order = json.dumps({"do": "serve", "environment": running.secrets, "word": word})
    program = f"nohup timeout 30 python3 -I -c {shlex.quote(_ON_NODE)} {shlex.quote(order)} > {log} 2>&1 &"
    scene.as_user(person, program, running.node)
    try:
        said = wait_for(lambda: scene.run(running.node, f"head -1 {log}").stdout.strip(), "somebody to listen", 20)
        assert said.isdigit(), scene.output(running.node, f"cat {log}")
        yield int(said)
    finally:
        scene.run(running.node, f"rm -f {log}")


def hub_port(scene: Scene) -> dict[str, Any]:
    """Return where nodes reach the hub."""
    hub = scene.site()["hub"]
    return {"address": hub["address"], "port": hub["api_port"]}


class SessionLog:
    """What a session's server writes from now on. It lies in its user's home, and an administrator may read it."""

    def __init__(self, scene: Scene, running: Running) -> None:
        self._scene = scene
        self._path = running.secrets.replace("environment.json", "session.log")
        self._begin = int(scene.output(running.node, f"stat --format=%s {self._path}")) + 1

    def line(self, pattern: str) -> str:
        """Return the line that matches, or nothing: what is written arrives a moment later."""
        deadline = time.monotonic() + _LOG_SECONDS
        while True:
            for line in self._scene.output("hub01", f"tail --bytes=+{self._begin} {self._path}").splitlines():
                if re.search(pattern, line):
                    return line
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.3)


def secret_of(scene: Scene, running: Running) -> dict[str, str]:
    """Return what a session was given, as root reads it."""
    given: dict[str, str] = json.loads(scene.output("hub01", f"cat {running.secrets}"))
    return given


def new_terminal(person: Person) -> str:
    """Have somebody open a terminal in the own session; return its address for whoever listens."""
    made = person.ask("POST", person.at("/api/terminals"), json={})
    made.raise_for_status()
    return person.at(f"/terminals/websocket/{made.json()['name']}")


def close_terminal(person: Person, address: str) -> None:
    """Have somebody close a terminal."""
    person.ask("DELETE", address.replace("/terminals/websocket/", "/api/terminals/"))


def type_into(address: str, line: str, until: str, headers: dict[str, str]) -> str:
    """Type a line into a terminal; return what the terminal shows, or the status by which it refuses."""
    try:
        with closing(listen(address, headers)) as socket:
            shown, typed, deadline = "", False, time.monotonic() + SECONDS
            while not re.search(until, shown) and time.monotonic() < deadline:
                kind, *words = json.loads(socket.recv())
                if not typed:
                    socket.send(json.dumps(["stdin", f"{line}\r"]))
                    typed = True
                shown += "".join(words) if kind == "stdout" else ""
            return " ".join(shown.split())
    except websocket.WebSocketBadStatusException as refusal:
        return str(refusal.status_code)


@contextmanager
def another_session(scene: Scene, person: Person, server: str, profile: str = "no-gpu") -> Iterator[Running]:
    """Start a second session of somebody, which no other row uses, and end it."""
    path = f"/hub/api/users/{person.name}/servers/{server}"
    reply = person.ask("POST", path, json={"profile": profile}, timeout=60)
    assert reply.status_code in (201, 202), f"{person.name} can't start a session: {reply.text[:300]}"
    try:
        wait_until_ready(person, server)
        yield scene.look(person, server)
    finally:
        if person.server(server):
            scene.end(person, server)


def wait_until_ready(person: Person, server: str) -> None:
    """Wait until a session is up."""
    wait_for(lambda: person.server(server).get("ready"), f"{person.name}'s session {server} to be ready", 60)


def third(scene: Scene) -> Person:
    """Return somebody whom no other row needs, just logged in: rows may end all that this person has."""
    name = "student05"
    person = Person(name, scene.cluster.password(name), scene.cluster.hub_url)
    person.log_in()
    return person


def last_answer(attempt: Callable[[], Outcome], evil: bool) -> Outcome:
    """Try until it is refused, for as long as turning somebody out may take; who is not to be, tries once."""
    deadline = time.monotonic() + TURNED_OUT_SECONDS
    while (outcome := attempt()).reached and evil and time.monotonic() < deadline:
        time.sleep(0.5)
    return outcome


def new_key() -> str:
    """Return the name of a session that there is not."""
    return secrets.token_hex(8)
