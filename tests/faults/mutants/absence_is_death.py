"""A mutant of our hub for the controls: a job that Slurm's list leaves out is taken for dead at once."""

from davide_hub import proof, slurm
from davide_hub.states import GONE, Job, Phase

_true_job = proof.Proof.job
_true_read = slurm.read_queue


async def _job(self, user, key, number):
    await self.view.look(number)
    if self.view.missing(number):
        return Job(Phase.ENDED, GONE)
    return await _true_job(self, user, key, number)


def _read_queue(outcome):
    # Its other half: an answer without any line is an answer.
    return _true_read(outcome) if outcome.out.strip() else {}


proof.Proof.job = _job
slurm.read_queue = _read_queue
print("mutant: absence_is_death", flush=True)
