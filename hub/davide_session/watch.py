"""What a session knows of itself while it runs: its end, its use, its idleness; and what it does before the end."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from davide_session.activity import Activity
from davide_session.cgroup import JobCgroup, JobUse
from davide_session.gpus import GpuNews, Gpus
from davide_session.leases import Leases
from davide_session.notice import tell
from davide_session.walltime import EndUnknown, Term, Warnings, ask_slurm

# How long what was measured serves for all pages that ask.
_FRESH_SECONDS = 4
# How often the session looks whether it is at work, with no page open.
_LOOK_SECONDS = 30
# A class that starts together does not ask Slurm together.
_SPREAD_SECONDS = 10
_AGAIN_SECONDS = 120
# As the hub's own pages do.
_IDLE_WARNING_SECONDS = 300


@dataclass(frozen=True)
class Rules:
    """What the site's facts say of sessions like this one.

    Attributes
    ----------
    warnings
        How long before the end what happens.
    idle_minutes
        After how many minutes without any work the hub ends the session; None for never.
    """

    warnings: Warnings
    idle_minutes: int | None = None


@dataclass(frozen=True)
class Sample:
    """What was measured at a time."""

    at: float
    job: JobUse
    gpus: GpuNews
    server_cpu_seconds: float

    def cores_since(self, before: Sample | None) -> float | None:
        """Return how many cores the job used since an earlier sample; None if nobody knows."""
        if before is None or self.job.cpu_seconds is None or before.job.cpu_seconds is None:
            return None
        # Processes that end take their time with them where no cgroup counts it.
        return max(0.0, self.job.cpu_seconds - before.job.cpu_seconds) / (self.at - before.at)

    def cores_of_work_since(self, before: Sample | None) -> float | None:
        """Return the same without what the server itself used."""
        used = self.cores_since(before)
        if used is None or before is None:
            return None
        return max(0.0, used - (self.server_cpu_seconds - before.server_cpu_seconds) / (self.at - before.at))


class Watch:
    """Looks after one session.

    Parameters
    ----------
    rules
        From the site's facts.
    job
        Slurm's number of the job; empty outside Slurm.
    term
        When the job began and ends, if its variables say so.
    cgroup, gpus, activity
        Where use and work are read.
    leases
        Which kernel holds which GPU.
    job_kernels
        What is known of the kernels with jobs of their own.
    asked
        The folder where programs ask to be told of the end.
    announce
        Tells open pages to ask for the facts now.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        job: str,
        term: Term | None,
        cgroup: JobCgroup,
        gpus: Gpus,
        activity: Activity,
        leases: Leases,
        job_kernels: Callable[[], Awaitable[list[dict[str, Any]]]],
        asked: Path,
        announce: Callable[[], None],
        log: Any,
    ) -> None:
        self.activity = activity
        self._rules, self._job, self._term, self._leases = rules, job, term, leases
        self._job_kernels = job_kernels
        self._cgroup, self._gpus, self._asked, self._announce, self._log = cgroup, gpus, asked, announce, log
        self._cores = len(os.sched_getaffinity(0))
        self._saving = False
        self._sample: Sample | None = None
        self._cores_used: float | None = None
        self._measuring = asyncio.Lock()

    # -- the end

    @property
    def _warnings(self) -> Warnings:
        length = self._term.ends - self._term.began if self._term else float("inf")
        return self._rules.warnings.within(length)

    def save_now(self) -> None:
        """Let pages save what is open, and tell the programs that asked; once."""
        if self._saving:
            return
        self._saving = True
        told = tell(self._asked)
        self._log.info("The session ends soon: pages save what is open, and %d programs were told", len(told))
        self._announce()

    async def keep_term(self) -> None:
        """Learn when the job ends, and begin to save before, should Slurm's own signal not come."""
        if self._job and self._term is None:
            await self._ask_slurm()
        while self._term is not None:
            left = self._term.ends - time.time()
            if left <= self._warnings.save_seconds:
                self.save_now()
                return
            # Looked at again now and then: a node's clock may be set meanwhile.
            await asyncio.sleep(min(60.0, left - self._warnings.save_seconds))

    async def _ask_slurm(self) -> None:
        await asyncio.sleep(random.uniform(0, _SPREAD_SECONDS))  # noqa: S311 - nobody has to guess it
        said = ""
        while self._term is None:
            try:
                self._term = await ask_slurm(self._job)
            except EndUnknown as reason:
                if str(reason) != said:
                    said = str(reason)
                    self._log.warning("When this session ends is not known yet: %s", said)
                await asyncio.sleep(_AGAIN_SECONDS)
        self._announce()

    # -- work

    async def keep_looking(self, report: Callable[[], None], tell_use: Callable[[GpuNews], None]) -> None:
        """Look again and again whether the session is at work; `report` and `tell_use` tell the hub."""
        before = None
        while True:
            # First of all: the page that opens now has more need of the processor.
            await asyncio.sleep(_LOOK_SECONDS)
            sample = await self._measure()
            cores = sample.cores_of_work_since(before)
            before = sample
            tell_use(sample.gpus)
            if self.activity.look(cores=cores, gpu_at_work=sample.gpus.at_work):
                report()

    async def _measure(self) -> Sample:
        async with self._measuring:
            if self._sample is None or time.monotonic() - self._sample.at > _FRESH_SECONDS:
                before, self._sample = self._sample, await asyncio.to_thread(self._read)
                self._cores_used = self._sample.cores_since(before)
            return self._sample

    def _read(self) -> Sample:
        own = resource.getrusage(resource.RUSAGE_SELF)
        return Sample(time.monotonic(), self._cgroup.use(), self._gpus.read(), own.ru_utime + own.ru_stime)

    # -- for pages

    async def facts(self) -> dict[str, Any]:
        """Return what pages show, as JSON has it. Times are seconds from now: a browser's clock may be wrong."""
        sample = await self._measure()
        warnings, term = self._warnings, self._term
        return {
            "walltime": {
                "left_seconds": None if term is None else round(term.ends - time.time()),
                "warn_seconds": warnings.warn_seconds,
                "save_seconds": warnings.save_seconds,
                "saving": self._saving,
            },
            "gpus": asdict(sample.gpus),
            "leases": await self._leases.facts(),
            "job_kernels": await self._job_kernels(),
            "memory": {"used_bytes": sample.job.memory_bytes, "limit_bytes": sample.job.memory_limit_bytes},
            "cpu": {"cores_used": self._cores_used, "cores": self._cores},
            "idle": self._idle(),
        }

    def _idle(self) -> dict[str, Any]:
        idle = time.time() - self.activity.last().timestamp()
        limit = self._rules.idle_minutes
        return {
            "idle_seconds": round(idle),
            "limit_seconds": None if limit is None else 60 * limit,
            "left_seconds": None if limit is None else round(60 * limit - idle),
            "warn_seconds": _IDLE_WARNING_SECONDS,
        }
