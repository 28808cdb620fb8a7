"""The hosts under rough handling. Whatever is done to them here is undone when the `with` block ends."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from davide_lab import network
from davide_lab.place import Host, hosts
from support.cluster import ROOT, davide
from support.connections import run_on

from faults.waiting import wait_for

# Found before Slurm's own commands by the hub, by the broker and by sudo.
SHADOWS = "/usr/local/bin"
NOTES = "/run/davide-faults"
HUB, CONTROLLER, NODES = "hub01", "ctl01", ("gpu01", "gpu02")


@dataclass(frozen=True)
class Shadow:
    """A command of the hub's host that something else stands before."""

    cluster: Hosts
    command: str

    @property
    def tag(self) -> str:
        """Return the word by which its calls are found in the journal."""
        return f"davide-fault-{self.command}"

    def calls(self) -> int:
        """Return how often it was called since the host's start."""
        return int(self.cluster.output(HUB, f"journalctl --quiet --identifier={self.tag} | wc -l"))

    def wait_for_calls(self, number: int, seconds: float = 60) -> None:
        """Wait until it has been called so many more times."""
        goal = self.calls() + number
        wait_for(lambda: self.calls() >= goal, f"{self.command} to be called {number} times", seconds)

    def let_go(self) -> None:
        """Let calls that are held go on."""
        self.cluster.output(HUB, f"touch {NOTES}/{self.command}.go")


class Hosts:
    """The hosts of the local cluster: commands on them, and faults."""

    @cached_property
    def by_name(self) -> dict[str, Host]:
        """Return the hosts."""
        return {one.name: one for one in hosts(ROOT)}

    def run(self, host: str, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root on a host."""
        return run_on(host, command, timeout)

    def output(self, host: str, command: str, timeout: float = 60) -> str:
        """Return what a shell command prints on a host, where it has to succeed."""
        done = self.run(host, command, timeout)
        assert done.returncode == 0, f"{host}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, host: str, path: str, text: str, mode: str = "0755") -> None:
        """Write a file on a host."""
        folder = path.rpartition("/")[0]
        self.output(host, f"mkdir -p {folder} && printf %s {shlex.quote(text)} > {path} && chmod {mode} {path}")

    def do(self, action: str, host: str) -> None:
        """Do what `./davide host` does."""
        done = davide("host", action, host)
        assert done.returncode == 0, done.stderr

    # -- units

    @contextlib.contextmanager
    def stopped(self, host: str, *units: str) -> Iterator[None]:
        """Stop units, and start them again in the opposite order."""
        try:
            self.output(host, f"systemctl stop {' '.join(units)}", 120)
            yield
        finally:
            self.output(host, f"systemctl start {' '.join(reversed(units))}", 120)

    @contextlib.contextmanager
    def paused(self, host: str, unit: str) -> Iterator[None]:
        """Let a unit's processes stand still: they hold their sockets open, and answer nobody."""
        try:
            self.output(host, f"systemctl kill --signal=STOP {unit}")
            yield
        finally:
            self.output(host, f"systemctl kill --signal=CONT {unit}")

    def kill(self, host: str, unit: str) -> None:
        """End a unit by kill -9, and wait until systemd has started it again."""
        before = self.main_pid(host, unit)
        self.output(host, f"systemctl kill --signal=KILL {unit}")
        wait_for(lambda: self.main_pid(host, unit) not in (before, "0"), f"{unit} to be started again", 30)

    def main_pid(self, host: str, unit: str) -> str:
        """Return the number of a unit's main process; 0 if it has none."""
        return self.output(host, f"systemctl show --property=MainPID --value {unit}")

    # -- networks

    @contextlib.contextmanager
    def cut(self, *names: str) -> Iterator[None]:
        """Pull the cables of some hosts."""
        try:
            for name in names:
                self.do("cut", name)
            yield
        finally:
            for name in names:
                self.do("mend", name)

    @contextlib.contextmanager
    def apart(self, one: str, *others: str) -> Iterator[None]:
        """Let one host and some others lose sight of each other."""
        try:
            for other in others:
                network.part(self.by_name[one], self.by_name[other])
            yield
        finally:
            for other in others:
                network.reunite(self.by_name[one], self.by_name[other])

    # -- Slurm's commands on the hub's host

    @contextlib.contextmanager
    def shadowed(self, command: str, script: str) -> Iterator[Shadow]:
        """Put a script before a command of Slurm; `$real` in it is the command itself."""
        shadow = Shadow(self, command)
        head = f"#!/bin/bash\nlogger --tag {shadow.tag} called\nreal=/usr/bin/{command}\n"
        try:
            self.write(HUB, f"{SHADOWS}/{command}", f"{head}{script}\n")
            yield shadow
        finally:
            self.output(HUB, f"rm -f {SHADOWS}/{command}; mkdir -p {NOTES}; touch {NOTES}/{command}.go")

    @contextlib.contextmanager
    def held(self, command: str, *, before: bool = False) -> Iterator[Shadow]:
        """Hold the answer of a command, or the command itself, until it is let go."""
        wait = f"until [ -e {NOTES}/{command}.go ]; do sleep 0.1; done"
        script = (
            f'{wait}\nexec $real "$@"' if before else f'said=$($real "$@"); code=$?\n{wait}\necho "$said"; exit $code'
        )
        self.output(HUB, f"mkdir -p {NOTES}; rm -f {NOTES}/{command}.go")
        with self.shadowed(command, script) as shadow:
            yield shadow

    # -- files

    @contextlib.contextmanager
    def edited(self, host: str, path: str, sed: str, then: str = "true") -> Iterator[None]:
        """Change a file by a sed command, do something that makes it count, and put it all back."""
        kept = f"/root/before-fault{path.replace('/', '-')}"
        try:
            self.output(host, f"cp -p {path} {kept} && sed -i '{sed}' {path} && ! cmp -s {path} {kept} && {then}")
            yield
        finally:
            self.output(host, f"[ ! -e {kept} ] || {{ mv {kept} {path} && {then}; }}")
