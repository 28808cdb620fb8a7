"""The one module that talks to Slurm: what became of which job.

One unprivileged `squeue` answers for all sessions at once. "I don't know" is not "dead": a job ends here only
by a final state that Slurm itself reports, in its list or in its accounting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

_log = logging.getLogger("jupyterhub.davide.slurm")

# A frozen controller holds squeue for 18-20 s. Nobody waits for that: neither we, nor a user's page.
_QUERY_SECONDS = 15
_PATIENCE_SECONDS = 2
# Leave Slurm alone for 20 times as long as it took to answer: a cluster with 50,000 jobs must not feel us. But
# one that is back after an outage is heard of again soon.
_RESTRAINT = 20
_LONGEST_REST = 60
_REST_AFTER_SILENCE = 10

# State and node stand before the reason, which may be any text. %B is the node where the script runs.
_SQUEUE = ("squeue", "--noheader", "--states=all", "--format=%i|%T|%B|%r")
_SACCT = ("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobIDRaw,State,NodeList")
_QUEUE_LINE = re.compile(r"([0-9]+)\|([A-Z_]+)\|([^|]*)\|(.*)")
_RECORD = re.compile(r"([0-9]+)\|([A-Z_]+)(?: by ([0-9]+))?\|([^|]*)")
# squeue says this, and exits with 1, if it is asked about one job and that one is gone.
_GONE = "Invalid job id specified"

_RUNNING = {"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"}
_ENDING = {"COMPLETING", "STAGE_OUT"}
_FINAL = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REVOKED",
    "TIMEOUT",
}


class Phase(Enum):
    """How far a job is. All states not named above (PENDING, CONFIGURING, REQUEUED, ...) are waiting."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Job:
    """What Slurm says of one job.

    Attributes
    ----------
    phase
        What it means for a session.
    state
        Slurm's own word, such as `PENDING` or `NODE_FAIL`; empty if unknown.
    node
        The first node of a job that runs or ran; else empty.
    reason
        Slurm's word for why it waits or ended, such as `Priority`.
    cancelled_by
        The uid of whoever cancelled it, where accounting tells.
    """

    phase: Phase
    state: str = ""
    node: str = ""
    reason: str = ""
    cancelled_by: int | None = None


UNKNOWN = Job(Phase.UNKNOWN)


class SlurmSilent(Exception):  # noqa: N818 - it is what it says
    """Slurm did not answer, or nothing that can be believed."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str = ""


Run = Callable[[tuple[str, ...], float], Awaitable[Outcome]]


async def run_command(argv: tuple[str, ...], seconds: float) -> Outcome:
    """Run one of Slurm's commands without a shell, and kill it after its time.

    Raises
    ------
    SlurmSilent
        If it can't be started or takes too long.
    """
    # Not the hub's own environment: it holds the proxy's token.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise SlurmSilent(f"{argv[0]} can't be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        # One that hangs in the kernel can't be waited for.
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await process.wait()
        raise SlurmSilent(f"{argv[0]} took more than {seconds} s") from None
    return Outcome(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


def read_queue(outcome: Outcome) -> dict[str, Job]:
    """Return the jobs in squeue's answer.

    Raises
    ------
    SlurmSilent
        If it failed, or if any line is not one of squeue's: half an answer is none.
    """
    if outcome.code != 0:
        if _GONE in outcome.err:
            return {}
        raise SlurmSilent(f"squeue: {outcome.err.strip()[:200]}")
    jobs = {}
    for line in outcome.out.splitlines():
        found = _QUEUE_LINE.fullmatch(line)
        if found is None:
            raise SlurmSilent(f"squeue printed {line[:80]!r}")
        number, state, node, reason = found.groups()
        jobs[number] = Job(_phase(state), state, _word(node), _word(reason))
    return jobs


def read_accounting(outcome: Outcome) -> dict[str, Job]:
    """Return the jobs that have ended, as sacct's answer says. Anything else in it is no news."""
    records = map(_RECORD.fullmatch, outcome.out.splitlines() if outcome.code == 0 else ())
    jobs = {}
    for number, state, by, node in (record.groups() for record in records if record):
        if state in _FINAL:
            # A number that is used again has several records; the last is the latest.
            jobs[number] = Job(Phase.ENDED, state, _word(node), cancelled_by=int(by) if by else None)
    return jobs


