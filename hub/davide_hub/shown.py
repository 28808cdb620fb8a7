"""A session as pages list it: to its owner, and to teachers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from davide_hub.facts import Site
from davide_hub.gpu_use import fresh
from davide_hub.idle import warned
from davide_hub.profiles import UnknownProfile, find_partition, find_profile, gpu_type
from davide_hub.reasons import clock, explain
from davide_hub.spawner import DavideSpawner
from davide_hub.states import SUSPENDED, Phase
from davide_hub.texts import text


@dataclass(frozen=True)
class Shown:
    """A session that waits, runs or ends.

    Attributes
    ----------
    user, name
        Whose it is, and which of theirs.
    state
        `waiting`, `running` or `ending`.
    profile, gpu, node, job
        Its profile's title, its GPUs in words, where it runs, its number.
    use
        How busy its GPUs are, or that nobody knows; empty where it has none.
    said
        How far its start is, in a sentence.
    why, starts
        Why it waits, and when Slurm plans to start it.
    since, left, at_work
        Since when it is there, how long it may stay, and when it was last at work; in words.
    suspended
        Whether Slurm lets it stand still.
    idle_left
        Minutes until it is ended for doing nothing; None if that is not near.
    """

    user: str
    name: str
    state: str
    profile: str
    gpu: str
    use: str
    node: str
    job: str
    said: str
    why: str
    starts: str
    since: str
    left: str
    at_work: str
    suspended: bool = False
    idle_left: int | None = None

    @property
    def handle(self) -> str:
        """How a form names it."""
        return f"{self.user}/{self.name}"


def shown(spawner: DavideSpawner, *, of_another: bool = False) -> Shown:
    """Return a session as pages list it: to its owner, or to another who may see it."""
    job = spawner.proof.view.last(spawner.job_id)
    state = "ending" if spawner.pending == "stop" else "running" if spawner.ready else "waiting"
    found = explain(job, of_another=of_another) if job.phase is Phase.WAITING else None
    begun = job.starts if state == "running" else job.submitted
    return Shown(
        user=spawner.user.name,
        name=spawner.name,
        state=state,
        profile=_title(spawner.site, spawner.profile_name),
        gpu=gpu_of(spawner.site, spawner),
        use=_use(spawner) if state == "running" else "",
        node=spawner.node or job.node,
        job=spawner.job_id,
        said=_sentence(text("pending.waits", job=spawner.job_id, why=found.why) if found else spawner.news.message),
        why=found.why if found else spawner.news.message,
        starts=clock(job.starts) if found and job.starts else "",
        since=clock(begun or spawner.asked_at) if begun or spawner.asked_at else "",
        left=left(job.ends) if state == "running" else "",
        at_work=_at_work(spawner),
        suspended=state == "running" and job.state in SUSPENDED,
        idle_left=warned(spawner),
    )


def _sentence(words: str) -> str:
    return f"{words.rstrip('.')}."


def all_shown(spawners: Iterable[DavideSpawner], reader: str) -> list[Shown]:
    """Return those sessions that wait, run or end, the default one first, as somebody is to read it."""
    there = (shown(one, of_another=one.user.name != reader) for one in spawners if one.active or one.pending)
    return sorted(there, key=lambda one: (one.user, one.name))


def own_sessions(user: Any) -> list[Shown]:
    """Return a user's sessions; for templates."""
    return all_shown(user.spawners.values(), user.name)


def free_name(user: Any) -> str | None:
    """Return the name of one more session of a user, None if there may be no more; for templates."""
    active = [one for one in user.spawners.values() if one.active or one.pending]
    if not active or len(active) >= user.spawner.site.session.per_user:
        return None
    taken = {one.name for one in active}
    if "" not in taken:
        return ""
    return next(name for name in (f"session-{number}" for number in range(2, 100)) if name not in taken)


def left(ends: int | None) -> str:
    """Return how long a session may stay, in words."""
    if ends is None:
        return text("home.left_unknown")
    minutes = max(0, int(ends - time.time()) // 60)
    name = "hours" if minutes >= 60 else "minutes"
    return text("home.left", time=text(f"home.{name}", hours=minutes // 60, minutes=minutes % 60))


def gpus_of(site: Site, spawner: DavideSpawner) -> int:
    """Return how many GPUs a session has: as many as were chosen, else as its profile has, if that is still there."""
    wished = (spawner.user_options or {}).get("gpus")
    if isinstance(wished, int):
        return wished
    return next((one.gpus for one in site.profiles if one.name == spawner.profile_name), 0)


def gpu_of(site: Site, spawner: DavideSpawner) -> str:
    """Return a session's GPUs in words."""
    try:
        profile = find_profile(site.profiles, spawner.profile_name)
    except UnknownProfile:
        return ""
    number = gpus_of(site, spawner)
    kind = gpu_type(profile, find_partition(site.slurm.partitions, profile.partition))
    if not number:
        return text("home.no_gpu")
    return text("home.gpus_of", n=number, kind=kind) if kind else text("home.gpus", n=number)


def _use(spawner: DavideSpawner) -> str:
    if gpus_of(spawner.site, spawner) == 0:
        return ""
    use = fresh(spawner.gpu_use)
    return use.words if use else text("home.gpu_unknown")


def _title(site: Site, name: str) -> str:
    return next((one.title for one in site.profiles if one.name == name), name)


def _at_work(spawner: DavideSpawner) -> str:
    last = spawner.orm_spawner.last_activity
    if last is None or not spawner.ready:
        return ""
    minutes = int(time.time() - last.replace(tzinfo=UTC).timestamp()) // 60
    return text("overview.minutes_ago", n=minutes) if minutes >= 5 else text("overview.now")
