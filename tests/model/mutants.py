"""Our own code with one thought turned wrong, each in one place: what the model must find.

A mutant takes pytest's monkeypatch. In `MUTANTS`, beside its name, stands what is wrong in the nearest world where it
shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from davide_hub.broker import sessions
from davide_hub.broker.ledger import Entry, Ledger
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.proof import Proof
from davide_hub.reconcile import Reconciler
from davide_hub.resume import Resumer
from davide_hub.spawner import DavideSpawner
from davide_hub.states import GONE, UNKNOWN, Job, Phase
from life import Life


def sbatch_runs_before_the_ledger_knows(patch: Any) -> None:
    patch.setattr(Ledger, "intend", lambda _self, entry: replace(entry, state="intended", tries=entry.tries + 1))


def each_attempt_to_submit_is_taken_for_the_first(patch: Any) -> None:
    patch.setattr(SessionKeeper, "_submit_again", lambda self, request, _entry: self._submit_first(request))


def nobody_doubts_an_order_that_was_given_twice(patch: Any) -> None:
    patch.setattr(Entry, "doubtful", False)


def cancelling_forgets_a_session_without_a_number(patch: Any) -> None:
    cancel = SessionKeeper.cancel

    def forgetful(self: SessionKeeper, request: Any) -> str:
        entry = self.ledger.find(request.session_key)
        if entry is not None and not entry.job:
            self.ledger.closed(entry)
            return "gone"
        return cancel(self, request)

    patch.setattr(SessionKeeper, "cancel", forgetful)


def what_comes_late_is_not_waited_for(patch: Any) -> None:
    patch.setattr(sessions, "_LATE_SECONDS", -1)


def absence_is_taken_for_proof(patch: Any) -> None:
    async def gone(*_: Any) -> Job:
        return Job(Phase.ENDED, GONE)

    patch.setattr(Proof, "_ask_owner", gone)


def silence_is_taken_for_proof(patch: Any) -> None:
    job = Proof.job

    async def impatient(self: Proof, *words: str) -> Job:
        told = await job(self, *words)
        return Job(Phase.ENDED, GONE) if told.phase is Phase.UNKNOWN else told

    patch.setattr(Proof, "job", impatient)


def nothing_is_ever_declared_dead(patch: Any) -> None:
    async def lives(*_: Any) -> None:
        return None

    patch.setattr(DavideSpawner, "poll", lives)


def what_slurm_has_forgotten_is_never_buried(patch: Any) -> None:
    async def unknown(*_: Any) -> Job:
        return UNKNOWN

    patch.setattr(Proof, "_ask_owner", unknown)


def a_session_is_taken_up_whatever_its_state_in_the_ledger(patch: Any) -> None:
    settle = Reconciler._settle

    async def trusting(self: Reconciler, entry: Any) -> bool:
        return await settle(self, replace(entry, state="submitted"))

    patch.setattr(Reconciler, "_settle", trusting)


def nobody_looks_for_what_the_database_forgot(patch: Any) -> None:
    async def idle(*_: Any) -> bool:
        return False

    patch.setattr(Reconciler, "_settle", idle)


def an_end_that_the_hub_forgot_is_left_alone(patch: Any) -> None:
    patch.setattr(Reconciler, "_end_again", lambda *_: None)


def a_restarted_hub_waits_for_a_call_home_that_was_heard(patch: Any) -> None:
    async def no(*_: Any) -> bool:
        return False

    patch.setattr(DavideSpawner, "_listens_already", no)


def a_session_has_but_the_job_that_the_hub_knows(patch: Any) -> None:
    async def known(_self: DavideSpawner, job: Job) -> Job:
        return job

    patch.setattr(DavideSpawner, "_other_job", known)


def a_running_session_needs_no_number(patch: Any) -> None:
    take_up = Resumer.take_up

    def hasty(self: Resumer, user: Any, spawner: DavideSpawner) -> None:
        if spawner.node and not spawner.stopping:
            self._watch(user, spawner)
        else:
            take_up(self, user, spawner)

    patch.setattr(Resumer, "take_up", hasty)


def no_job_is_known_by_its_mark(patch: Any) -> None:
    patch.setattr(SessionKeeper, "_belongs", lambda *_: False)


def a_restarted_hub_ends_what_it_finds(patch: Any) -> None:
    def take_up(self: Resumer, user: Any, spawner: DavideSpawner) -> None:
        self._in_background(self._finish_stop(user, spawner))

    patch.setattr(Resumer, "take_up", take_up)


def jobs_do_not_claim_their_session(patch: Any) -> None:
    def starts(self: Life, number: str) -> None:
        job = self.world.jobs[number]
        job.serves = job.key in self.world.secrets
        job.state = "runs" if job.serves else "ended"

    patch.setattr(Life, "_job_starts", starts)


_DOUBLE, _ORPHAN = "two live jobs of one server", "has no owner"
_DEAD, _LOST, _OUT = "believed alive", "was ended that its user wanted", "nobody is let into the server"
MUTANTS = {
    sbatch_runs_before_the_ledger_knows: _DOUBLE,
    each_attempt_to_submit_is_taken_for_the_first: _DOUBLE,
    nobody_doubts_an_order_that_was_given_twice: _DOUBLE,
    cancelling_forgets_a_session_without_a_number: _ORPHAN,
    what_comes_late_is_not_waited_for: _ORPHAN,
    absence_is_taken_for_proof: _ORPHAN,
    silence_is_taken_for_proof: _ORPHAN,
    nothing_is_ever_declared_dead: _DEAD,
    what_slurm_has_forgotten_is_never_buried: "open",
    a_session_is_taken_up_whatever_its_state_in_the_ledger: _ORPHAN,
    nobody_looks_for_what_the_database_forgot: "open",
    an_end_that_the_hub_forgot_is_left_alone: _DOUBLE,
    a_restarted_hub_waits_for_a_call_home_that_was_heard: _OUT,
    a_session_has_but_the_job_that_the_hub_knows: _LOST,
    a_running_session_needs_no_number: _ORPHAN,
    no_job_is_known_by_its_mark: _DOUBLE,
    a_restarted_hub_ends_what_it_finds: _LOST,
    jobs_do_not_claim_their_session: "two servers of one session",
}