def _phase(state: str) -> Phase:
    if state in _FINAL:
        return Phase.ENDED
    if state in _RUNNING:
        return Phase.RUNNING
    return Phase.ENDING if state in _ENDING else Phase.WAITING


def _word(text: str) -> str:
    return "" if text in ("n/a", "None", "None assigned", "(null)") else text


@dataclass(frozen=True)
class _Snapshot:
    """One round of asking: about which jobs, and what Slurm said; None if it was silent."""

    asked: frozenset[str] = frozenset()
    jobs: Mapping[str, Job] | None = None
    taken: float = float("-inf")
    took: float = 0.0

    @property
    def rest(self) -> float:
        """Seconds to leave Slurm alone after this round."""
        if self.jobs is None:
            return _REST_AFTER_SILENCE
        return min(_RESTRAINT * self.took, _LONGEST_REST)


@dataclass
class SlurmView:
    """What Slurm says of our jobs. Whoever asks gets the last answer while it is fresh: one query serves all.

    Parameters
    ----------
    run
        Runs a command; replaced in tests.
    clock
        Seconds that only grow.
    """

    run: Run = run_command
    clock: Callable[[], float] = time.monotonic
    _watched: set[str] = field(default_factory=set, init=False)
    _snapshot: _Snapshot = field(default=_Snapshot(), init=False)
    _round: asyncio.Task[None] | None = field(default=None, init=False)

    async def look(self, job_id: str, max_age: float) -> Job:
        """Return what Slurm says of a job, or `UNKNOWN`. From now on it is part of every query.

        Parameters
        ----------
        job_id
            One of our jobs.
        max_age
            An answer of the last so many seconds will do. It may be older: Slurm is never pressed.
        """
        self._watched.add(job_id)
        age = self.clock() - self._snapshot.taken
        fresh = age <= max_age and job_id in self._snapshot.asked
        if not fresh and age >= self._snapshot.rest:
            await self._next_round()
        return (self._snapshot.jobs or {}).get(job_id, UNKNOWN)

    def forget(self, job_id: str) -> None:
        """Ask about this job no more."""
        self._watched.discard(job_id)

    async def _next_round(self) -> None:
        # One for all who come meanwhile, and never two at once.
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._ask(frozenset(self._watched)))
        await asyncio.wait([self._round], timeout=_PATIENCE_SECONDS)

    async def _ask(self, asked: frozenset[str]) -> None:
        started = self.clock()
        jobs: dict[str, Job] | None
        try:
            jobs = read_queue(await self._query(_SQUEUE, asked))
            jobs |= await self._ask_accounting(_unclear(asked, jobs))
        except SlurmSilent as silence:
            _log.warning("Slurm does not answer: %s", silence)
            jobs = None
        self._snapshot = _Snapshot(asked, jobs, taken=self.clock(), took=self.clock() - started)

    async def _ask_accounting(self, unclear: frozenset[str]) -> dict[str, Job]:
        try:
            return read_accounting(await self._query(_SACCT, unclear)) if unclear else {}
        except SlurmSilent as silence:
            _log.warning("Slurm's accounting does not answer: %s", silence)
            return {}

    async def _query(self, command: tuple[str, ...], jobs: frozenset[str]) -> Outcome:
        return await self.run((*command, f"--jobs={','.join(sorted(jobs))}"), _QUERY_SECONDS)


def _unclear(asked: frozenset[str], jobs: Mapping[str, Job]) -> frozenset[str]:
    """Return the jobs that only accounting can tell about.

    Absence from the queue proves nothing: with PrivateData=jobs, others' jobs are silently left out. And the
    queue does not say who cancelled a job.
    """
    return frozenset(number for number in asked if number not in jobs or jobs[number].state == "CANCELLED")
