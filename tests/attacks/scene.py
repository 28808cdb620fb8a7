"""What a row plays with: the hosts, the hub, the broker, and two people."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
import yaml
from faults.hosts import CONTROLLER, HUB, Hosts
from faults.slurm import Slurm
from faults.waiting import wait_for
from support.cluster import Cluster
from support.web import request

from attacks.web import Person, heard

HUB_PYTHON = "/opt/davide/envs/hub/bin/python"
HUB_ACCOUNT = "davide-hub"
DATABASE = "/var/lib/davide-hub/jupyterhub.sqlite"
FOLDER = ".local/share/davide-hub"
_JOURNAL_SECONDS = 5
# The hub answers a start after a second, whether or not Slurm has taken the job by then.
_SLURM_SECONDS = 15

_T = TypeVar("_T")

ASK_BROKER = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(60)
connection.connect("/run/davide-broker/broker.sock")
connection.sendall(sys.argv[1].encode() + b"\\n")
print(connection.makefile().readline())
"""

_STATE = """
import json, sqlite3, sys
base = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
row = base.execute("select s.state, s.user_options from spawners s join users u on u.id = s.user_id "
                   "where u.name = ? and s.name = ?", sys.argv[2:]).fetchone()
print(json.dumps([json.loads(text or "null") for text in row] if row else [None, None]))
"""


@dataclass(frozen=True)
class Running:
    """A session, as hub, ledger and Slurm have it; node and port are empty while it waits in the queue."""

    owner: str
    server: str
    key: str
    job: str
    node: str
    port: int

    @property
    def secrets(self) -> str:
        """Return the path of the file with what the session was given: for its owner alone."""
        return f"/home/{self.owner}/{FOLDER}/{self.key}/environment.json"


