"""Why Slurm keeps a session waiting, in plain words, and what can be done about it.

All reasons of squeue's manual page and of https://slurm.schedmd.com/job_reason_codes.html (Slurm 22.05 to 25.05) are
known here. One that is not is shown as Slurm says it. The words are in texts/en/reasons.yml.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from davide_hub.states import Job
from davide_hub.texts import text, texts_of

# What kind of reason each is: of what can be done about it (`do_KIND`).
_KINDS = {
    "soon": "None Cleaning FedJobLock Prolog SchedDefer BurstBufferStageIn",
    "queue": "Resources Priority Licenses BurstBufferResources MpiPortsBusy MaxPoweredUpNodes JobArrayTaskLimit "
    "Dependency",
    "later": "BeginTime Reservation",
    "large": "BadConstraints Constraints PartitionConfig PartitionNodeLimit PartitionTimeLimit MaxMemPerLimit DeadLine",
    "account": "AccountNotAllowed AccountingPolicy InvalidAccount InvalidQOS QOSNotAllowed",
    "reservation": "ReservationDeleted ReservationInvalid",
    "site": "FrontEndDown NodeDown PartitionDown PartitionInactive ReqNodeNotAvail SystemFailure BurstBufferOperation",
    "held": "JobHeldAdmin JobHeldUser",
    "again": "DependencyNeverSatisfied InactiveLimit JobHoldMaxRequeue JobLaunchFailure NonZeroExitCode OutOfMemory "
    "RaisedSignal TimeLimit",
}
_KIND_OF = {reason: kind for kind, reasons in _KINDS.items() for reason in reasons.split()}

_WHAT = "CPU|Cpu|Memory|Mem|Node|GRES|License|BB|Energy|Billing|Unknown|SubmitJobs?|Jobs?|WallDuration|Wall"
# The limits of associations and of QOS, from the widest to the narrowest.
_BUDGET = re.compile(rf"(Assoc|QOS)Grp(?:({_WHAT})Minutes(?:Limit)?|(Wall)Limit)")
_GROUP_PLANNED = re.compile(rf"(Assoc|QOS)Grp({_WHAT})RunMinutes(?:Limit)?")
_GROUP = re.compile(rf"(Assoc|QOS)Grp({_WHAT})(?:Limit)?")
_TOO_LARGE = re.compile(rf"(Assoc|QOS)Max({_WHAT})(?:Minutes)?Per(?:Job|Node)(?:Limit)?")
_PERSON = re.compile(rf"(?:Assoc|QOS)Max({_WHAT})(?:PerUser)?(?:Limit)?")
_OF_ACCOUNT = re.compile(rf"Max({_WHAT})(?:RunMins)?PerAccount")
_OF_USER = re.compile(rf"Max({_WHAT})RunMinsPerUser")
_TOO_SMALL = re.compile(rf"QOSMin({_WHAT})(?:NotSatisfied)?")
_OLD_NAMES = re.compile(r"(Association|QOS)(Job|Resource|Time)Limit")


@dataclass(frozen=True)
class Explanation:
    """A reason in plain words.

    Attributes
    ----------
    kind
        Of what can be done about it, such as `queue` or `budget`; `unknown` if the reason is.
    why, advice
        A clause that goes on after "it waits:", and a sentence.
    """

    kind: str
    why: str
    advice: str


def explain(job: Job) -> Explanation:
    """Return why a job waits, and what can be done about it."""
    # Slurm adds details: "ReqNodeNotAvail, UnavailableNodes:gpu01".
    reason = re.split(r"[,(]", job.reason.strip("() "))[0].strip() or "None"
    kind, why = _single(reason, job.starts) or _limit(reason) or ("unknown", text("reasons.unknown", reason=job.reason))
    return Explanation(kind, why, str(texts_of("reasons")[f"do_{kind}"]))


def clock(moment: float) -> str:
    """Return a time of day, with the day unless it is today."""
    then = time.localtime(moment)
    today = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M" if today else "%H:%M, %d %b", then)


def _single(reason: str, starts: int | None) -> tuple[str, str] | None:
    kind = _KIND_OF.get(reason)
    if kind is None:
        return None
    if kind == "later" and starts is not None:
        return kind, str(texts_of("reasons")[f"{reason}_at"]).format(time=clock(starts))
    return kind, str(texts_of("reasons")[reason])


def _limit(reason: str) -> tuple[str, str] | None:
    if reason == "QOSUsageThreshold":
        return "budget", text("reasons.budget", whose=_whose("QOS"), hours=_hours("Billing"))
    if found := _BUDGET.fullmatch(reason):
        return "budget", text("reasons.budget", whose=_whose(found[1]), hours=_hours(found[2] or found[3]))
    if found := _GROUP_PLANNED.fullmatch(reason):
        return "many", text("reasons.group_planned", whose=_whose(found[1]), hours=_hours(found[2]))
    if found := _GROUP.fullmatch(reason):
        return "many", text("reasons.group", whose=_whose(found[1]), what=_what(found[2]))
    if found := _TOO_LARGE.fullmatch(reason):
        return "large", text("reasons.too_large", whose=_whose(found[1]), what=_what(found[2]))
    return _limit_of_somebody(reason)


def _limit_of_somebody(reason: str) -> tuple[str, str] | None:
    if found := _PERSON.fullmatch(reason):
        return "many", text("reasons.person", what=_what(found[1]))
    if found := _OF_ACCOUNT.fullmatch(reason):
        return "many", text("reasons.group", whose=_whose("Assoc"), what=_what(found[1]))
    if found := _OF_USER.fullmatch(reason):
        return "many", text("reasons.group_planned", whose=_whose("user"), hours=_hours(found[1]))
    if found := _TOO_SMALL.fullmatch(reason):
        return "large", text("reasons.too_small", whose=_whose("QOS"), what=_what(found[1]))
    if found := _OLD_NAMES.fullmatch(reason):
        return "many", text("reasons.group", whose=_whose(found[1]), what=_what(found[2]))
    return None


def _whose(word: str) -> str:
    name = {"QOS": "qos", "user": "user"}.get(word, "association")
    return str(texts_of("reasons")[f"whose_{name}"])


def _what(word: str) -> str:
    return str(texts_of("reasons")[f"what_{word.lower()}"])


def _hours(word: str) -> str:
    return str(texts_of("reasons")[f"hours_{word.lower()}"])
