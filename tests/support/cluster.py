"""The local cluster as a test sees it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def davide(*words: str, timeout: float = 600, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `./davide` with some words and return what came of it."""
    return subprocess.run(
        [ROOT / "davide", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        **more,
    )


@dataclass(frozen=True)
class Cluster:
    """The local cluster as `./davide status --json` describes it."""

    hub_url: str
    accounts: dict[str, dict[str, str]]
    hosts: dict[str, dict[str, str]]

    def run(self, host: str, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on a host."""
        return davide("ssh", host, command, timeout=timeout)

    def output(self, host: str, command: str, timeout: float = 60) -> str:
        """Return what a shell command prints on a host, where it has to succeed."""
        done = self.run(host, command, timeout)
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

    def password(self, user: str) -> str:
        """Return a demo account's password."""
        return self.accounts[user]["password"]
