"""What is counted of a session."""

from __future__ import annotations

import asyncio

import pytest
from davide_hub import counted
from davide_hub.broker.client import BrokerRefused
from davide_hub.spawner import DavideSpawner, SessionFailed
from fake_session import RUNS, TIMED_OUT, start_and


def counts() -> dict[tuple[str, ...], float]:
    families = [family for one in (counted.STARTS, counted.FAILURES, counted.ENDS) for family in one.collect()]
    samples = [sample for family in families for sample in family.samples if sample.name.endswith("_total")]
    return {(one.name, *one.labels.values()): one.value for one in samples}


def grown(before) -> dict[tuple[str, ...], float]:
    return {key: value - before.get(key, 0) for key, value in counts().items() if value != before.get(key, 0)}


@pytest.fixture
def tokenless(monkeypatch):
    monkeypatch.setattr(DavideSpawner, "_revoke_token", lambda _self: None)


def test_a_start_that_succeeds_is_counted(session):
    before, spawner = counts(), session(RUNS)
    asyncio.run(start_and(spawner, lambda: spawner.call_home(40000, "192.0.2.21")))
    assert grown(before) == {("davide_session_starts_total", "one-gpu"): 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BrokerRefused("slurm", "Slurm refused the session: Invalid account"), "account"),
        (RuntimeError("a slip of ours"), "error"),
    ],
)
def test_a_start_that_fails_is_counted_once_by_its_reason(session, tokenless, answer, reason):
    before, spawner = counts(), session(RUNS)
    spawner.broker.answers["submit"] = answer

    async def scenario():
        with pytest.raises((SessionFailed, RuntimeError)):
            await spawner.start()
        await spawner.run_post_stop_hook()
        spawner.clear_state()
        await spawner.run_post_stop_hook()

    asyncio.run(scenario())
    assert grown(before) == {("davide_session_failures_total", reason): 1}


@pytest.mark.parametrize(("job", "reason"), [(TIMED_OUT, "time_limit"), (RUNS, "stopped")])
def test_an_end_is_counted_by_its_reason(session, tokenless, job, reason):
    before, spawner = counts(), session(job)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"

    async def scenario():
        if await spawner.poll() is None:
            await spawner.stop()
        await spawner.run_post_stop_hook()

    asyncio.run(scenario())
    assert grown(before) == {("davide_session_ends_total", reason): 1}
