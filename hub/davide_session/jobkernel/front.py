"""A kernel's job as its session sees it: from the order to the end of the job, whatever comes between.

It holds the kernel's channels in the session, and the connection to the supervisor in the job. Where there is no
kernel, a stand-in speaks in its place. A job ends here on proof only: the supervisor's word, or Slurm's.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any

from davide_hub.reasons import clock, explain
from davide_hub.states import GONE, Job, Phase
from davide_hub.texts import text

from davide_session.jobkernel.channels import Channels
from davide_session.jobkernel.ending import in_words
from davide_session.jobkernel.keepsake import told as kept_variables
from davide_session.jobkernel.keys import context, make_pair, write_order
from davide_session.jobkernel.link import Link, LinkBroken, listen
from davide_session.jobkernel.messages import Writer, read
from davide_session.jobkernel.present import session_kernels
from davide_session.jobkernel.slurm_job import JobRefused, batch_script, cancel, submit
from davide_session.jobkernel.standin import Out, StandIn
from davide_session.jobkernel.wanted import Wanted

if TYPE_CHECKING:
    from davide_hub.slurm import SlurmView

_TICK_SECONDS = 0.5
# What starts at once needs no words.
_WORDLESS_SECONDS = 2.0
# Beside link.SILENCE_SECONDS: a job that runs and does not find its session again at once is worth a word.
_SILENT_SECONDS = 5.0
_SLOW_SECONDS = 60.0
# Slurm has to say twice that it has no record, so far apart.
_GONE_SECONDS = 20.0
# How Slurm's own word on an end is waited for: its kernel is gone by then, so few and quick questions.
_ASK_AGAIN_SECONDS = (0.5, 1, 2, 4, 8, 15)
# An interrupt that is a message comes before each restart and each shutdown too: those say so at once.
_INTERRUPT_SECONDS = 0.5
# Kinds of reasons, see davide_hub.reasons.
_BY_ITSELF = frozenset({"queue", "soon", "later"})


class Stage(Enum):
    """How far a kernel is."""

    WAITING = "there is a job, and no kernel yet"
    READY = "the kernel answers"
    EXITED = "its process has ended, and its job goes on"
    ENDED = "there is no job"


class Front:
    """One kernel. All of it runs in one event loop, which goes on while nobody waits for an answer.

    Parameters
    ----------
    wanted
        What it is to be.
    view
        Returns what Slurm says of the session's jobs.
    log
        The server's.
    """

    def __init__(self, wanted: Wanted, view: Callable[[], SlurmView], log: Any) -> None:
        self.wanted, self._view, self._log = wanted, view, log
        self.stage = Stage.ENDED
        self.exit_code: int | None = None
        self.job = ""
        # What its job's GPUs do; and when the job ends for lack of use, by the monotonic clock, once that is near.
        self.gpus: list[dict[str, Any]] = []
        self.ends_idle: float | None = None
        self._standin = StandIn(Writer(wanted.key.encode(), wanted.scheme), wanted.language)
        self._channels = Channels(self._from_page, self._room)
        self._link = Link(self._heard)
        self._server: asyncio.Server | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._interrupting: asyncio.TimerHandle | None = None
        self._learning = self._stopping = self._asked = False
        self._here, self._node = False, ""
        self._submitted = 0.0
        self._reset()

    def _reset(self) -> None:
        self._said = ""
        self._since = self._silent_since = time.monotonic()
        self._missing_since: float | None = None

    # -- what the provisioner wants

    async def launch(self, info: Mapping[str, Any]) -> None:
        """Start the kernel: in its job if it has one, else in a new one.

        Parameters
        ----------
        info
            Where pages will look for its channels.

        Raises
        ------
        JobRefused
            If Slurm takes no job.
        """
        self._keep_the_job()
        self._stopping = False
        self.exit_code = None
        self._standin.expect()
        self._channels.serve(info)
        session_kernels().add(self)
        if self.stage is Stage.ENDED:
            await self._submit()
        elif self.stage is not Stage.WAITING:
            self._standin.forget()
            self.stage = Stage.WAITING
            self._link.send("start", confirm=True)
        self._reset()

    def stopping(self) -> None:
        """Note that the kernel is about to be stopped, perhaps to be started again."""
        self._keep_the_job()
        self._stopping = True

    def poll(self) -> int | None:
        """Return the kernel's exit status; None while it runs, or is to come."""
        if self.stage is Stage.EXITED:
            return self.exit_code
        # Who stops a kernel that is not there need not wait for its end. Otherwise it counts as there: nobody
        # starts it again but its user.
        return 0 if self._stopping and self.stage is not Stage.READY else None

    def signal(self, number: int, *, stops: bool = False) -> None:
        """Send the kernel a signal. If its job still waits, it is not wanted any more then.

        Parameters
        ----------
        number
            The signal's.
        stops
            Whether Jupyter is about to stop the kernel, or to start it again: then its job keeps its place.
        """
        if self.stage is Stage.READY:
            self._link.send("signal", number=number, confirm=True)
        elif self.stage is Stage.WAITING and not (self._here or self._stopping or stops):
            self._keep_the_job()
            loop = asyncio.get_running_loop()
            self._interrupting = loop.call_later(_INTERRUPT_SECONDS, lambda: self._begin(self._interrupted()))

    async def kill(self, number: int, seconds: float = 3.0) -> None:
        """End the kernel's process by a signal. Of a node that does not answer, nobody waits for the word."""
        self.stopping()
        if self.stage is not Stage.READY:
            return
        self._link.send("signal", number=number, confirm=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.stage is Stage.READY:
                    await asyncio.sleep(0.02)
        if self.stage is Stage.READY and not self._link.connected:
            self._exited(-number)

    def keep(self) -> None:
        """Keep the kernel although nothing runs in it: somebody wants it."""
        self.ends_idle = None
        self._link.send("keep", confirm=True)

    async def finish(self) -> None:
        """End the job, and remove what was made for it."""
        session_kernels().remove(self)
        self._keep_the_job()
        await self._end_job()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._channels.end()

    # -- the job

    async def _submit(self) -> None:
        wanted = self.wanted
        shutil.rmtree(wanted.folder, ignore_errors=True)
        own, other = make_pair("session"), make_pair("kernel")
        self._link = Link(self._heard)
        self._server = await listen(self._called, context(own, other.certificate, wanted.private, server=True))
        order = wanted.order(self._server.sockets[0].getsockname()[1], own, other)
        try:
            script = batch_script(wanted.offer, wanted.charge, wanted.kernel_id, wanted.folder, wanted.python)
            write_order(wanted.folder, order)
            # For whoever wants to see what was submitted.
            (wanted.folder / "job.sbatch").write_text(script)
            # From now on: the kernel may be there before sbatch has said the job's number.
            self.stage, self.job = Stage.WAITING, ""
            self._here, self._node = False, ""
            self._submitted = time.time()
            self.gpus, self.ends_idle = [], None
            self.job = await submit(script)
        except (JobRefused, OSError) as error:
            self.stage = Stage.ENDED
            await self._close()
            shutil.rmtree(wanted.folder, ignore_errors=True)
            if isinstance(error, JobRefused):
                raise
            problem = f"The kernel's files can't be written: {error.strerror} ({error.filename})"
            raise JobRefused(f"{problem}. Make room in your home, and start the kernel again.") from None
        self._log.info("Kernel %s is job %s", wanted.kernel_id, self.job)
        self._watching = self._begin(self._watch())

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Go on with the supervisor, which has shown its certificate; it gave up the connection before this one."""
        before, self._carrying = self._carrying, asyncio.current_task()
        if before is not None and not before.done():
            before.cancel()
            await asyncio.wait([before])
        try:
            await self._link.carry(reader, writer)
        except (LinkBroken, OSError, EOFError) as reason:
            self._log.info("Connection to job %s broke: %s", self.job, reason)
        except asyncio.CancelledError:
            # Another connection took over, or there is no more need of it: not an error of the server's.
            pass
        finally:
            writer.transport.abort()

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        if self._carrying and not self._carrying.done():
            self._carrying.cancel()
            await asyncio.wait([self._carrying])
        self._carrying = self._server = None

    async def _end_job(self) -> None:
        """End the job. Where nobody can be told, it ends by itself: its session is gone."""
        if self.stage is not Stage.ENDED and self.job:
            told = False
            if self._link.connected:
                self._link.send("end", confirm=True)
                told = await self._link.delivered(2)
            if not told and not await cancel(self.job):
                self._log.warning("Job %s could not be cancelled; it ends when it misses its session", self.job)
            if self._asked:
                self._view().forget(self.job)
        self.stage = Stage.ENDED
        if self._watching:
            self._watching.cancel()
        await self._close()
        shutil.rmtree(self.wanted.folder, ignore_errors=True)

    # -- what the supervisor says

    def _heard(self, head: Mapping[str, Any], frames: list[bytes]) -> None:
        match head["what"]:
            case "zmq":
                self._standin.note_answer(head["channel"], frames)
                self._channels.send(head["channel"], frames)
            case "here":
                self._here, self._node = True, str(head["node"])
            case "ready":
                self._ready(head["info"])
            case "exited":
                self._exited(int(head["code"]))
            case "gpus":
                self.gpus = head["gpus"]
            case "idle":
                left = head["left_seconds"]
                self.ends_idle = None if left is None else time.monotonic() + left
            case "soon":
                self._say(self._standin.tell(text("kernel_jobs.soon")))
            case "ending":
                self._begin(self._learn_end(str(head["why"])))

    def _ready(self, info: Mapping[str, Any]) -> None:
        if self.stage is not Stage.WAITING:
            return
        self._standin.info = info
        self.stage = Stage.READY
        to_pages, to_kernel = self._standin.release()
        self._say(to_pages)
        for channel, frames in to_kernel:
            self._link.send("zmq", frames, channel=channel)

    def _exited(self, code: int) -> None:
        # What was asked of it before it was there, its successor will answer.
        if self.stage in (Stage.READY, Stage.WAITING):
            self.stage, self.exit_code = Stage.EXITED, code

    # -- what pages say

    async def _room(self) -> None:
        await self._link.room()

    def _from_page(self, channel: str, frames: list[bytes]) -> None:
        if self.stage is Stage.READY:
            self._standin.note_request(channel, frames)
            self._link.send("zmq", frames, channel=channel)
        elif self.stage is Stage.ENDED:
            self._say(self._standin.answer(channel, frames))
        elif channel == "control" and (message := read(frames)) and message.kind == "interrupt_request":
            self.signal(2)
            self._say(self._standin.done(channel, message))
        elif channel == "control" and (message := read(frames)) and message.kind == "shutdown_request":
            self._say(self._standin.farewell(channel, message))
        else:
            self._standin.keep(channel, frames)
            self._say(self._standin.impatient())

    def _say(self, out: list[Out]) -> None:
        for channel, frames in out:
            self._channels.send(channel, frames)

    # -- while there is no word of the supervisor

    async def _watch(self) -> None:
        while self.stage is not Stage.ENDED:
            await asyncio.sleep(_TICK_SECONDS)
            self._say(self._standin.impatient())
            now = time.monotonic()
            if self._link.connected:
                self._silent_since, self._missing_since = now, None
                if self._said == "silent":
                    self._tell("back", node=self._node_in_words())
                    self._said = ""
            elif now - self._since > _WORDLESS_SECONDS and not self._learning:
                await self._look(now)

    async def _look(self, now: float) -> None:
        self._asked = True
        job = await self._view().look(self.job)
        if self._link.connected or self.stage is Stage.ENDED:
            return
        silent = now - self._silent_since
        if job.phase is Phase.WAITING:
            self._tell_why(job)
        elif job.phase is Phase.ENDED:
            self._begin(self._learn_end("", job))
        elif job.phase is Phase.RUNNING and self._here and silent > _SILENT_SECONDS:
            self._tell("silent", node=self._node_in_words())
        elif job.phase is Phase.RUNNING and not self._here and silent > _SLOW_SECONDS:
            self._tell("slow", job=self.job, node=job.node or text("kernel_jobs.its_node"))
        elif job.phase is Phase.UNKNOWN:
            self._unknown(now, silent)

    def _unknown(self, now: float, silent: float) -> None:
        if self._view().missing(self.job):
            self._missing_since = self._missing_since or now
            if now - self._missing_since > _GONE_SECONDS:
                self._begin(self._learn_end("", Job(Phase.ENDED, GONE)))
        elif self._view().silent and silent > _SILENT_SECONDS:
            self._tell("slurm_silent", job=self.job)
        elif not self._here:
            self._tell("submitted", job=self.job)

    def _tell_why(self, job: Job) -> None:
        reason = explain(job)
        if self._standin.waited_for and self._said != reason.why:
            self._said = reason.why
            says = [text("kernel_jobs.waits", job=self.job, why=reason.why)]
            if job.starts is not None:
                says.append(text("kernel_jobs.plan", time=clock(job.starts)))
            # What starts by itself needs no advice but patience; all else needs somebody to do something.
            says.append(text("kernel_jobs.patience") if reason.kind in _BY_ITSELF else reason.advice)
            self._say(self._standin.tell(" ".join([*says, text("kernel_jobs.interrupt")])))

    def _tell(self, name: str, **values: str) -> None:
        if self._standin.waited_for and self._said != name:
            self._said = name
            self._say(self._standin.tell(text(f"kernel_jobs.{name}", **values)))

    def _node_in_words(self) -> str:
        return self._node or text("kernel_jobs.its_node")

    # -- the end of the job

    async def _interrupted(self) -> None:
        if self.stage is Stage.WAITING and not self._here:
            await self._over(text("kernel_jobs.interrupted"))

    async def _learn_end(self, why: str, job: Job | None = None) -> None:
        """Learn from Slurm how the job ended, and tell it; what the supervisor said serves if Slurm is silent."""
        if self._learning or self.stage is Stage.ENDED:
            return
        from davide_session.jobkernel.asking import ended

        self._learning = True
        try:
            for pause in _ASK_AGAIN_SECONDS if job is None or job.state == "CANCELLED" else ():
                await asyncio.sleep(pause)
                if (found := await ended(self.job)) is not None:
                    job = found
                    break
            await self._over(*in_words(self.wanted, self.job, job, why, began=self._here))
        finally:
            self._learning = False

    async def _over(self, what: str, log: str = "") -> None:
        if self.stage is Stage.ENDED:
            # Somebody else was quicker.
            return
        await self._end_job()
        self.ends_idle = None
        self._log.info("Kernel %s: %s", self.wanted.kernel_id, what)
        if (kept := kept_variables(self.wanted.variables, self._submitted)) is not None:
            log = "\n".join([log, text("kernel_jobs.kept", names=", ".join(kept["kept"]), line=kept["line"])])
        self._say(self._standin.give_up(text("kernel_jobs.ended", what=what) + log))

    def _keep_the_job(self) -> None:
        if self._interrupting:
            self._interrupting.cancel()
        self._interrupting = None

    def _begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("Kernel %s: %s: %s", self.wanted.kernel_id, type(error).__name__, error, exc_info=error)
