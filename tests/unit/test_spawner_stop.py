"""Stopping a session in every stage, and what an end leaves behind."""

from __future__ import annotations

import asyncio

import pytest
from davide_hub import spawner as module
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.spawner import DavideSpawner
from davide_hub.states import UNKNOWN
from fake_session import FAILED, RUNS, TIMED_OUT, WAITS, until
from sqlalchemy.exc import OperationalError


def test_stop_while_pending_cancels_the_session(session):
    spawner = session(WAITS)

    async def scenario():
        start = asyncio.create_task(spawner.start())
        await until(lambda: spawner.job_id)
        start.cancel()
        await spawner.stop()

    asyncio.run(scenario())
    assert spawner.broker.verbs() == ["submit", "cancel"]
    assert spawner.saved[-1]["stopping"]


def test_stop_while_the_broker_is_silent_gives_up_the_submission(session):
    spawner = session(UNKNOWN)
    spawner.broker.answers["submit"] = BrokerRefused("busy", "Slurm does not answer.")

    async def scenario():
        start = asyncio.create_task(spawner.start())
        await until(lambda: spawner.broker.said)
        start.cancel()
        await spawner.stop()

    asyncio.run(scenario())
    assert spawner.broker.verbs()[-1] == "cancel"
    assert set(spawner.broker.verbs()[:-1]) == {"submit"}


def test_stop_in_the_middle_of_the_submission_cancels_what_comes_of_it(session):
    spawner = session(FAILED)

    async def scenario():
        reply = asyncio.Event()

        async def slow():
            await reply.wait()
            return "17"

        spawner.broker.answers["submit"] = slow
        start = asyncio.create_task(spawner.start())
        await until(lambda: spawner.broker.said)
        start.cancel()
        alive = await spawner.poll()
        stop = asyncio.create_task(spawner.stop())
        reply.set()
        await stop
        return alive

    assert asyncio.run(scenario()) is None
    assert spawner.broker.verbs() == ["submit", "cancel"]


def test_stop_goes_on_until_the_broker_is_back(session, monkeypatch):
    spawner = session(FAILED)
    spawner.job_id, spawner.session_key = "17", "ab12"
    spawner.broker.answers["cancel"] = BrokerUnreachable()
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            spawner.broker.answers["cancel"] = "17"

    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(module.asyncio, "sleep", pause)
    asyncio.run(spawner.stop())
    assert spawner.broker.verbs() == ["cancel"] * 4
    assert pauses == [1.0, 2.0, 4.0]


def test_stop_needs_no_database(session, monkeypatch):
    spawner = session(RUNS)
    spawner.job_id, spawner.session_key = "17", "ab12"

    def locked(_spawner):
        raise OperationalError("UPDATE spawners", {}, Exception("database is locked"))

    monkeypatch.setattr(DavideSpawner, "_save", locked)
    asyncio.run(spawner.stop())
    assert spawner.broker.verbs() == ["cancel"]


@pytest.mark.parametrize("kind", ["unknown_session", "no_ticket"])
def test_stop_does_not_wait_for_what_will_never_mend(session, kind):
    spawner = session(RUNS)
    spawner.job_id, spawner.session_key = "17", "ab12"
    spawner.broker.answers["cancel"] = BrokerRefused(kind, "student01 has no session ab12.")
    asyncio.run(spawner.stop())
    assert spawner.broker.verbs() == ["cancel"]


@pytest.mark.parametrize(("job", "verb"), [(TIMED_OUT, "close"), (WAITS, "cancel")], ids=["ended", "requeued"])
def test_a_session_that_ended_by_itself_is_closed_and_its_token_revoked(session, monkeypatch, job, verb):
    revoked = []
    monkeypatch.setattr(DavideSpawner, "_revoke_token", lambda _self: revoked.append(True))
    spawner = session(job)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"

    async def scenario():
        assert await spawner.poll() == 1
        await spawner.run_post_stop_hook()

    asyncio.run(scenario())
    assert (spawner.broker.verbs(), revoked) == ([verb], [True])


@pytest.mark.parametrize("error", [BrokerUnreachable(), BrokerRefused("busy", "Too many people.")])
def test_a_token_is_revoked_even_if_the_broker_is_silent(session, monkeypatch, error):
    revoked = []
    monkeypatch.setattr(DavideSpawner, "_revoke_token", lambda _self: revoked.append(True))
    spawner = session(FAILED)
    spawner.session_key = "ab12"
    spawner.broker.answers["close"] = error
    asyncio.run(spawner.run_post_stop_hook())
    assert revoked == [True]
