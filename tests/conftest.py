"""What all tests share: the checkout, and the local cluster where a test needs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


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


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the local cluster, which `./davide test` has brought up."""
    shown = json.loads(davide("status", "--json").stdout)
    assert shown["state"] == "up", "the local cluster is not up; run ./davide up, or ./davide test, which does"
    by_name = {key: {row["name"]: row for row in shown[key]} for key in ("accounts", "hosts")}
    return Cluster(shown["hub_url"], by_name["accounts"], by_name["hosts"])


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Return a function that waits until something is true and returns it."""
    import time

    def wait(what: Callable[[], Any], because: str, seconds: float = 60, every: float = 0.3) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {because}"
            time.sleep(every)
        return found

    return wait
