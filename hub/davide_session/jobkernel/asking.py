"""What Slurm says of a session's own jobs.

Imported when somebody first wants to know: it takes 0.2 s, and a kernel whose job starts at once needs no such word.
"""

from __future__ import annotations

from contextlib import suppress

from davide_hub.answers import read_accounting, read_queue
from davide_hub.questions import SlurmSilent
from davide_hub.slurm import SlurmView, ask_here
from davide_hub.states import Job, Phase

__all__ = ["SlurmView", "ended"]


async def ended(number: str) -> Job | None:
    """Return a job that has ended, as Slurm says; None if it does not say that, or nothing."""
    if not number:
        return None
    job, one = None, frozenset({number})
    with suppress(SlurmSilent):
        job = read_queue(await ask_here("queue", one)).get(number)
        if job is None or job.state == "CANCELLED":
            # Accounting tells who cancelled it, and knows those that the queue has forgotten.
            job = read_accounting(await ask_here("accounting", one)).get(number, job)
    return job if job is not None and job.phase is Phase.ENDED else None
