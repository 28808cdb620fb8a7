"""Warm kernels: forked from a parent that has imported what takes seconds (kernels/warm.py, in the kernel's folder).

Nothing here is an error. Where there is no parent, or it does not answer, or a kernel needs something that the parent
was not started with, the kernel starts as ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from davide_session.cgroup import JobCgroup

# What differs between kernels, and counts after the imports only. Any other difference asks for a parent of its own.
_PER_KERNEL = ("CUDA_VISIBLE_DEVICES", "JPY_PARENT_PID", "JPY_SESSION_NAME")
# A session has one or two kinds of kernels; each parent takes as much memory as a kernel.
_MOST = 2
# A parent with TensorFlow takes 0.4 GiB, and notebooks are what the memory is for.
_ROOM_BYTES = 3 << 29
# A fork takes milliseconds; a node that is out of memory or of processors may need longer.
_ANSWER_SECONDS = 5.0
# One that ends again and again is not tried for ever.
_ATTEMPTS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """A kernel, as jupyter_client would start it.

    Attributes
    ----------
    name, module
        What people call it; what its parent imports, by its kernelspec.
    command
        The launch script, and what it is given.
    environment, folder
        Where it starts.
    notebook
        Its notebook; not necessarily there.
    """

    name: str
    module: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    notebook: str

    @property
    def key(self) -> Any:
        """What a kernel has in common with others of the same parent."""
        shared = {name: value for name, value in self.environment.items() if name not in _PER_KERNEL}
        return self.command[0], self.module, frozenset(shared.items())


class WarmProcess:
    """A kernel that is no child of ours, to be used as a `subprocess.Popen`.

    Parameters
    ----------
    pid
        Its number.
    life
        The socket that it ends with, should this session end.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, life: socket.socket) -> None:
        self.pid, self._life, self._began = pid, life, _began(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return None while it runs; then 0, for its true status goes to its parent."""
        if self.returncode is None and (self._began is None or _began(self.pid) != self._began):
            self.returncode = 0
            self._life.close()
        return self.returncode

    def wait(self) -> int | None:
        """Return what `poll` does: Jupyter asks for this when it has ended."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def _began(pid: int) -> str | None:
    """Return when a process started, which tells it from a later one of the same number; None if it has ended."""
    try:
        # proc(5), after the name, which may hold spaces and brackets: the state first, the start as the 20th.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else words[19]


class Parent:
    """A parent of warm kernels, from its start."""

    def __init__(self, order: Order) -> None:
        self._environment = dict(order.environment)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._is_ready = self._has_ended = False
        launch = Path(order.command[0])
        command = [str(launch), str(launch.with_name("warm.py")), str(theirs.fileno()), order.module]
        # ipykernel reads this once, when it is imported: nothing is to be watched, a socket does that.
        environment = self._environment | {"JPY_PARENT_PID": "1"}
        with theirs:
            # Apart from the server's signals; the folder is nobody's, and stays free to be removed.
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def look(self) -> None:
        """Hear what it has said meanwhile."""
        self._process.poll()  # what was started ends when its imports are done; a child of it goes on
        try:
            said = self._control.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._is_ready, self._has_ended = bool(said), not said

    @property
    def is_ready(self) -> bool:
        """Whether it takes orders."""
        return self._is_ready and not self._has_ended

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, or has given up."""
        return self._has_ended

    async def fork(self, order: Order) -> WarmProcess | None:
        """Return a kernel's process; None if there will be none."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                socket.send_fds(self._control, [self._words(order)], [theirs.fileno()])
            except OSError:
                ours.close()
                return None
        try:
            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, 16), _ANSWER_SECONDS)
        except (TimeoutError, OSError):
            said = b""
        if not said:
            # Should it come to life yet, this ends it.
            ours.close()
            return None
        return WarmProcess(int(said), ours)

    def _words(self, order: Order) -> bytes:
        names = [name for name in _PER_KERNEL if order.environment.get(name) != self._environment.get(name)]
        variables = {name: order.environment.get(name) for name in names}
        variables["JPY_PARENT_PID"] = str(os.getpid())
        connection = order.command[order.command.index("-f") + 1]
        return json.dumps(
            {
                "name": order.name,
                "arguments": order.command[1:],
                "variables": variables,
                "folder": order.folder,
                "notebook": order.notebook,
                "cold": f"{connection}.cold",
            }
        ).encode()

    def close(self) -> None:
        """Let it end. Its children go on."""
        self._control.close()


