"""When a session ends: from Slurm; when its user is warned: from the site's facts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass

_PATIENCE_SECONDS = 30
# Less is too short to save a page of notebooks and a model, however short the session is.
_LEAST_SAVE_SECONDS = 30


class EndUnknown(Exception):  # noqa: N818 - it is what it says
    """Slurm did not tell when the job ends. `str()` says why."""


@dataclass(frozen=True)
class Warnings:
    """How long before the end what happens.

    Attributes
    ----------
    warn_seconds
        When the user is warned; the earliest first.
    save_seconds
        When everything is saved and kernels are told.
    """

    warn_seconds: tuple[int, ...]
    save_seconds: int

    def within(self, length_seconds: float) -> Warnings:
        """Return the same for a session of this length: the first warning after half of it, the others in proportion.

        A session of three minutes that began with "ends in 15 minutes" would be warned of nothing.
        """
        factor = min(1.0, length_seconds / 2 / max(self.warn_seconds))
        save = min(self.save_seconds, max(_LEAST_SAVE_SECONDS, round(self.save_seconds * factor)))
        return Warnings(tuple(round(one * factor) for one in self.warn_seconds), save)


@dataclass(frozen=True)
class Term:
    """The time that Slurm gave the job, in seconds since 1970."""

    began: float
    ends: float


def told_by_slurm(environment: Mapping[str, str]) -> Term | None:
    """Return what the job's own variables say; None before Slurm 23.02, which sets none."""
    try:
        return Term(float(environment["SLURM_JOB_START_TIME"]), float(environment["SLURM_JOB_END_TIME"]))
    except (KeyError, ValueError):
        return None


async def ask_slurm(job: str) -> Term:
    """Return what squeue says of the user's own job: one question, by whoever the job belongs to.

    Raises
    ------
    EndUnknown
        If there is no answer, or the job has no end.
    """
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%S %e"]
    environment = os.environ | {"SLURM_TIME_FORMAT": "%s"}
    try:
        asked = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise EndUnknown(f"squeue can't be run ({error.strerror})") from None
    try:
        answer, _ = await asyncio.wait_for(asked.communicate(), _PATIENCE_SECONDS)
    except TimeoutError:
        asked.kill()
        await asked.wait()
        raise EndUnknown(f"squeue took more than {_PATIENCE_SECONDS} s") from None
    return parse(answer.decode(errors="replace"))


def parse(answer: str) -> Term:
    """Return the times in a line of squeue's, `%S %e` with SLURM_TIME_FORMAT=%s."""
    try:
        began, ends = (float(word) for word in answer.split())
    except ValueError:
        raise EndUnknown(f"squeue said {ascii(answer.strip())[:80]}") from None
    return Term(began, ends)
