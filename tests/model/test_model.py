"""Every interleaving to a depth of twelve comes to rest as it should; and the search finds what is planted.

What is exhaustive: all orders of the events in `life.py` with one mishap among them (a lost reply, a late order, a
silent Slurm, a hub or broker that dies between any two of its steps), to depth 12; and with two, to depth 8. They run
through the real ledger, broker, spawner, resumption and reconciliation. Slurm, disks and JupyterHub's own order of
calls are `world.py` and `hub_process.py`. Nothing is sampled.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.proof import Proof
from davide_hub.reconcile import Reconciler
from davide_hub.resume import Resumer
from davide_hub.spawner import DavideSpawner
from davide_hub.states import GONE, Job, Phase
from life import Life
from search import Found, search

BOUNDS = [(12, 1), (8, 2)]


@pytest.mark.parametrize(("depth", "mishaps"), BOUNDS)
def test_every_way_comes_to_rest_with_one_job_for_a_session_that_is_wanted_and_none_for_another(
    monkeypatch, depth, mishaps
):
    found = search(Life(monkeypatch), depth, mishaps)
    print(f"{found.worlds} worlds, {found.steps} steps")
    assert found.wrong == "", "\n".join(found.way)
    assert found.worlds > 1000, "the search has gone far enough to mean something"


# -- planted bugs: what each takes away is there for a reason


def forget_the_intention(patch):
    """Sbatch is run before anything is written down."""
    patch.setattr(Ledger, "intend", lambda _self, entry: replace(entry, state="intended", tried=1.0))


def never_bury(patch):
    """A session whose job has ended is still alive."""

    async def poll(_self):
        return None

    patch.setattr(DavideSpawner, "poll", poll)


def know_no_job_by_its_mark(patch):
    """No job of Slurm's is known to be a session's."""
    patch.setattr(SessionKeeper, "_belongs", lambda *_: False)


def take_absence_for_proof(patch):
    """A job that Slurm's list leaves out has ended."""

    async def ask_owner(_self, _user, _key):
        return Job(Phase.ENDED, GONE)

    patch.setattr(Proof, "_ask_owner", ask_owner)


def never_compare(patch):
    """Nobody looks at the ledger again."""

    async def once(_self):
        return None

    patch.setattr(Reconciler, "once", once)


def end_what_an_earlier_hub_began(patch):
    """A restarted hub ends what it finds, as JupyterHub does with servers that do not answer at once."""

    def take_up(self, user, spawner):
        self._in_background(self._finish_stop(user, spawner))

    patch.setattr(Resumer, "take_up", take_up)


def claim_nothing(patch):
    """Every job with its session's secrets becomes its server."""

    def job_starts(self, number):
        job = self.world.jobs[number]
        job.serves = job.key in self.world.secrets
        job.state = "runs" if job.serves else "ended"

    patch.setattr(Life, "_job_starts", job_starts)


PLANTED = (
    forget_the_intention,
    know_no_job_by_its_mark,
    take_absence_for_proof,
    never_bury,
    never_compare,
    end_what_an_earlier_hub_began,
    claim_nothing,
)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(monkeypatch, plant):
    life = Life(monkeypatch)
    plant(monkeypatch)
    found: Found = search(life, 9, 2)
    print(found.wrong, "after", "; ".join(found.way))
    assert found.wrong != ""
