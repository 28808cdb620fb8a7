"""Twenty sessions: ten at a time, two of each student; of the last ten, four go on."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from support.cluster import Cluster
from support.visitor import Visitor

from leaks.known import Secret, of_the_servers, of_the_sessions

SERVERS = ("", "second")
ROUNDS = (
    ("student01", "student02", "student03", "student04", "student05"),
    ("student06", "student07", "student08", "student01", "student02"),
)
GO_ON = ROUNDS[1][:2]
WaitFor = Callable[..., Any]


@dataclass
class Crowd:
    """Students at the hub, and every secret that they and their sessions have been given.

    Parameters
    ----------
    cluster, wait_for
        Where, and how to wait.
    """

    cluster: Cluster
    wait_for: WaitFor
    secrets: list[Secret] = field(default_factory=list)
    people: dict[str, Visitor] = field(default_factory=dict)

    def come(self) -> None:
        """Let everybody log in and make a token; end what an earlier test left."""
        for name in sorted({*ROUNDS[0], *ROUNDS[1]}):
            self.people[name] = visitor = Visitor(self.cluster, name)
            assert visitor.log_in().status_code == 200
            visitor.take_token()
            self.secrets.append(Secret("API token", name, (visitor.token,)))
        self.leave()

    def work(self) -> None:
        """Run ten sessions and end them, then ten more; those of two students go on."""
        first, second = ROUNDS
        self.secrets += [replace(one, valid=False) for one in self._begin(first)]
        self.end(first)
        given = self._begin(second)
        self.end([name for name in second if name not in GO_ON])
        self.secrets += [replace(one, valid=one.of.startswith(GO_ON)) for one in given]

    def _begin(self, names: Sequence[str]) -> list[Secret]:
        before = of_the_sessions(self.cluster)
        for name in names:
            for server in SERVERS:
                self.people[name].start(server)
        working = [self.people[name] for name in names]
        self.wait_for(lambda: all(one.ready(*SERVERS) for one in working), "ten sessions to be up", 180)
        return [one for one in of_the_sessions(self.cluster) if one not in before]

    def look_around(self) -> None:
        """Open pages, a notebook's kernel and a terminal in the sessions that go on."""
        for name in GO_ON:
            visitor = self.people[name]
            assert visitor.enter().status_code == 200
            assert visitor.ask_session("POST", "kernels", {"name": "tf-cpu"}).status_code == 201
            assert visitor.ask_session("POST", "terminals").status_code == 200
            self.secrets += cookies(visitor)
        self.secrets += of_the_servers(self.cluster)

    def end(self, names: Sequence[str]) -> None:
        """End the sessions of some, and wait until no job of theirs is left."""
        for name in names:
            for server in self.people[name].servers():
                self.people[name].stop(server)
        users = ",".join(names)
        jobs = f"squeue --noheader --user {users} --format=%i"
        self.wait_for(lambda: not self.cluster.output("ctl01", jobs), f"the jobs of {users} to end", 120)

    def leave(self) -> None:
        """End everybody's sessions."""
        self.end(list(self.people))


def cookies(visitor: Visitor) -> list[Secret]:
    """Return what opens the hub and a session to whoever has it: two cookies, and the token in the second."""
    names = ("jupyterhub-hub-login", f"jupyterhub-user-{visitor.name}")
    kept = {cookie.name.removeprefix("__Host-"): str(cookie.value).strip('"') for cookie in visitor.browser.cookies}
    of_hub, of_session = (kept[name] for name in names)
    # Signed, not encrypted: 2|1:0|10:WHEN|N:NAME|N:CONTENT|SIGNATURE.
    token = b64decode(of_session.split("|")[4].partition(":")[2]).decode()
    return [
        Secret("hub cookie", visitor.name, (of_hub,)),
        Secret("session cookie", visitor.name, (of_session,)),
        Secret("browser's token", visitor.name, (token,)),
    ]
