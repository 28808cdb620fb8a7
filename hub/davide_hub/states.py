"""Slurm's job states, and what each means for a session (squeue(1), "JOB STATE CODES", 22.05 to 25.05)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

_WAITING = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
# They keep their memory, and do nothing.
SUSPENDED = {"SUSPENDED", "STOPPED"}
# RESIZING and SIGNALING are moments of a running job.
_RUNNING = {"RUNNING", "SIGNALING", "RESIZING"} | SUSPENDED
_ENDING = {"COMPLETING", "STAGE_OUT"}
FINAL = {
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
# Not Slurm's word but ours: the owner asked, and Slurm answered without this job.
GONE = "GONE"


class Phase(Enum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNKNOWN = "unknown"


_PHASES = (
    dict.fromkeys(_WAITING, Phase.WAITING)
    | dict.fromkeys(_RUNNING, Phase.RUNNING)
    | dict.fromkeys(_ENDING, Phase.ENDING)
    | dict.fromkeys(FINAL | {GONE}, Phase.ENDED)
)


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
    uid
        The owner's, where Slurm tells: a number that was used again belongs to somebody else.
    number
        The job's number, where the owner was asked about a session: it may have another job than the one known.
    partition, priority
        Where it waits or runs; and its rank among those that wait, the highest first.
    submitted, starts, ends
        Seconds since 1970, where Slurm tells. While it waits, `starts` is Slurm's plan.
    """

    phase: Phase
    state: str = ""
    node: str = ""
    reason: str = ""
    cancelled_by: int | None = None
    uid: int | None = None
    number: str = field(default="", compare=False)
    partition: str = field(default="", compare=False)
    priority: int | None = field(default=None, compare=False)
    submitted: int | None = field(default=None, compare=False)
    starts: int | None = field(default=None, compare=False)
    ends: int | None = field(default=None, compare=False)


UNKNOWN = Job(Phase.UNKNOWN)


def phase_of(state: str) -> Phase:
    """Return what one of Slurm's states means for a session; of a word that is none of them, nothing is known."""
    return _PHASES.get(state, Phase.UNKNOWN)


def word(text: str) -> str:
    """Return one of Slurm's words, or nothing where it says that there is nothing."""
    return "" if text in ("n/a", "None", "None assigned", "(null)", "N/A") else text
