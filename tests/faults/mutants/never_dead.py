"""A mutant of our hub for the controls: it never declares a session dead, whatever Slurm proves."""

from davide_hub import proof
from davide_hub.states import UNKNOWN, Phase

_true_job = proof.Proof.job


async def _job(self, user, key, number):
    job = await _true_job(self, user, key, number)
    return UNKNOWN if job.phase is Phase.ENDED else job


proof.Proof.job = _job
print("mutant: never_dead", flush=True)
