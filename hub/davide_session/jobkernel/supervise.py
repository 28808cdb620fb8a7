"""The process of a kernel's job: it starts the kernel, starts it again in the same job, and passes its messages on.

The job ends with it: when the session says so, when the session is gone, or when Slurm wants it to.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from davide_session import notice
from davide_session.cgroup import JobCgroup
from davide_session.environment import EnvironmentFileError
from davide_session.gpus import Gpus
from davide_session.jobkernel.channels import Channels, connection_info
from davide_session.jobkernel.idleness import Idleness
from davide_session.jobkernel.keepsake import code
from davide_session.jobkernel.keys import Pair, context, take_order
from davide_session.jobkernel.link import Link, LinkBroken
from davide_session.jobkernel.messages import Writer, read
from davide_session.scratch import private_folder

_CONNECT_SECONDS = 10
_AGAIN_SECONDS = (0.2, 5.0)
_ASK_SLURM_SECONDS = 30
# A kernel that Slurm ends with its job may be gone before the supervisor has had the signal itself.
_SIGNAL_SECONDS = 0.3
_TERM_SECONDS = 5
_NUDGE_SECONDS = 0.2
_LATE_SECONDS = 2
_DOWN_SECONDS = 60
_FAREWELL_SECONDS = 3
# As often as a session looks at its own.
_LOOK_SECONDS = 30


def main(argv: Sequence[str]) -> int:
    """Run a kernel's job; return its exit status."""
    os.umask(0o077)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if len(argv) != 1:
        print("usage: python -I -m davide_session.jobkernel ORDER", file=sys.stderr)
        return 2
    try:
        order = take_order(Path(argv[0]))
    except EnvironmentFileError as reason:
        print(f"{reason}. Nobody waits for this kernel any more.", file=sys.stderr)
        return 1
    with private_folder() as private:
        return asyncio.run(Supervisor(order, private).run())


class Kernel:
    """The kernel's process.

    Parameters
    ----------
    order
        What the session wants: argv, environment, folder.
    private
        A folder of mode 0700 on this node's disk.
    """

    def __init__(self, order: Mapping[str, Any], private: Path) -> None:
        self._order, self._private = order, private
        self._process: asyncio.subprocess.Process | None = None
        self._starts = 0
        self.info: dict[str, Any] = {}

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> asyncio.subprocess.Process:
        """Start it, with sockets of its own: late words of the one before must not be taken for its."""
        self._starts += 1
        folder = self._private / f"kernel{self._starts}"
        folder.mkdir()
        self.info = connection_info(folder, self._order["key"], self._order["scheme"])
        file = folder / "connection.json"
        file.write_text(json.dumps(self.info | {"kernel_name": self._order["kernel_name"]}))
        argv = [word.replace("{connection_file}", str(file)) for word in self._order["argv"]]
        environment = os.environ | {notice.VARIABLE: str(self._private / "walltime")} | self._order["env"]
        if environment.get("TMPDIR", "/tmp") == "/tmp":  # noqa: S108 - only compared
            environment["TMPDIR"] = str(self._private / "tmp")
        folder_of_work = self._order["cwd"] if Path(self._order["cwd"]).is_dir() else str(Path.home())
        self._process = await asyncio.create_subprocess_exec(
            *argv,
            env=environment,
            cwd=folder_of_work,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # so that an interrupt reaches the kernel's children, and not the supervisor
        )
        return self._process

    def signal(self, number: int) -> None:
        """Send a signal to the kernel and its children."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def end(self) -> None:
        """End the process, and what it left behind."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_TERM_SECONDS):
                await self._process.wait()
        self.signal(signal.SIGKILL)
        await self._process.wait()


def _cores(before: float | None, now: float | None, seconds: float) -> float:
    return 0.0 if before is None or now is None else (now - before) / seconds


