"""What jobs used, from the answers of Slurm's accounting: text in, hours out. `report.py` asks and prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from davide_hub.facts import Site

# The name comes last: its owner may write anything into it, what separates the fields too.
FIELDS = ("JobIDRaw", "User", "Account", "Reservation", "Start", "State", "ElapsedRaw", "AllocTRES", "JobName")
_GPUS = re.compile(r"(?:^|,)gres/gpu=([0-9]+)")
# Where accounting stores GPUs by their types only.
_TYPED_GPUS = re.compile(r"(?:^|,)gres/gpu:[^=,]+=([0-9]+)")
_CORES = re.compile(r"(?:^|,)cpu=([0-9]+)")
_SESSION = re.compile(r"jupyter-[0-9a-f]{16}")
NO_COURSE = "(no course)"


class Unreadable(ValueError):  # noqa: N818 - it is what it says
    """Slurm's answer is not one of sacct's."""


@dataclass(frozen=True)
class Used:
    """What one job used within the time that was asked about.

    Attributes
    ----------
    job, user, account, reservation, name
        In Slurm's words.
    day
        On which it began; at the earliest the first day that was asked about.
    runs
        Whether it still runs, as accounting says.
    gpu_seconds, core_seconds
        How much of each it held.
    """

    job: str
    user: str
    account: str
    reservation: str
    name: str
    day: date
    runs: bool
    gpu_seconds: int
    core_seconds: int

    @property
    def kind(self) -> str:
        """What the job is, by its name: a session, a kernel's, or another."""
        if _SESSION.fullmatch(self.name):
            return "sessions"
        return "kernel jobs" if self.name.startswith("jupyter-kernel-") else "other jobs"


def read_jobs(text: str, delimiter: str) -> list[Used]:
    """Return the jobs in sacct's answer that got something.

    Parameters
    ----------
    text
        What it printed, with the fields `FIELDS`, times in seconds since 1970, and the line of headings.
    delimiter
        What stands between two fields.

    Raises
    ------
    Unreadable
        If there is no line of headings: nothing differs then from no answer.
    """
    headings, *lines = text.splitlines() or [""]
    if tuple(headings.split(delimiter)) != FIELDS:
        raise Unreadable(f"sacct printed {headings[:80]!r}")
    rows = (line.split(delimiter, len(FIELDS) - 1) for line in lines)
    # What has fewer fields is the rest of a name with a line break in it.
    return [_used(dict(zip(FIELDS, row, strict=True))) for row in rows if len(row) == len(FIELDS) and row[7]]


def _used(row: dict[str, str]) -> Used:
    try:
        seconds, start = int(row["ElapsedRaw"]), int(row["Start"])
    except ValueError:
        raise Unreadable(f"sacct printed {'|'.join(row.values())[:80]!r}") from None
    resources = row["AllocTRES"]
    gpus = _GPUS.search(resources)
    number = int(gpus[1]) if gpus else sum(map(int, _TYPED_GPUS.findall(resources)))
    cores = _CORES.search(resources)
    return Used(
        job=row["JobIDRaw"],
        user=row["User"],
        account=row["Account"],
        reservation=row["Reservation"],
        name=row["JobName"],
        day=datetime.fromtimestamp(start).date(),
        runs=row["State"] == "RUNNING",
        gpu_seconds=number * seconds,
        core_seconds=(int(cores[1]) if cores else 0) * seconds,
    )


def is_ours(site: Site) -> Callable[[Used], bool]:
    """Return whether a job counts: a session or a kernel's, or one that is charged to an account in site.yml."""
    accounts = {site.slurm.account, site.course.account}
    return lambda job: job.account in accounts or job.kind != "other jobs"


def course_of(site: Site) -> Callable[[Used], str]:
    """Return to which course a job belongs.

    The site's course takes what ran in its reservation or on its account, while the course runs; where it has neither,
    everything of those days.
    """
    course = site.course

    def name(job: Used) -> str:
        own = job.reservation == course.reservation or job.account == course.account
        if course.runs_on(job.day) and (own or not (course.reservation or course.account)):
            return course.title
        return NO_COURSE

    return name


@dataclass(frozen=True)
class Sum:
    """What some jobs used together."""

    name: str
    jobs: int
    gpu_hours: float
    core_hours: float


def total(name: str, jobs: Iterable[Used]) -> Sum:
    """Return the sum over some jobs."""
    found = list(jobs)
    gpu, core = sum(job.gpu_seconds for job in found), sum(job.core_seconds for job in found)
    return Sum(name, len(found), round(gpu / 3600, 3), round(core / 3600, 3))


def grouped(jobs: Iterable[Used], key: Callable[[Used], str]) -> list[Sum]:
    """Return a sum for each group of jobs, that with the most GPU-hours first."""
    groups: dict[str, list[Used]] = {}
    for job in jobs:
        groups.setdefault(key(job), []).append(job)
    sums = [total(name, found) for name, found in groups.items()]
    return sorted(sums, key=lambda one: (-one.gpu_hours, -one.core_hours, one.name))
