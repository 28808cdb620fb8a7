"""The local cluster's hosts as the bench uses them: commands over ssh, and files."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_lab import host as lab
from davide_lab import place
from davide_lab.say import Problem


@dataclass(frozen=True)
class Lab:
    """The hosts by what they do, and the site's facts."""

    hub: place.Host
    controller: place.Host
    nodes: tuple[place.Host, ...]
    site: dict[str, Any]

    @classmethod
    def of(cls, root: Path) -> Lab:
        """Return the local cluster of a checkout.

        Raises
        ------
        Problem
            If one of its hosts is off.
        """
        hosts = place.hosts(root)
        off = [one.name for one in hosts if not lab.is_running(one)]
        if off:
            raise Problem(f"{', '.join(off)} is off; bring the cluster up with ./davide up")
        of_role = {role: tuple(one for one in hosts if one.role == role) for role in ("hub", "controller", "gpu")}
        return cls(of_role["hub"][0], of_role["controller"][0], of_role["gpu"], place.site_facts(root))

    @property
    def all(self) -> tuple[place.Host, ...]:
        """Return every host."""
        return (self.hub, self.controller, *self.nodes)

    @property
    def partition(self) -> dict[str, Any]:
        """Return the facts of the partition that the bench uses: the first."""
        found: dict[str, Any] = self.site["slurm"]["partitions"][0]
        return found


def on(host: place.Host, script: str, *, stdin: str = "", seconds: float = 120) -> str:
    """Run a shell script as root on a host and return what it prints.

    Raises
    ------
    Problem
        If it fails or takes too long; holds what it said.
    """
    command = [*lab.ssh(host), f"bash --norc -euo pipefail -c {shlex.quote(script)}"]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Problem(f"{host.name} did not finish within {seconds:.0f} s: {_short(script)}") from None
    if done.returncode:
        raise Problem(f"{host.name} said {(done.stdout + done.stderr).strip()[-600:]!r} to: {_short(script)}")
    return done.stdout


def put(host: place.Host, path: Path | str, content: str, mode: int = 0o644) -> None:
    """Write a file on a host, with the folders above it."""
    name = shlex.quote(str(path))
    on(host, f"mkdir -p $(dirname {name}); umask 077; cat > {name}; chmod {mode:o} {name}", stdin=content)


def wait_until(done: Callable[[], bool], what: str, seconds: float, every: float = 0.3) -> None:
    """Wait until something is so.

    Raises
    ------
    Problem
        If it isn't so in time.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise Problem(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(every)


def _short(script: str) -> str:
    return " ".join(script.split())[:160]