class Scene:
    """The stage of all rows, made once.

    Attributes
    ----------
    cluster, hosts, slurm
        The local cluster; its hosts under rough handling; what its controller says.
    mallory, victim
        The attacker and who is attacked: two students, logged in, each with a browser and a token.
    is_weak
        Whether our defences are taken away just now.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.hosts = cluster, Hosts()
        self.slurm = Slurm(self.hosts)
        self.mallory, self.victim = (
            Person(name, cluster.password(name), cluster.hub_url) for name in ("student03", "student04")
        )
        self.people = (self.mallory, self.victim)
        self.is_weak = False
        self._running: dict[str, Running] = {}
        self._site: dict[str, Any] = {}

    # -- hosts

    def run(self, host: str, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on a host."""
        return self.hosts.run(host, command, timeout)

    def output(self, host: str, command: str, timeout: float = 60) -> str:
        """Return what a shell command of root prints on a host, where it has to succeed."""
        return self.hosts.output(host, command, timeout)

    def as_user(
        self, person: Person, command: str, host: str = HUB, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host as a person, in the person's home."""
        return self._as(person.name, "--regid davide --init-groups", f"cd; {command}", host, timeout)

    def as_hub(self, command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a shell command as the hub's account on its host: what who has taken the hub can do."""
        return self._as(HUB_ACCOUNT, f"--regid {HUB_ACCOUNT} --init-groups", command, HUB, timeout)

    def _as(
        self, account: str, groups: str, command: str, host: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        become = f"timeout {timeout:.0f} setpriv --reuid {account} {groups} --reset-env"
        return self.run(host, f"{become} bash -c {shlex.quote(command)}", timeout + 20)

    # -- the broker, the journal

    def broker(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask the broker as the hub's account; return its reply."""
        return self.broker_line(json.dumps({"verb": verb, **fields}))

    def broker_line(self, line: str) -> dict[str, Any]:
        """Send the broker a line of any kind as the hub's account; return its reply."""
        done = self.as_hub(f"python3 -I -c {shlex.quote(ASK_BROKER)} {shlex.quote(line)}", 90)
        assert done.returncode == 0, done.stderr
        reply: dict[str, Any] = json.loads(done.stdout)
        return reply

    @staticmethod
    def now() -> float:
        """Return the moment from which `journal` reads. Hosts and this machine share one clock."""
        return time.time()

    def journal(self, unit: str, since: float) -> str:
        """Return what a unit on the hub's host has written since a moment."""
        asked = f"journalctl --quiet --output=cat --unit={unit} --since=@{since:.6f}"
        return self.output(HUB, asked)

    def wait_for_line(self, unit: str, since: float, pattern: str) -> str:
        """Return the line of a unit's journal that matches, or nothing: what is written arrives a moment later."""
        deadline = time.monotonic() + _JOURNAL_SECONDS
        while True:
            for line in self.journal(unit, since).splitlines():
                if re.search(pattern, line):
                    return line
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.3)

    def soon(self, evil: bool, what: Callable[[], _T]) -> _T:
        """Return what is found; where an attempt is to reach its aim, wait a while for that."""
        if self.is_weak or not evil:
            with suppress(AssertionError):
                return wait_for(what, "the aim", _SLURM_SECONDS)
        return what()

    # -- the hub

    def web(self, person: Person, method: str, path: str, by: str = "token", **more: Any) -> requests.Response:
        """Ask at the public address as a person, `by` "token" or by "cookies"."""
        return (person.ask if by == "token" else person.browse)(method, path, **more)

    def site(self) -> dict[str, Any]:
        """Return the site's facts as the hub has them."""
        if not self._site:
            self._site = yaml.safe_load(self.output(HUB, "cat /etc/davide-hub/site.yml"))["site"]
        return self._site

    def hub_answers(self) -> bool:
        """Say whether the hub answers through the proxy."""
        try:
            return request("GET", f"{self.cluster.hub_url}/hub/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def kept_of(self, person: Person, server: str = "") -> tuple[dict[str, Any], Any]:
        """Return what the hub's database keeps of a server: its state, and its options."""
        asked = f"python3 -I -c {shlex.quote(_STATE)} {DATABASE} {person.name} {shlex.quote(server)}"
        done = self.as_hub(asked)
        assert done.returncode == 0, done.stderr
        state, options = json.loads(done.stdout)
        return state or {}, options

    # -- sessions

    def log_in(self) -> None:
        """Log everybody in."""
        for person in self.people:
            person.log_in()

    def session(self, person: Person) -> Running:
        """Return the person's session, which rows share; it is started where there is none."""
        known = self._running.get(person.name)
        if known is None or not person.server().get("ready"):
            known = self.fresh(person)
        return known

    def fresh(self, person: Person) -> Running:
        """End a person's session, and start another."""
        self.end(person)
        reply = person.ask("POST", f"/hub/api/users/{person.name}/server", json={"profile": "no-gpu"}, timeout=60)
        assert reply.status_code in (201, 202), f"{person.name} can't start a session: {heard(reply)}"
        wait_for(lambda: person.server().get("ready"), f"the session of {person.name} to be ready", 90)
        self._running[person.name] = self.look(person)
        return self._running[person.name]

    def look(self, person: Person, server: str = "") -> Running:
        """Return a session as the hub has it now."""
        state, _ = self.kept_of(person, server)
        return Running(
            person.name,
            server,
            state.get("session_key", ""),
            str(state.get("job_id", "")),
            state.get("node", ""),
            int(state.get("port", 0)),
        )

    def end(self, person: Person, server: str = "") -> None:
        """End a person's session; of a named one nothing is left, not even the name. That there is none is fine."""
        if not server:
            self._running.pop(person.name, None)

        def is_gone() -> bool:
            if (server not in person.servers()) if server else not person.server():
                return True
            # Again each time: an end that overtakes a start leaves the name.
            if server:
                person.ask("DELETE", person.server_path(server), json={"remove": True}, timeout=60)
            else:
                person.ask("DELETE", f"/hub/api/users/{person.name}/server", timeout=60)
            return False

        wait_for(is_gone, f"the end of {person.name}'s session {server!r}", 60)

    def end_all(self) -> None:
        """Leave nobody a session, a job, or the name of a server."""
        for person in self.people:
            for server in person.servers():
                self.end(person, server)
            self.slurm.cancel_all_of(person.name)
        self._running.clear()

    @contextmanager
    def closed_queue(self) -> Iterator[None]:
        """Let Slurm take jobs and start none, so that sessions wait."""
        partition = self.site()["slurm"]["partitions"][0]["name"]
        try:
            self.output(CONTROLLER, f"scontrol update PartitionName={partition} State=DOWN")
            yield
        finally:
            self.output(CONTROLLER, f"scontrol update PartitionName={partition} State=UP")
