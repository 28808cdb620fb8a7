"""A batch system in a few lines: first come, first served, with or without backfill. Lesson 11 plays with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Job:
    """What a job asks for, and how long it really takes; times in hours."""

    submitted: float
    gpus: int
    asked: float
    used: float


def day_of_jobs(seed: int, count: int = 300, busy: float = 0.9, gpus: int = 8) -> list[Job]:
    """Return jobs of a cluster with `gpus` GPUs that arrive at random and would keep a share `busy` of it occupied.

    Most are short and small; a few take half of the cluster for hours. Each uses 30 to 100 % of the time it asks for.
    """
    random = np.random.default_rng(seed)
    asked = random.choice([0.5, 1.0, 2.0, 4.0, 8.0], count, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    wide = random.choice([1, 2, 4, 8], count, p=[0.6, 0.2, 0.12, 0.08])
    used = asked * random.uniform(0.3, 1.0, count)
    hours = float(np.sum(used * wide)) / gpus / busy
    submitted = np.sort(random.uniform(0, hours, count))
    rows = zip(submitted, wide, asked, used, strict=True)
    return [Job(float(when), int(width), float(ask), float(use)) for when, width, ask, use in rows]


def all_ask_for(jobs: list[Job], hours: float) -> list[Job]:
    """Return the same jobs, if everybody asked for so many hours instead of what the job needs."""
    return [replace(job, asked=hours) for job in jobs]


def starts(jobs: list[Job], gpus: int, backfill: bool) -> list[float]:
    """Return when each job starts.

    Parameters
    ----------
    jobs
        In the order of their submission.
    gpus
        How many the cluster has.
    backfill
        Whether a job may overtake, if by its asked time it is over before the first in the queue could start anyway.
    """
    began: dict[int, float] = {}
    waiting: list[int] = []
    ends: list[tuple[float, int]] = []
    coming = list(range(len(jobs)))
    now = 0.0
    while coming or waiting:
        next_end = min((end for end, _ in ends), default=np.inf)
        next_job = jobs[coming[0]].submitted if coming else np.inf
        now = min(next_end, next_job)
        ends = [(end, one) for end, one in ends if end > now]
        while coming and jobs[coming[0]].submitted <= now:
            waiting.append(coming.pop(0))
        for one in _chosen(jobs, waiting, [one for _, one in ends], began, gpus, now, backfill):
            began[one] = now
            waiting.remove(one)
            ends.append((now + jobs[one].used, one))
    return [began[one] for one in range(len(jobs))]


def _chosen(
    jobs: list[Job],
    waiting: list[int],
    running: list[int],
    began: dict[int, float],
    gpus: int,
    now: float,
    backfill: bool,
) -> list[int]:
    free = gpus - sum(jobs[one].gpus for one in running)
    promised = sorted((began[one] + jobs[one].asked, jobs[one].gpus) for one in running)
    chosen: list[int] = []
    reserved = np.inf
    for one in waiting:
        job = jobs[one]
        if reserved == np.inf and job.gpus <= free:
            promised = sorted([*promised, (now + job.asked, job.gpus)])
        elif reserved == np.inf:
            # The first that does not fit gets a promise: when enough running jobs will be over, at the latest.
            reserved = _when_free(promised, job.gpus - free)
            if not backfill:
                break
            continue
        elif job.gpus > free or now + job.asked > reserved:
            continue
        chosen.append(one)
        free -= job.gpus
    return chosen


def _when_free(promised: list[tuple[float, int]], needed: int) -> float:
    for end, width in promised:
        needed -= width
        if needed <= 0:
            return end
    return np.inf


def most_in_use(jobs: list[Job], began: list[float]) -> int:
    """Return the largest number of GPUs that ran at once: a schedule is possible only if the cluster has them."""
    changes = [(when, job.gpus) for job, when in zip(jobs, began, strict=True)]
    changes += [(when + job.used, -job.gpus) for job, when in zip(jobs, began, strict=True)]
    return int(np.max(np.cumsum([change for _, change in sorted(changes)])))
