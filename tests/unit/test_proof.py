"""Only a proof ends a session: a final state, or an owner who says twice that there is no job."""

from __future__ import annotations

import asyncio
import threading

import pytest
from davide_hub import proof as module
from davide_hub import who
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.proof import Proof
from davide_hub.states import GONE, UNKNOWN, Job, Phase
from fake_broker import FakeBroker, looked

RUNS = Job(Phase.RUNNING, "RUNNING", "gpu01", uid=6001)
FAILED = Job(Phase.ENDED, "FAILED", "gpu01", uid=6001)


class View:
    """A view of Slurm with the jobs it is given; any other is missing."""

    silent = False

    def __init__(self, **jobs: Job) -> None:
        self.jobs = jobs

    async def look(self, number: str) -> Job:
        return self.jobs.get(f"j{number}", UNKNOWN)

    def missing(self, number: str) -> bool:
        return not self.silent and f"j{number}" not in self.jobs


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def directory(monkeypatch):
    uids = {"student01": 6001, "student02": 6002}
    monkeypatch.setattr(who, "_uid", uids.get)
    return uids


def made(view: View, **answers) -> Proof:
    return Proof(view, FakeBroker(**answers), Clock())


def tell(proof: Proof, number: str = "17", key: str = "ab12") -> Job:
    return asyncio.run(proof.job("student01", key, number))


def test_what_the_list_says_is_believed_and_nobody_else_asked():
    proof = made(View(j17=RUNS))
    assert tell(proof) == RUNS
    assert proof.broker.said == []


def test_a_final_state_is_proof():
    assert tell(made(View(j17=FAILED))) == FAILED


def test_a_silent_slurm_is_no_reason_to_ask_owners():
    view = View()
    view.silent = True
    proof = made(view)
    assert tell(proof) == UNKNOWN
    assert proof.broker.said == []


def test_a_job_left_out_of_the_list_is_asked_of_its_owner():
    proof = made(View(), look=looked(state="RUNNING", node="gpu02"))
    assert tell(proof) == Job(Phase.RUNNING, "RUNNING", "gpu02", uid=6001)
    assert proof.broker.verbs() == ["look"]


def test_an_owners_word_of_an_end_counts_at_once():
    assert tell(made(View(), look=looked(state="TIMEOUT"))).phase is Phase.ENDED


def test_gone_counts_when_it_was_said_twice():
    proof = made(View(), look=looked(state=GONE))
    assert tell(proof) == UNKNOWN
    proof.clock.now += module._PAUSE_SECONDS - 1
    assert tell(proof) == UNKNOWN
    assert proof.broker.verbs() == ["look"], "and not before some time has passed"
    proof.clock.now += 2
    assert tell(proof).state == GONE
    assert tell(proof).phase is Phase.UNKNOWN, "a word is not repeated without asking"


def test_gone_and_back_again_is_alive():
    proof = made(View(), look=looked(state=GONE))
    tell(proof)
    proof.clock.now += 30
    proof.broker.answers["look"] = looked()
    assert tell(proof).phase is Phase.RUNNING
    proof.clock.now += 30
    proof.broker.answers["look"] = looked(state=GONE)
    assert tell(proof) == UNKNOWN, "the first word of a new absence"


def test_a_job_that_is_listed_again_needs_no_owners_word():
    proof = made(View(), look=looked(state=GONE))
    tell(proof)
    proof.view.jobs["j17"] = RUNS
    assert tell(proof) == RUNS
    del proof.view.jobs["j17"]
    proof.clock.now += 30
    assert tell(proof) == UNKNOWN, "what was heard before it came back does not count"


@pytest.mark.parametrize("error", [BrokerRefused("busy", "Slurm does not answer."), BrokerUnreachable()])
def test_an_owner_who_cannot_be_asked_says_nothing(error):
    proof = made(View(), look=error)
    for _ in range(5):
        assert tell(proof) == UNKNOWN
        proof.clock.now += 60


def test_what_an_owner_said_counts_for_two_minutes():
    proof = made(View())
    assert tell(proof).phase is Phase.RUNNING
    proof._next = float("inf")
    proof.clock.now += module._KEEP_SECONDS - 1
    assert tell(proof).phase is Phase.RUNNING
    proof.clock.now += 2
    assert tell(proof) == UNKNOWN


def test_owners_are_asked_one_at_a_time_and_each_has_a_turn():
    proof = made(View())
    minutes = 5
    for _ in range(minutes * 12):
        for key in ("a1", "b2", "c3"):
            tell(proof, key=key)
        proof.clock.now += 5
    asked = [request.session_key for request in proof.broker.said]
    assert len(asked) <= 1 + minutes * 60 / module._PAUSE_SECONDS
    assert min(asked.count(key) for key in ("a1", "b2", "c3")) >= len(asked) // 3 - 1


def test_a_number_that_a_stranger_has_by_now_says_nothing_about_ours():
    strangers = Job(Phase.ENDED, "COMPLETED", "gpu02", uid=6002)
    proof = made(View(j17=strangers), look=looked(state=GONE))
    assert tell(proof) == UNKNOWN
    proof.clock.now += 30
    assert tell(proof).state == GONE


def test_while_the_directory_is_silent_the_list_is_believed(directory):
    directory.clear()
    assert tell(made(View(j17=RUNS))) == RUNS


def test_a_hanging_directory_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(who, "_DIRECTORY_SECONDS", 0.01)
    back = threading.Event()
    monkeypatch.setattr(who, "_uid", lambda _user: back.wait(10) and 6001)
    proof = made(View())

    async def scenario():
        hung = await proof.uid_of("student01")
        back.set()
        return hung, await proof.uid_of("student01")

    assert asyncio.run(scenario()) == (None, 6001)


def test_a_uid_is_looked_up_once(directory):
    proof = made(View())
    assert asyncio.run(proof.uid_of("student01")) == 6001
    directory.clear()
    assert asyncio.run(proof.uid_of("student01")) == 6001


def test_a_session_that_the_broker_saw_end_is_gone_although_its_user_is_not_logged_in():
    proof = made(View(), look=BrokerRefused("ended", "This session has ended."))
    assert tell(proof) == UNKNOWN
    proof.clock.now += module._PAUSE_SECONDS
    assert tell(proof).phase is Phase.ENDED
