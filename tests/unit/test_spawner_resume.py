"""Taking up what an earlier hub began."""

from __future__ import annotations

import asyncio

import pytest
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.spawner import Adoption, DavideSpawner, NeverSubmitted, SessionFailed, digest
from davide_hub.states import UNKNOWN
from fake_broker import looked, recalled
from fake_session import FAILED, RUNS, calls_home, in_turn, start_and, until, url


def resumed(spawner: DavideSpawner, **state):
    spawner.load_state({"session_key": "ab12", "token_digest": digest("t")} | state)
    return spawner.resume()


def test_a_session_that_was_waiting_goes_on_waiting(session):
    spawner = session(RUNS)

    async def scenario():
        resume = asyncio.create_task(resumed(spawner, job_id="17"))
        await until(lambda: spawner.proof.asked)
        await spawner.call_home(40123, "192.0.2.21")
        await resume

    asyncio.run(scenario())
    assert set(spawner.broker.verbs()) <= {"recall"}, "nothing is submitted or looked for"


def test_a_call_home_that_the_last_hub_heard_is_not_waited_for(session):
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = recalled(40123)
    asyncio.run(resumed(spawner, job_id="17"))
    assert (spawner.node, spawner.port, spawner.saved[-1]["port"]) == ("gpu01", 40123, 40123)


def test_while_it_is_not_known_whether_a_session_listens_it_is_waited_for(session):
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = BrokerUnreachable()

    async def scenario():
        resume = asyncio.create_task(resumed(spawner, job_id="17"))
        await until(lambda: len(spawner.broker.said) > 1)
        spawner.broker.answers["recall"] = recalled(40123)
        await resume

    asyncio.run(scenario())
    assert spawner.port == 40123


def test_a_job_whose_number_the_last_hub_never_heard_is_found(session):
    spawner = session(RUNS)
    spawner.broker.answers["look"] = looked("23")

    async def scenario():
        resume = asyncio.create_task(resumed(spawner))
        await until(lambda: spawner.proof.asked)
        await spawner.call_home(40123, "192.0.2.21")
        await resume

    asyncio.run(scenario())
    assert (spawner.job_id, spawner.saved[0]["job_id"]) == ("23", "23")


def test_while_slurm_is_silent_the_search_goes_on(session):
    spawner = session(RUNS)
    silence = [BrokerUnreachable(), BrokerRefused("busy", "Slurm does not answer.")]
    spawner.broker.answers["look"] = in_turn(*silence, looked("23", "FAILED", ""), looked("23", "FAILED", ""))
    spawner.proof.jobs = [FAILED]
    with pytest.raises(SessionFailed, match="ended before JupyterLab was up"):
        asyncio.run(resumed(spawner))
    assert spawner.broker.verbs() == ["look"] * 4 + ["log"], "three for its number, one for another job of its own"


def test_a_session_that_slurm_never_heard_of_is_closed_before_a_new_one(session):
    spawner = session(UNKNOWN)
    spawner.broker.answers["look"] = looked("", "GONE", "")
    with pytest.raises(NeverSubmitted):
        asyncio.run(resumed(spawner))
    assert spawner.broker.verbs() == ["look", "cancel"]


@pytest.mark.parametrize("cancel", ["gone", BrokerRefused("no_ticket", "student01 has no session ab12.")])
def test_a_session_that_the_broker_never_heard_of_is_closed_all_the_same(session, cancel):
    spawner = session(UNKNOWN)
    spawner.broker.answers["cancel"] = cancel
    spawner.broker.answers["look"] = BrokerRefused("unknown_session", "student01 has no session ab12.")
    with pytest.raises(NeverSubmitted):
        asyncio.run(resumed(spawner))
    assert spawner.broker.verbs() == ["look", "cancel"], "a late order for it is refused from now on"


ADOPTION = Adoption("cd34", "23", "no-gpu", "its own token")


def test_a_running_session_is_adopted_with_its_own_token(session):
    spawner = session(UNKNOWN, RUNS)
    spawner.broker.answers["recall"] = recalled(40123)
    spawner.to_adopt = ADOPTION
    assert asyncio.run(spawner.start()) == url(spawner, "gpu01", 40123)
    assert (spawner.session_key, spawner.job_id, spawner.profile_name) == ("cd34", "23", "no-gpu")
    assert (spawner.api_token, spawner.token_digest) == ("its own token", digest("its own token"))
    assert set(spawner.broker.verbs()) == {"recall"}, "nothing is submitted"


def test_an_adopted_session_that_has_not_called_yet_is_waited_for(session):
    spawner = session(RUNS)
    spawner.to_adopt = ADOPTION
    assert asyncio.run(start_and(spawner, calls_home(spawner, 41000))) == url(spawner, "gpu01", 41000)


def test_a_session_that_ends_while_it_is_adopted_has_ended(session):
    spawner = session(FAILED)
    spawner.to_adopt = ADOPTION
    with pytest.raises(SessionFailed, match="ended before JupyterLab was up"):
        asyncio.run(spawner.start())


def test_an_adopted_session_keeps_its_profile(session):
    spawner = session(RUNS)
    spawner.to_adopt = ADOPTION
    spawner.profile_name = "no-gpu"
    spawner.apply_user_options(None, {})
    assert spawner.profile_name == "no-gpu"
