"""The one module of the hub that talks to Slurm: what became of which job.

One unprivileged `squeue` answers for all sessions at once. "I don't know" is not "dead": a job ends here only
by a final state that Slurm itself reports, in its list, in its accounting, or to the job's owner. Where the broker is
on another host, it runs these commands (`through`); what their answers mean is decided here all the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from davide_hub.answers import Marked, read_accounting, read_marks, read_queue, read_states, read_version
from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.questions import (
    ENVIRONMENT,
    MOST_BYTES,
    MOST_COMPLAINTS,
    SECONDS,
    Outcome,
    Question,
    SlurmSilent,
    command,
)
from davide_hub.states import UNKNOWN, Job, Phase

_log = logging.getLogger("jupyterhub.davide.slurm")

# A user's page waits no longer for Slurm.
_PATIENCE_SECONDS = 2
# One squeue is two RPCs (jobs, partitions). So often, it is eight a minute, whatever the sessions do; the call home
# makes the good news fast.
_SHORTEST_REST = 15
# Leave Slurm alone for 20 times as long as it took to answer: a cluster with 50,000 jobs must not feel us. But
# one that is back after an outage is heard of again soon.
_RESTRAINT = 20
_LONGEST_REST = 60
_REST_AFTER_SILENCE = 10
# A controller that is killed forgets what it did in the last five seconds or so: a job whose end is among that runs
# again for it when it is back. So an end is believed at once, and looked at for so long.
_BURIED_SECONDS = 60
# So many jobs that vanish from the list together look like a list that leaves jobs out.
_ALARMING = 3

_PART = 64 * 1024
_STATES_SINCE = (23, 11)

Ask = Callable[[Question, frozenset[str]], Awaitable[Outcome]]


async def ask_here(question: Question, jobs: frozenset[str]) -> Outcome:
    """Ask Slurm on this host; raises `SlurmSilent`."""
    return await run_command(command(question, jobs), SECONDS, MOST_BYTES)


def through(broker: BrokerClient) -> Ask:
    """Return how to ask Slurm by way of a broker on another host. What it does not tell is silence, as here."""

    async def ask(question: Question, jobs: frozenset[str]) -> Outcome:
        try:
            return await broker.ask_slurm(question, jobs)
        except BrokerRefused as refusal:
            raise SlurmSilent(str(refusal)) from refusal
        except BrokerUnreachable as error:
            raise SlurmSilent("the broker does not answer") from error

    return ask


async def run_command(argv: tuple[str, ...], seconds: float, most: int | None = None) -> Outcome:
    """Run one of Slurm's commands without a shell, and kill it after its time.

    Parameters
    ----------
    argv, seconds
        What to run, and for how long at most.
    most
        How many bytes it may print; all if not given. Complaints are cut off after 64 KiB.

    Raises
    ------
    SlurmSilent
        If it can't be started, takes too long or prints too much.
    """
    # Not the hub's own environment: it holds the proxy's token.
    environment = ENVIRONMENT | {"PATH": os.environ.get("PATH", os.defpath)}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise SlurmSilent(f"{argv[0]} can't be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            out, err = await asyncio.gather(
                _read(process.stdout, most, process), _read(process.stderr, MOST_COMPLAINTS)
            )
            await process.wait()
    except TimeoutError:
        process.kill()
        # One that hangs in the kernel can't be waited for.
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await process.wait()
        raise SlurmSilent(f"{argv[0]} took more than {seconds} s") from None
    if most is not None and len(out) > most:
        raise SlurmSilent(f"{argv[0]} printed more than {most} bytes")
    complaints = err[:MOST_COMPLAINTS].decode(errors="replace")
    return Outcome(process.returncode or 0, out.decode(errors="replace"), complaints)


async def _read(
    stream: asyncio.StreamReader | None, most: int | None, talks: asyncio.subprocess.Process | None = None
) -> bytes:
    """Read to the end, and keep no more than a byte too many; who talks on after that is killed, if given."""
    read = bytearray()
    while stream is not None and (part := await stream.read(_PART)):
        read += part if most is None else part[: most + 1 - len(read)]
        if talks is not None and most is not None and len(read) > most and talks.returncode is None:
            talks.kill()
    return bytes(read)


@dataclass(frozen=True)
class _Snapshot:
    """One round of asking: about which jobs, and what Slurm said; None if it was silent.

    `took` has the seconds of its last two answers.
    """

    asked: frozenset[str] = frozenset()
    jobs: Mapping[str, Job] | None = None
    taken: float = float("-inf")
    took: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """The place of each waiting job in its partition, and how many wait there.

        Sorted once for all: each of hundreds that start together asks for its own.
        """
        queues: dict[str, list[tuple[int, int, str]]] = {}
        for number, job in (self.jobs or {}).items():
            if job.phase is Phase.WAITING and job.priority is not None:
                queues.setdefault(job.partition, []).append((-job.priority, int(number), number))
        return {
            number: (place, len(queue))
            for queue in queues.values()
            for place, (_, _, number) in enumerate(sorted(queue), start=1)
        }

    @property
    def rest(self) -> float:
        """Seconds to leave Slurm alone after this round."""
        if self.jobs is None:
            return _REST_AFTER_SILENCE
        # One slow answer is the end of an outage: a frozen controller gives it when it goes on. Two are a slow Slurm.
        return max(_SHORTEST_REST, min(_RESTRAINT * min(self.took), _LONGEST_REST))


@dataclass
class SlurmView:
    """What Slurm says of our jobs. Whoever asks gets the last answer while it is fresh: one query serves all.

    Parameters
    ----------
    ask
        Asks Slurm, here or through the broker.
    clock
        Seconds that only grow.
    """

    ask: Ask = ask_here
    clock: Callable[[], float] = time.monotonic
    # Set when a job that has ended is seen alive again; cleared by whoever deals with it.
    risen: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _watched: set[str] = field(default_factory=set, init=False)
    _buried: dict[str, float] = field(default_factory=dict, init=False)
    _snapshot: _Snapshot = field(default=_Snapshot(), init=False)
    _round: asyncio.Task[None] | None = field(default=None, init=False)
    _version: tuple[int, int] | None = field(default=None, init=False)
    _marks_again: float = field(default=float("-inf"), init=False)

    @property
    def silent(self) -> bool:
        """Whether Slurm did not answer when it was last asked."""
        return self._snapshot.jobs is None and bool(self._snapshot.asked)

    def expect(self, job_id: str) -> None:
        """Ask about a job from the next round on: after a restart, the first to look must not be the only one."""
        self._watched.add(job_id)

    async def look(self, job_id: str) -> Job:
        """Return what Slurm says of a job, or `UNKNOWN`. From now on it is part of every query.

        The answer is as fresh as Slurm can bear; a job that was never asked about waits for the next round.
        """
        self._watched.add(job_id)
        if self.clock() - self._snapshot.taken >= self._snapshot.rest:
            await self._next_round()
        return self.last(job_id)

    def last(self, job_id: str) -> Job:
        """Return what Slurm said of a job when it was last asked."""
        return (self._snapshot.jobs or {}).get(job_id, UNKNOWN)

    def place(self, job_id: str) -> tuple[int, int] | None:
        """Return a waiting job's place among those of this hub in its partition, and how many they are.

        Others' jobs are not counted: Slurm is not asked about them, and may hide them.
        """
        return self._snapshot.places.get(job_id)

    def missing(self, job_id: str) -> bool:
        """Return whether Slurm answered about this job, and its answer left the job out. That proves nothing."""
        jobs = self._snapshot.jobs
        return jobs is not None and job_id in self._snapshot.asked and job_id not in jobs

    def forget(self, job_id: str) -> None:
        """Count on this job no more. It is part of the queries for a while, and nobody is told what they say of it."""
        self._watched.discard(job_id)
        self._buried[job_id] = self.clock()

    async def watch_the_buried(self) -> None:
        """Look whether a job that has ended is alive again, where nobody else asks; see `risen`."""
        if self._buried and self.clock() - self._snapshot.taken >= self._snapshot.rest:
            await self._next_round()

    async def marked(self) -> list[Marked]:
        """Return every live job that carries a hub's mark.

        Raises
        ------
        SlurmSilent
            If Slurm does not tell, or was asked a moment ago: this reads the whole queue, of which others have 50,000.
        """
        begun = self.clock()
        if begun < self._marks_again:
            raise SlurmSilent("the whole queue was read a moment ago")
        try:
            return read_marks(await self.ask("marks", frozenset()))
        finally:
            now = self.clock()
            self._marks_again = now + min(_RESTRAINT * (now - begun), _LONGEST_REST)

    async def _next_round(self) -> None:
        # One for all who come meanwhile, and never two at once.
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._ask(frozenset(self._watched)))
        await asyncio.wait([self._round], timeout=_PATIENCE_SECONDS)

    async def _ask(self, asked: frozenset[str]) -> None:
        started, took = self.clock(), self._snapshot.took
        jobs: dict[str, Job] | None
        try:
            told = await self._ask_queue(asked)
            self._watch_for_risen(told)
            jobs = {number: job for number, job in told.items() if number in asked}
            took = (took[1], self.clock() - started)
            self._warn(asked - jobs.keys())
            jobs |= await self._ask_accounting(_unclear(asked, jobs))
        except SlurmSilent as silence:
            _log.warning("Slurm does not answer: %s", silence)
            jobs = None
        except Exception:  # noqa: BLE001 - whatever it is: without an end of this round, each look would ask again
            _log.exception("Slurm's answer could not be read")
            jobs = None
        self._snapshot = _Snapshot(asked, jobs, taken=self.clock(), took=took)

    async def _ask_queue(self, asked: frozenset[str]) -> dict[str, Job]:
        """Ask for no more than is needed: where all jobs run, their states."""
        last = self._snapshot.jobs or {}
        known = {number: last[number] for number in asked & last.keys()}
        all_run = len(known) == len(asked) and all(job.phase is Phase.RUNNING and job.node for job in known.values())
        everything = asked | self._buried.keys()
        if all_run and await self._tells_states():
            return read_states(await self.ask("states", everything), dict.fromkeys(self._buried, UNKNOWN) | known)
        return read_queue(await self.ask("queue", everything))

    def _watch_for_risen(self, jobs: Mapping[str, Job]) -> None:
        now = self.clock()
        risen = {
            one
            for one in self._buried.keys() & jobs.keys()
            if jobs[one].phase in (Phase.RUNNING, Phase.WAITING) and one not in self._watched
        }
        if risen:
            _log.warning("Slurm says that these have not ended after all: %s", ", ".join(sorted(risen)))
            self.risen.set()
        self._buried = {
            one: when for one, when in self._buried.items() if now - when < _BURIED_SECONDS and one not in risen
        }

    async def _tells_states(self) -> bool:
        if self._version is None:
            self._version = read_version(await self.ask("version", frozenset()))
        return self._version >= _STATES_SINCE

    def _warn(self, vanished: frozenset[str]) -> None:
        news = {job for job in vanished if not self.missing(job)}
        if len(news) >= _ALARMING and len(news) > len(self._watched) / 2:
            _log.critical(
                "%d of %d jobs vanished from squeue's list at once; they count as unknown until accounting or their "
                "owners' own queries say otherwise. Is PrivateData=jobs set, or a partition hidden from the hub?",
                len(news),
                len(self._watched),
            )

    async def _ask_accounting(self, unclear: frozenset[str]) -> dict[str, Job]:
        try:
            return read_accounting(await self.ask("accounting", unclear)) if unclear else {}
        except SlurmSilent as silence:
            _log.warning("Slurm's accounting does not answer: %s", silence)
            return {}


def _unclear(asked: frozenset[str], jobs: Mapping[str, Job]) -> frozenset[str]:
    """Return the jobs that only accounting can tell about.

    Absence from the queue proves nothing: with PrivateData=jobs, others' jobs are silently left out. The queue does not
    say who cancelled a job, and for as long as a node cleans up (it may be for ever) not how one ended.
    """
    return frozenset(
        number
        for number in asked
        if number not in jobs or jobs[number].state == "CANCELLED" or jobs[number].phase is Phase.ENDING
    )