class Parents:
    """The parents of one session.

    Parameters
    ----------
    room
        Tells how many bytes of memory the session may still take; None if nobody knows.
    """

    def __init__(self, room: Callable[[], int | None]) -> None:
        self._room = room
        self._parents: dict[Any, Parent] = {}
        self._attempts: dict[Any, int] = {}
        self._awaited = False

    def expect(self, spec: Any) -> None:
        """Prepare for kernels of a kind, for a page has opened: somebody will want one soon.

        Without a page nothing is prepared: programs that start a kernel wait for it anyway.
        """
        if not self._awaited:
            self._awaited = True
            command = [word.replace("{resource_dir}", spec.resource_dir) for word in spec.argv]
            if order := order_for(spec, command, {**os.environ, **spec.env}, "/", ""):
                self._prepare(order)

    @property
    def are_ready(self) -> bool:
        """Whether there is one, and all take orders."""
        for parent in self._parents.values():
            parent.look()
        return bool(self._parents) and all(parent.is_ready for parent in self._parents.values())

    async def fork(self, order: Order) -> WarmProcess | None:
        """Return a kernel's process, or None: then it starts as ever."""
        parent = self._parents.get(order.key)
        if parent is not None:
            parent.look()
            if parent.is_ready and (process := await parent.fork(order)):
                return process
            if parent.has_ended:
                parent.close()
                self._parents.pop(order.key, None)
                parent = None
        if parent is None and self._awaited:
            self._prepare(order)
        return None

    def _prepare(self, order: Order) -> None:
        room = self._room()
        attempts = self._attempts.get(order.key, 0)
        if len(self._parents) >= _MOST or attempts >= _ATTEMPTS or (room is not None and room < _ROOM_BYTES):
            return
        self._attempts[order.key] = attempts + 1
        try:
            self._parents[order.key] = Parent(order)
        except OSError as error:
            _log.warning("%s: kernels of this kind start without warmth (%s)", order.command[0], error)


def order_for(
    spec: Any, command: Sequence[str], environment: Mapping[str, str], folder: str, notebook: str
) -> Order | None:
    """Return the order for a kernel; None if its kernelspec names nothing to import in advance.

    Parameters
    ----------
    spec
        Its kernelspec.
    command
        What would be run.
    environment, folder, notebook
        As in `Order`.
    """
    metadata = spec.metadata.get("davide")
    module = metadata.get("warm") if isinstance(metadata, dict) else None
    if not module or not Path(command[0]).with_name("warm.py").is_file() or "-f" not in command:
        return None
    return Order(spec.display_name, module, tuple(command), environment, folder, notebook)


@cache
def session_parents() -> Parents:
    """Return the parents of this session: one table for the server and all its kernels."""
    return Parents(room_of_job(JobCgroup(os.environ.get("SLURM_JOB_ID", ""))))


def room_of_job(cgroup: JobCgroup, meminfo: Path = Path("/proc/meminfo")) -> Callable[[], int | None]:
    """Return what tells how much memory the session may still take, by its job's limit and by what the node has."""

    def room() -> int | None:
        use = cgroup.use()
        known = []
        if use.memory_limit_bytes is not None:
            known.append(use.memory_limit_bytes - (use.memory_bytes or 0))
        try:
            lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
            known.append(int(lines["MemAvailable"].split()[0]) * 1024)
        except (OSError, KeyError, ValueError):
            pass
        return min(known, default=None)

    return room
