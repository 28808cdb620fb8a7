"""How a session ended, or why it did not start: in plain words, with what to do. Words: texts/en/ended.yml."""

from __future__ import annotations

import re
from dataclasses import dataclass

from davide_hub.states import Job
from davide_hub.texts import text, texts_of

_KINDS = {
    "COMPLETED": "shutdown",
    "FAILED": "failed",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "boot",
    "LAUNCH_FAILED": "boot",
    "OUT_OF_MEMORY": "memory",
    "GONE": "gone",
    "PREEMPTED": "preempted",
}
# The end of the log tells more than Slurm does.
LOG_TELLS = frozenset({"failed", "memory"})
_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
# What sbatch says when it refuses (slurm_errno.c, 22.05 to 25.05), and what can be done about it.
_REFUSALS = (
    (re.compile(r"Assoc|QOSGrp|accounting/QOS policy", re.IGNORECASE), "budget"),
    (re.compile(r"reservation", re.IGNORECASE), "reservation"),
    (re.compile(r"Invalid account|Invalid qos|not permitted|Access/permission denied", re.IGNORECASE), "account"),
    (
        re.compile(r"configuration is not available|Requested time limit|more processors|count", re.IGNORECASE),
        "too_large",
    ),
    (re.compile(r"partition (is|not)|Required partition|inactive or drain", re.IGNORECASE), "closed"),
)


@dataclass(frozen=True)
class Ending:
    """How a session ended.

    Attributes
    ----------
    kind
        A name for it, such as `time_limit`; what to do is the text `ended.do_KIND`.
    sentence
        For the owner.
    """

    kind: str
    sentence: str


def of_job(job: Job, own_uid: int | None = None, name: str = "") -> Ending:
    """Return how a job ended.

    Parameters
    ----------
    job
        A job in a final state.
    own_uid
        Whose job it is: who cancelled it is told in other words if it was the owner. If not given, Slurm's word counts.
    name
        Of who cancelled it, where the directory told. Not looked up here: that may take minutes.
    """
    if job.state == "CANCELLED":
        return _cancelled(job.cancelled_by, job.uid if own_uid is None else own_uid, name)
    kind = _KINDS.get(job.state)
    if kind is None:
        return Ending("other", text("ended.other", state=job.state))
    return Ending(kind, str(texts_of("ended")[kind]))


def of_log(ending: Ending, log: str) -> Ending:
    """Return how a session ended, where the end of its log tells it better than Slurm."""
    if ending.kind == "failed" and _FULL.search(log):
        return Ending("home_full", text("ended.home_full"))
    return ending


def of_refusal(kind: str, sentence: str) -> Ending:
    """Return why a session was not taken.

    Parameters
    ----------
    kind
        The broker's word for it, such as `slurm` or `home`.
    sentence
        The broker's, or Slurm's own.
    """
    if kind == "home" and _FULL.search(sentence):
        return Ending("home_full", text("ended.home_full"))
    if kind == "slurm":
        kind = next((name for pattern, name in _REFUSALS if pattern.search(sentence)), "slurm")
    return Ending(kind, sentence.rstrip(".") + ".")


def advice(kind: str) -> str:
    """Return what to do after an end of this kind; nothing where the sentence itself says it."""
    return str(texts_of("ended").get(f"do_{kind}", ""))


def _cancelled(by: int | None, own_uid: int | None, name: str) -> Ending:
    if by is None:
        return Ending("cancelled", text("ended.cancelled"))
    if by == own_uid:
        return Ending("cancelled_by_you", text("ended.cancelled_by_you"))
    if by == 0:
        return Ending("cancelled_by_admin", text("ended.cancelled_by_admin"))
    return Ending("cancelled_by", text("ended.cancelled_by", name=name or text("ended.nobody", uid=by)))
