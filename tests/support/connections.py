"""Commands on the hosts, through one connection to each that is kept open.

To come in anew costs a third of a second each time, with new keys and a log-in of root's, and the suite gives some
thousand commands. Who does something to a host by which connections are lost says so by `close`: else the next command
would wait at one whose other side has long forgotten it.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from davide_lab.host import ssh
from davide_lab.place import RUNTIME, Host, hosts

ROOT = Path(__file__).resolve().parent.parent.parent
# So long after the last command a connection ends by itself: nothing is left of a run that was killed.
_IDLE_SECONDS = 60


class Connection:
    """The way to one host."""

    def __init__(self, host: Host) -> None:
        self._host, self._lock = host, threading.Lock()

    @cached_property
    def _socket(self) -> Path:
        return RUNTIME / f"{self._host.name}-{os.getpid()}.ssh"

    def command(self, *options: str) -> list[str]:
        """Return ssh's command for the host, with more options."""
        *usual, address = ssh(self._host)
        return [*usual, "-o", "ConnectTimeout=5", "-o", f"ControlPath={self._socket}", *options, address]

    def open(self) -> None:
        """Open the connection unless it is; where that fails, commands come in each for itself, or fail too."""
        with self._lock:
            if not self._socket.exists():
                # Beforehand, and not by the first command: what stays would hold that one's output open.
                master = ("-o", "ControlMaster=yes", "-o", f"ControlPersist={_IDLE_SECONDS}", "-f", "-N")
                nothing: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
                subprocess.run(self.command(*master), **nothing, check=False)

    def close(self) -> None:
        """End the connection, if there is one."""
        with self._lock:
            if self._socket.exists():
                subprocess.run(self.command("-O", "exit"), capture_output=True, check=False)
                self._socket.unlink(missing_ok=True)


_CONNECTIONS = {host.name: Connection(host) for host in hosts(ROOT)}


def run_on(host: str, command: str, timeout: float = 60, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a shell command as root on a host, perhaps with something on its standard input."""
    source: dict[str, Any] = {"input": given} if given else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [*through(host), command], capture_output=True, text=True, timeout=timeout, check=False, **source
    )


def through(host: str) -> list[str]:
    """Return the ssh command for a host, to be followed by a command for it."""
    connection = _CONNECTIONS[host]
    connection.open()
    return connection.command()


def close(host: str) -> None:
    """End the connection to a host, before something is done to the host; the next command opens another."""
    if host in _CONNECTIONS:
        _CONNECTIONS[host].close()


@atexit.register
def _close_all() -> None:
    for connection in _CONNECTIONS.values():
        connection.close()
