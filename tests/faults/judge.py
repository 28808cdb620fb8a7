"""What a row came to: which sessions were kept, which were buried, and what was left over."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from faults.people import Person
from faults.scene import Scene

# How long after the end of an outage everything is to be right.
HEALED_SECONDS = 30


@dataclass
class Verdict:
    """A row of the table.

    Attributes
    ----------
    healthy, kept, counted
        Sessions that were to be kept; those that the hub shows as ready on the same job; those whose counter goes on.
    dead, ended, told
        Sessions that died; those that the hub has ended, without a route; those whose user is told the right reason.
    orphans, duplicates
        Jobs without a session; jobs beside that of the session.
    strangers_harmed
        Jobs that were none of the hub's business and are gone.
    seconds
        From the end of the outage until all of it was right; None if it wasn't in time.
    faults
        What was wrong, in sentences.
    """

    row: str
    healthy: int = 0
    kept: int = 0
    counted: int = 0
    dead: int = 0
    ended: int = 0
    told: int = 0
    orphans: int = 0
    duplicates: int = 0
    strangers_harmed: int = 0
    seconds: float | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Say whether nothing was wrong."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "good": self.is_good}


def judge(scene: Scene, row: str, seconds: float = HEALED_SECONDS) -> Verdict:
    """Look again and again until all is right, or the time is up; the last look counts."""
    start = time.monotonic()
    while True:
        verdict = look(scene, row)
        in_time = time.monotonic() - start < seconds
        if verdict.is_good or not in_time:
            _read_counters(verdict, scene)
        if verdict.is_good:
            verdict.seconds = round(time.monotonic() - start, 1)
        if verdict.is_good or not in_time:
            return verdict
        time.sleep(0.5)


def look(scene: Scene, row: str) -> Verdict:
    """Compare what there is with what is to be, once."""
    verdict = Verdict(row)
    expected = scene.expected
    jobs: dict[str, list[str]] = {person.name: [] for person in scene.people}
    everything = scene.slurm.jobs()
    for job in everything:
        if job.user in jobs and job.number not in expected.strangers:
            jobs[job.user].append(job.number)
    lost = expected.strangers - {job.number for job in everything}
    verdict.strangers_harmed = len(lost)
    verdict.faults += [f"job {number}, none of the hub's, is gone" for number in sorted(lost)]
    with ThreadPoolExecutor(4) as pool:
        servers = dict(zip(jobs, pool.map(lambda person: person.server(), scene.people), strict=True))
    routes = scene.routes()
    for person in scene.people:
        server, own = servers[person.name], jobs[person.name]
        if server is None:
            verdict.faults.append(f"the hub says nothing of {person.name}")
            continue
        active, ready = bool(server), bool(server.get("ready")) and not server.get("pending")
        if not active:
            verdict.orphans += len(own)
            verdict.faults += [f"{person.name} has no session, and job {number}" for number in own]
        elif len(own) > 1:
            verdict.duplicates += len(own) - 1
            verdict.faults.append(f"{person.name} has one session, and the jobs {', '.join(own)}")
        _judge_one(verdict, scene, person, ready=ready, active=active, own=own, routed=person.name in routes)
    return verdict


def _judge_one(
    verdict: Verdict, scene: Scene, person: Person, *, ready: bool, active: bool, own: list[str], routed: bool
) -> None:
    expected, name = scene.expected, person.name
    if name in expected.dead:
        verdict.dead += 1
        if active or routed:
            verdict.faults.append(f"{name} is dead and {'still has a route' if routed else 'shown as alive'}")
            return
        verdict.ended += 1
        if re.search(expected.dead[name], page := person.home_page()):
            verdict.told += 1
        else:
            verdict.faults.append(f"{name} is to be told '{expected.dead[name]}', and reads: {page[:200]}")
    elif name in expected.started or (name in expected.settled and active):
        if not (ready and routed and len(own) == 1):
            verdict.faults.append(f"{name} has begun a session, and it is not up")
    elif person.job:
        verdict.healthy += 1
        if ready and routed and own == [person.job]:
            verdict.kept += 1
        else:
            verdict.faults.append(f"{name} has lost the session on job {person.job}")


def _read_counters(verdict: Verdict, scene: Scene) -> None:
    survivors = [person for person in scene.people if person.job and person.name not in scene.expected.dead]
    with ThreadPoolExecutor(4) as pool:
        for person, counts in zip(survivors, pool.map(lambda one: one.counts_on(), survivors), strict=True):
            verdict.counted += counts
            if not counts:
                verdict.faults.append(f"the counter of {person.name} is gone, or out of reach")
