"""The local cluster as a test sees it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import Any

from support.connections import ROOT, close, run_on
from support.web import user_url


def davide(*words: str, timeout: float = 600, given: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `./davide` with some words, and perhaps something on its standard input; return what came of it."""
    if words[:1] == ("host",):
        close(words[2])
    source: dict[str, Any] = {"input": given} if given else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [ROOT / "davide", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **source,
        **more,
    )


@dataclass(frozen=True)
class Cluster:
    """The local cluster as `./davide status --json` describes it."""

    hub_url: str
    accounts: dict[str, dict[str, str]] = field(repr=False)  # with their passwords
    hosts: dict[str, dict[str, str]]

    def run(self, host: str, command: str, timeout: float = 60, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on a host, perhaps with something on its standard input."""
        return run_on(host, command, timeout, given)

    def output(self, host: str, command: str, timeout: float = 60, given: str = "") -> str:
        """Return what a shell command prints on a host, where it has to succeed."""
        done = self.run(host, command, timeout, given)
        assert done.returncode == 0, f"{host}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def as_user(
        self, user: str, command: str, host: str = "hub01", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host as one of the cluster's users, in the user's home."""
        quoted = command.replace("'", "'\\''")
        return self.run(
            host,
            f"timeout {timeout:.0f} setpriv --reuid {user} --regid davide --init-groups --reset-env "
            f"bash -c 'cd; {quoted}'",
            timeout + 20,
        )

    def user_url(self, user: str) -> str:
        """Return where a user's session is, for browsers."""
        return user_url(self.hub_url, user)

    def password(self, user: str) -> str:
        """Return a demo account's password."""
        return self.accounts[user]["password"]
