"""How the job of a kernel ended, in words for its cell."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from davide_hub.endings import LOG_TELLS, of_job
from davide_hub.states import Job
from davide_hub.texts import text, texts_of

from davide_session.jobkernel.wanted import Wanted

_LOG_LINES = 12


def in_words(wanted: Wanted, number: str, job: Job | None, why: str, *, began: bool) -> tuple[str, str]:
    """Return how a job ended, and the end of its log where that tells more.

    Parameters
    ----------
    wanted
        The kernel.
    number
        The job's.
    job
        What Slurm says of it; None if Slurm is silent.
    why
        What the supervisor said last.
    began
        Whether the supervisor has said anything. Before, the log is all there is.
    """
    offer = wanted.offer
    kind = "shutdown" if job is None else of_job(job, os.getuid()).kind
    state = "" if job is None else job.state
    values = {"hours": offer.hours, "memory": offer.memory_gb, "job": number, "state": state}
    known = kind if kind in texts_of("kernel_jobs") else "other"
    what = text(f"kernel_jobs.{known}", why=why or text("kernel_jobs.from_within"), **values)
    tells = kind in LOG_TELLS or (kind == "shutdown" and not began)
    return what, _log_end(wanted.folder) if tells else ""


def _log_end(folder: Path) -> str:
    with suppress(OSError):
        lines = (folder / "kernel.log").read_text(errors="replace").splitlines()[-_LOG_LINES:]
        if lines:
            return "\n".join(["", text("kernel_jobs.log"), *lines])
    return ""