class Supervisor:
    """What the job does.

    Parameters
    ----------
    order
        What the session wants.
    private
        A folder of mode 0700 on this node's disk.
    """

    def __init__(self, order: Mapping[str, Any], private: Path) -> None:
        self._order = order
        self._kernel = Kernel(order, private)
        self._link = Link(self._heard)
        self._private = private
        self._writer = Writer(order["key"].encode(), order["scheme"])
        self._channels = Channels(self._from_kernel, self._link.room)
        self._identity = f"davide-{os.urandom(8).hex()}".encode()
        self._over = asyncio.Event()
        self._ready = self._told = False
        self._info: dict[str, Any] | None = None
        self._answers: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._generation = 0
        self._down_since = time.monotonic()
        self._idleness = Idleness(order.get("idle_minutes"))

    async def run(self) -> int:
        """Do it until the end; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        loop.add_signal_handler(signal.SIGUSR1, self._ends_soon)
        self._link.send("here", node=os.environ.get("SLURMD_NODENAME", ""))
        # The kernel first: it takes longer to start than the session to be found.
        self._begin(self._start())
        self._begin(self._stay_connected())
        self._begin(self._watch_session())
        self._begin(self._watch_work())
        self._begin(self._look())
        await self._over.wait()
        await self._kernel.end()
        await self._link.delivered(_FAREWELL_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._channels.end()
        return 0

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whatever it is: a job that does half of its work holds a GPU for nothing.
            print(f"The supervisor gives up: {type(error).__name__}: {error}", file=sys.stderr)
            self._end(f"its supervisor failed ({type(error).__name__}: {error})")

    # -- the kernel

    async def _start(self) -> None:
        self._generation += 1
        generation = self._generation
        self._ready, self._told, self._info = False, False, None
        if self._kernel.runs:
            await self._kernel.end()
        self._channels.close()
        try:
            process = await self._kernel.start()
        except OSError as error:
            self._end(f"it can't be started here: {error.strerror}: {error.filename}")
            return
        self._channels.connect(self._kernel.info, self._identity)
        self._begin(self._wait(process, generation))
        self._begin(self._nudge(generation))

    async def _wait(self, process: asyncio.subprocess.Process, generation: int) -> None:
        code = await process.wait()
        self._down_since = time.monotonic()
        if code != 0:
            await asyncio.sleep(_SIGNAL_SECONDS)
        if generation == self._generation and not self._over.is_set():
            await self._channels.drained()
            self._link.send("exited", code=code)

    async def _nudge(self, generation: int) -> None:
        """Ask the kernel until it answers on both channels: what it said on iopub before would be lost."""
        while not self._ready and self._kernel.runs and generation == self._generation:
            frames = self._writer.write("kernel_info_request", {})
            if (message := read(frames)) is not None:
                self._answers.add(message.id)
            self._channels.send("shell", frames)
            await asyncio.sleep(_NUDGE_SECONDS)

    def _from_kernel(self, channel: str, frames: list[bytes]) -> None:
        if self._answers and channel in ("shell", "iopub") and self._is_answer(channel, frames):
            return
        if channel == "iopub":
            self._idleness.said(frames)
        self._link.send("zmq", frames, channel=channel)

    def _is_answer(self, channel: str, frames: list[bytes]) -> bool:
        """Return whether a message is for the supervisor alone, and note that the kernel is ready."""
        message = read(frames)
        if message is None or message.parent_id not in self._answers:
            return False
        if message.kind == "execute_reply":
            self._idleness.kept(message.parent_id)
        elif channel == "iopub":
            self._told = True
        else:
            self._info = dict(message.content)
        if not self._ready and self._told and self._info is not None:
            self._ready = True
            self._idleness.begin()
            self._link.send("ready", info=self._info)
            # The kernel may have been asked several times before it answered once.
            asyncio.get_running_loop().call_later(_LATE_SECONDS, self._answers.difference_update, set(self._answers))
        return True

    # -- the session

    def _heard(self, head: Mapping[str, Any], frames: list[bytes]) -> None:
        match head["what"]:
            case "zmq":
                self._idleness.asked(frames)
                self._channels.send(head["channel"], frames)
            case "keep":
                self._idleness.work()
            case "signal":
                self._kernel.signal(head["number"])
            case "start":
                self._begin(self._start())
            case "end":
                self._over.set()

    async def _stay_connected(self) -> None:
        own = Pair(self._order["certificate"], self._order["tls_key"])
        made = context(own, self._order["session_certificate"], self._private, server=False)
        pause, longest = _AGAIN_SECONDS
        while True:
            for host in self._order["hosts"]:
                try:
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        reader, writer = await asyncio.open_connection(host, self._order["port"], ssl=made, limit=2**20)
                except (OSError, TimeoutError):
                    continue
                pause = _AGAIN_SECONDS[0]
                try:
                    await self._link.carry(reader, writer)
                except (LinkBroken, OSError, EOFError) as reason:
                    print(f"The connection to the session broke: {reason}", file=sys.stderr, flush=True)
                finally:
                    writer.transport.abort()
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _watch_session(self) -> None:
        """End the job when its session is gone: on Slurm's word, or after a silence so long that nobody comes back."""
        lost = time.monotonic()
        asked = lost
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            if self._kernel.runs:
                self._down_since = now
            elif now - self._down_since > _DOWN_SECONDS:
                # Jupyter gives a kernel up that dies again and again, and does not say so.
                self._end("its kernel ended, and was not started again")
            if self._link.connected:
                lost = asked = now
            elif now - lost > self._order["lost_seconds"]:
                self._end_alone("its session was not heard of for too long")
            elif now - asked > min(_ASK_SLURM_SECONDS, self._order["lost_seconds"] / 3):
                asked = now
                # Not at the top: it is needed once in a long time.
                from davide_session.jobkernel.asking import ended

                if await ended(self._order["session_job"]) is not None:
                    self._end_alone("its session has ended")

    # -- work

    async def _watch_work(self) -> None:
        """Warn, and end the job, when nothing has run in it for as long as its profile allows."""
        warned = False
        while True:
            await asyncio.sleep(1)
            left = self._idleness.left_seconds
            if left is None or not self._ready:
                continue
            if left <= 0:
                self._end(f"nothing ran in it for {self._idleness.minutes:g} minutes")
                return
            if self._idleness.is_near != warned:
                warned = not warned
                self._link.send("idle", left_seconds=left if warned else None)
                if warned:
                    self._keep_variables()

    async def _look(self) -> None:
        """Look whether something is at work that the kernel does not tell: a GPU, or a program in the background."""
        gpus, cgroup = Gpus(os.environ), JobCgroup(os.environ.get("SLURM_JOB_ID", ""))
        at, used = time.monotonic(), await asyncio.to_thread(cgroup.use)
        while True:
            news = await asyncio.to_thread(gpus.read)
            self._link.send("gpus", gpus=[asdict(one) for one in news.gpus])
            await asyncio.sleep(_LOOK_SECONDS)
            before, (at, used) = (at, used), (time.monotonic(), await asyncio.to_thread(cgroup.use))
            self._idleness.looked(
                gpu=news.at_work, cores=_cores(before[1].cpu_seconds, used.cpu_seconds, at - before[0])
            )

    def _keep_variables(self) -> None:
        """Have the kernel write its variables down, where the site wants that; a cell that runs goes first."""
        if self._order.get("keep_bytes"):
            asked = {"silent": True, "store_history": False, "allow_stdin": False, "stop_on_error": False}
            written = code(Path(self._order["keep_folder"]), self._order["keep_bytes"])
            frames = self._writer.write("execute_request", {"code": written, "user_expressions": {}, **asked})
            if (message := read(frames)) is not None:
                self._answers.add(message.id)
                self._idleness.keeps(message.id)
            self._channels.send("shell", frames)

    def _end_alone(self, why: str) -> None:
        self._end(why)
        # Nobody else is there to do it.
        shutil.rmtree(self._order["folder"], ignore_errors=True)

    # -- Slurm

    def _terminated(self) -> None:
        self._end("Slurm ended the job", signalled=True)

    def _ends_soon(self) -> None:
        notice.tell(self._private / "walltime")
        self._link.send("soon")
        self._keep_variables()

    def _end(self, why: str, **more: Any) -> None:
        if not self._over.is_set():
            print(f"The kernel's job ends: {why}", file=sys.stderr, flush=True)
            self._link.send("ending", why=why, confirm=True, **more)
            self._over.set()
