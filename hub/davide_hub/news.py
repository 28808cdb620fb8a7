"""What the page of a starting session tells: one event, which page and stream show alike."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from davide_hub.reasons import explain
from davide_hub.slurm import SlurmView
from davide_hub.states import Job, Phase
from davide_hub.texts import text


@dataclass(frozen=True)
class News:
    """How far a start is.

    Attributes
    ----------
    state
        `asking` before there is a job, `waiting` in the queue, `starting` on a node, `silent` while Slurm is.
    message
        The whole in a sentence.
    kind, why, advice, reason
        Why it waits (see `reasons.Explanation`), and Slurm's own word for that.
    job
        Its number.
    place, places
        Where it stands among the sessions of this hub that wait for the same partition; 0 if that is not known.
    since, starts
        When it was asked for, and when Slurm plans to start it; seconds since 1970.
    """

    state: Literal["asking", "waiting", "starting", "silent"] = "asking"
    message: str = text("pending.asking")
    kind: str = ""
    why: str = ""
    advice: str = ""
    reason: str = ""
    job: str = ""
    place: int = 0
    places: int = 0
    since: int | None = None
    starts: int | None = None

    def event(self) -> dict[str, Any]:
        """Return it as the stream sends it; with the hub's own time, since a browser's clock may be wrong."""
        return asdict(self) | {"now": int(time.time())}


def news_of(job: Job, number: str, view: SlurmView, since: int | None) -> News | None:
    """Return what there is to tell of a job; None if there is nothing new.

    Parameters
    ----------
    job, number
        What is known of it, and its number.
    view
        Slurm's answers: it knows places in the queue, and whether Slurm is silent.
    since
        When the session was asked for, if Slurm does not tell when the job was submitted.
    """
    since = job.submitted or since
    if job.phase is Phase.WAITING:
        found = explain(job)
        place, places = view.place(number) or (0, 0)
        return News(
            "waiting",
            text("pending.waits", job=number, why=found.why),
            kind=found.kind,
            why=found.why,
            advice=found.advice,
            reason=job.reason,
            job=number,
            place=place,
            places=places,
            since=since,
            starts=job.starts,
        )
    if job.phase is Phase.RUNNING:
        message = text("pending.starting", job=number, node=job.node)
        return News("starting", message, job=number, since=since)
    if view.silent:
        return News("silent", text("pending.silent", job=number), job=number, since=since)
    return None
