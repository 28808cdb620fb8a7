"""Why Slurm keeps a job waiting: of which kind each reason is, and how it reads in somebody's words.

All reasons of squeue's manual page and of https://slurm.schedmd.com/job_reason_codes.html (Slurm 22.05 to 25.05) are
known here. One that is not is shown as Slurm says it. The course has this file and its words too, by links in
notebooks/davide_course/cell: so it imports nothing but Python's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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

Words = Mapping[str, str]


def why_waiting(reason: str, words: Words, at: str = "") -> tuple[str, str]:
    """Return of what kind a reason is (`unknown` if it is none that is known), and a clause for "it waits:".

    Parameters
    ----------
    reason
        Slurm's word for it, with details or without.
    words
        What `texts/en/reasons.yml` holds.
    at
        When the job starts, in words, if Slurm has planned that.
    """
    # Slurm adds details: "ReqNodeNotAvail, UnavailableNodes:gpu01".
    name = re.split(r"[,(]", reason.strip("() "))[0].strip() or "None"
    kind = _KIND_OF.get(name)
    if kind == "later" and at:
        return kind, words[f"{name}_at"].format(time=at)
    if kind is not None:
        return kind, words[name]
    return _limit(name, words) or _limit_of_somebody(name, words) or ("unknown", words["unknown"].format(reason=reason))


def _limit(name: str, words: Words) -> tuple[str, str] | None:
    if name == "QOSUsageThreshold":
        return "budget", _said(words, "budget", "QOS", hours="Billing")
    if found := _BUDGET.fullmatch(name):
        return "budget", _said(words, "budget", found[1], hours=found[2] or found[3])
    if found := _GROUP_PLANNED.fullmatch(name):
        return "many", _said(words, "group_planned", found[1], hours=found[2])
    if found := _GROUP.fullmatch(name):
        return "many", _said(words, "group", found[1], what=found[2])
    if found := _TOO_LARGE.fullmatch(name):
        return "large", _said(words, "too_large", found[1], what=found[2])
    return None


def _limit_of_somebody(name: str, words: Words) -> tuple[str, str] | None:
    if found := _PERSON.fullmatch(name):
        return "many", _said(words, "person", "user", what=found[1])
    if found := _OF_ACCOUNT.fullmatch(name):
        return "many", _said(words, "group", "Assoc", what=found[1])
    if found := _OF_USER.fullmatch(name):
        return "many", _said(words, "group_planned", "user", hours=found[1])
    if found := _TOO_SMALL.fullmatch(name):
        return "large", _said(words, "too_small", "QOS", what=found[1])
    if found := _OLD_NAMES.fullmatch(name):
        return "many", _said(words, "group", found[1], what=found[2])
    return None


def _said(words: Words, entry: str, whose: str, **of_what: str) -> str:
    owner = {"QOS": "qos", "user": "user"}.get(whose, "association")
    named = {place: words[f"{place}_{word.lower()}"] for place, word in of_what.items()}
    return words[entry].format(whose=words[f"whose_{owner}"], **named)
