"""Why Slurm keeps a session waiting, in plain words, and what can be done about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from davide_hub.states import Job
from davide_hub.texts import texts_of
from davide_hub.waiting import Words, why_waiting


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


def explain(job: Job, *, of_another: bool = False) -> Explanation:
    """Return why a job waits, and what can be done about it.

    Parameters
    ----------
    job
        The job.
    of_another
        Whether it is read by somebody whose session it is not. What can be done is still said to its owner.
    """
    words = cast(Words, texts_of("reasons"))  # none of them depends on a number
    if of_another:
        words = {**words, **cast(Words, texts_of("reasons_of_another"))}
    kind, why = why_waiting(job.reason, words, "" if job.starts is None else clock(job.starts))
    return Explanation(kind, why, words[f"do_{kind}"])


def clock(moment: float) -> str:
    """Return a time of day, with the day unless it is today."""
    then = time.localtime(moment)
    today = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M" if today else "%H:%M, %d %b", then)
