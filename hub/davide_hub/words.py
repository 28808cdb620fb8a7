"""Plain words for what Slurm says: why a session waits, and why it ended."""

from __future__ import annotations

import pwd

from davide_hub.states import Job

# squeue(1), "JOB REASON CODES": what a student can make something of.
_WAITING = {
    "": "Slurm has not looked at it yet",
    "Resources": "all fitting GPUs or cores are in use; yours is next",
    "Priority": "others are before you in the queue",
    "BeginTime": "it is to start later",
    "Dependency": "it waits for another job",
    "JobHeldAdmin": "an administrator holds it back: ask the site's support",
    "JobHeldUser": "it is held back; release it, or cancel it",
    "Licenses": "a licence is in use",
    "PartitionDown": "the partition is closed: ask the site's support",
    "PartitionInactive": "the partition is closed: ask the site's support",
    "Reservation": "its reservation has not begun yet",
    "ReqNodeNotAvail": "the nodes are reserved or under maintenance",
    "NodeDown": "a node that it needs is down",
}
_LIMITS = ("AssocGrp", "AssocMax", "QOSGrp", "QOSMax", "MaxGRES", "MaxCpu", "MaxNode")

_ENDED = {
    "COMPLETED": "The session was shut down from within.",
    "FAILED": "The session's job failed.",
    "TIMEOUT": "The session reached its time limit.",
    "DEADLINE": "The session reached its deadline.",
    "NODE_FAIL": "The node of the session failed. Your saved files are safe; start a new session.",
    "BOOT_FAIL": "The node of the session did not start. Start a new session.",
    "LAUNCH_FAILED": "The node could not start the session. Start a new session.",
    "OUT_OF_MEMORY": "The session used more memory than its profile has. Choose a larger profile.",
    "GONE": "Slurm has no record of the session's job any more.",
    "PREEMPTED": "A job of higher priority took the session's place.",
}


def why_it_waits(job: Job) -> str:
    """Return why Slurm keeps a job waiting; a reason that is not known here as Slurm says it."""
    # Slurm adds details: "ReqNodeNotAvail, UnavailableNodes:gpu01".
    reason = job.reason.split(",")[0].strip("() ")
    if reason.startswith(_LIMITS):
        return f"your account's limit is reached ({reason})"
    return _WAITING.get(reason, reason)


def why_it_ended(job: Job, own_uid: int | None = None) -> str:
    """Return a sentence about the end of a job.

    Parameters
    ----------
    job
        A job in a final state.
    own_uid
        Whose job it is: who cancelled it is told in other words if it was the owner.
    """
    if job.state != "CANCELLED":
        return _ENDED.get(job.state, f"Slurm ended the session: {job.state}.")
    if job.cancelled_by is None:
        return "The session's job was cancelled."
    if job.cancelled_by == own_uid:
        return "You cancelled the session's job."
    if job.cancelled_by == 0:
        return "An administrator cancelled the session's job."
    return f"{_name(job.cancelled_by)} cancelled the session's job."


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"The user with the number {uid}"
