"""A session that Slurm may have taken twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.spawner import DavideSpawner
from davide_hub.states import Job
from fake_broker import looked
from fake_session import FAILED, RUNS, WAITS, calls_home, in_turn, start_and


def doubtful(session, *jobs: Job, looks: object) -> DavideSpawner:
    spawner = session(*jobs)
    spawner.load_state({"session_key": "ab12", "job_id": "18", "unsure": "yes"})
    spawner.broker.answers["look"] = looks
    return spawner


def test_where_an_attempt_to_submit_failed_there_may_be_another_job(session):
    spawner = session(RUNS)
    spawner.broker.answers["submit"] = in_turn(BrokerUnreachable(), "17")
    asyncio.run(start_and(spawner, calls_home(spawner)))
    assert spawner.saved[-1]["unsure"]


def test_the_end_of_one_job_leaves_a_session_that_has_another(session):
    spawner = doubtful(session, FAILED, looks=looked("17"))
    assert asyncio.run(spawner.poll()) is None
    assert (spawner.job_id, spawner.saved[-1]["job_id"], spawner.proof.forgotten) == ("17", "17", ["18"])


def test_a_job_that_waits_is_not_the_one_of_a_session_that_is_up(session):
    spawner = doubtful(session, WAITS, looks=looked("17"))
    spawner.node = "gpu01"
    assert asyncio.run(spawner.poll()) is None
    assert spawner.job_id == "17"


def test_a_number_that_the_owner_was_told_is_taken_over(session):
    spawner = doubtful(session, replace(RUNS, number="17"), looks=looked("17"))
    assert asyncio.run(spawner.poll()) is None
    assert (spawner.job_id, spawner.broker.verbs()) == ("17", [])


@pytest.mark.parametrize(
    ("looks", "status"),
    [
        (looked("18", "FAILED"), 1),
        (looked("17", "FAILED"), 1),
        (looked("", "GONE", ""), 1),
        (BrokerRefused("unknown_session", "student01 has no session ab12."), 1),
        (BrokerRefused("ended", "This session has ended."), 1),
        (BrokerRefused("busy", "Slurm does not answer."), None),
        (BrokerUnreachable(), None),
    ],
)
def test_without_another_job_the_end_is_the_end_and_silence_is_none(session, looks, status):
    assert asyncio.run(doubtful(session, FAILED, looks=looks).poll()) == status


def test_a_session_without_doubts_asks_nobody_at_its_end(session):
    spawner = session(FAILED)
    spawner.job_id = "18"
    assert asyncio.run(spawner.poll()) == 1
    assert spawner.broker.said == []
