"""Estimates: asked one at a time and seldom, for all who would be charged alike."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest
from davide_hub import estimates as module
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.estimates import PAUSE_SECONDS, Estimates
from davide_hub.facts import load_site
from davide_hub.plan import Wishes, settle
from fake_broker import FakeBroker

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
ONE, FOUR = (settle(SITE, Wishes(name), date(2026, 3, 2)) for name in ("one-gpu", "four-gpus"))
NEVER = BrokerRefused("slurm", "Requested node configuration is not available")


class Time:
    """A clock that runs only while somebody sleeps."""

    now = 1000.0

    async def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def time(monkeypatch):
    made = Time()
    monkeypatch.setattr(module.asyncio, "sleep", made.sleep)
    return made


def estimates(time, **answers):
    return Estimates(FakeBroker(estimate='{"start": 1234}', **answers), lambda: time.now)


async def done(one):
    await one._worker


def test_nobody_waits_and_the_next_look_knows(time):
    async def run():
        one = estimates(time)
        assert one.look("student01", ONE) is None
        await done(one)
        assert one.look("student02", ONE).start == 1234
        assert one.broker.verbs() == ["estimate"]
        assert one.broker.said[0].user == "student01"

    asyncio.run(run())


def test_they_are_asked_one_at_a_time_with_a_pause(time):
    async def run():
        one = estimates(time)
        for _ in range(50):
            one.look("student01", ONE)
            one.look("student02", FOUR)
        began = time.now
        await done(one)
        assert [asked.profile for asked in one.broker.said] == ["one-gpu", "four-gpus"]
        assert time.now - began == PAUSE_SECONDS

    asyncio.run(run())


def test_what_slurm_refuses_is_told_to_that_user_alone(time):
    async def run():
        one = estimates(time)
        one.broker.answers["estimate"] = NEVER
        one.look("student01", FOUR)
        await done(one)
        assert "not available" in one.look("student01", FOUR).refusal
        assert one.look("student02", FOUR) is None

    asyncio.run(run())


@pytest.mark.parametrize("error", [BrokerUnreachable(), BrokerRefused("busy", "Slurm is silent")])
def test_what_is_not_known_is_not_told(time, error):
    async def run():
        one = estimates(time)
        one.broker.answers["estimate"] = error
        one.look("student01", ONE)
        await done(one)
        assert one.look("student01", ONE) is None

    asyncio.run(run())


def test_an_old_estimate_is_none(time):
    async def run():
        one = estimates(time)
        one.look("student01", ONE)
        await done(one)
        time.now += module.KEEP_SECONDS + 1
        assert one.look("student01", ONE) is None

    asyncio.run(run())
