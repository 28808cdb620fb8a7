"""How long a session may take to start: what counts, and what is asked before it is given up."""

from __future__ import annotations

import asyncio

import pytest
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.listening import runs_since
from davide_hub.spawner import SessionFailed
from davide_hub.states import UNKNOWN, Job, Phase
from fake_broker import recalled
from fake_session import RUNS, WAITS, calls_home, in_turn, start_and, until, url

SUSPENDED = Job(Phase.RUNNING, "SUSPENDED", "gpu01")


def test_a_server_that_nobody_could_hear_is_up_by_its_own_note(session, hours):
    """A network that is out between nodes and hub, or a hub that was frozen."""
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = recalled(40123)
    assert asyncio.run(spawner.start()) == url(spawner, "gpu01", 40123)
    assert spawner.broker.verbs() == ["submit", "recall"], "it is asked when time is up, and not before"


@pytest.mark.parametrize(
    "silence",
    [
        BrokerUnreachable(),
        BrokerRefused("busy", "Slurm does not answer."),
        BrokerRefused("failed", "The session's secrets are gone."),
    ],
)
def test_while_nobody_can_tell_whether_it_listens_it_is_not_given_up(session, hours, silence):
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = in_turn(silence, silence, recalled(40123))
    assert asyncio.run(spawner.start()) == url(spawner, "gpu01", 40123)


def test_a_server_whose_node_is_not_known_is_waited_for(session, hours):
    spawner = session(Job(Phase.RUNNING, "RUNNING"))
    spawner.broker.answers["recall"] = recalled(40123)

    async def node_is_told():
        await until(lambda: spawner.broker.verbs().count("recall") > 1)
        spawner.proof.jobs = [RUNS]

    assert asyncio.run(start_and(spawner, node_is_told)) == url(spawner, "gpu01", 40123)


def test_who_has_noted_nothing_or_was_ended_is_given_up(session, hours):
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = BrokerRefused("ended", "This session was ended already.")
    with pytest.raises(SessionFailed, match="did not come up on gpu01 within 5 minutes"):
        asyncio.run(spawner.start())


@pytest.mark.parametrize("held", [SUSPENDED, WAITS, UNKNOWN], ids=lambda job: job.state or "unknown")
def test_time_in_which_the_job_does_not_run_does_not_count(session, hours, held):
    """The clock begins anew: else the next look at it would be one too many."""
    spawner = session(RUNS, held, held, RUNS)

    async def call_at_last():
        await until(lambda: len(spawner.proof.asked) > 3)
        await calls_home(spawner)()

    assert asyncio.run(start_and(spawner, call_at_last))
    assert "recall" not in spawner.broker.verbs()


def test_a_job_that_stays_suspended_is_waited_for(session, hours):
    spawner = session(RUNS, SUSPENDED)

    async def call_at_last():
        await until(lambda: len(spawner.proof.asked) > 5)
        await calls_home(spawner)()

    assert asyncio.run(start_and(spawner, call_at_last))


def test_the_clock_counts_from_the_first_sight_of_a_run_without_a_break():
    assert runs_since(RUNS, None, 10.0) == 10.0
    assert runs_since(RUNS, 10.0, 20.0) == 10.0
    for held in (SUSPENDED, Job(Phase.RUNNING, "STOPPED", "gpu01"), WAITS, UNKNOWN):
        assert runs_since(held, 10.0, 20.0) is None


# -- a job that Slurm started anew under its number


def up(session, *jobs: Job, other_port: int):
    spawner = session(*jobs)
    spawner.job_id, spawner.session_key = "17", "ab12"
    spawner.node, spawner.port, spawner.other_port = "gpu01", 40123, other_port
    return spawner


def test_a_session_whose_job_has_another_server_has_ended(session):
    spawner = up(session, RUNS, other_port=41000)
    spawner.broker.answers["recall"] = recalled(41000)
    assert asyncio.run(spawner.poll()) == 1
    assert (spawner.ended_as, "put back into the queue" in spawner.ended) == ("requeued", True)
    assert not spawner._proved, "its job still runs: it is cancelled"
    spawner.clear_state()
    assert spawner.other_port == 0


def test_a_call_from_a_port_that_no_server_has_noted_ends_nothing(session):
    spawner = up(session, RUNS, other_port=41000)
    spawner.broker.answers["recall"] = recalled(40123)
    assert asyncio.run(spawner.poll()) is None
    assert asyncio.run(spawner.poll()) is None
    assert spawner.broker.verbs() == ["recall"], "nor is it asked about again"


def test_while_nobody_can_tell_whether_there_is_another_server_the_session_lives(session):
    spawner = up(session, RUNS, other_port=41000)
    spawner.broker.answers["recall"] = in_turn(BrokerUnreachable(), recalled(41000))
    assert asyncio.run(spawner.poll()) is None
    assert asyncio.run(spawner.poll()) == 1


@pytest.mark.parametrize("job", [RUNS, UNKNOWN])
def test_without_such_a_call_nobody_is_asked(session, job):
    spawner = up(session, job, other_port=0)
    assert asyncio.run(spawner.poll()) is None
    assert spawner.broker.said == []
