"""One answer for all: a hundred who look cost one question in its time, and an old answer is none."""

from __future__ import annotations

import asyncio

import pytest
from davide_hub.questions import SlurmSilent
from davide_hub.shared import Shared


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slurm:
    def __init__(self) -> None:
        self.asked, self.fails, self.answers = 0, False, asyncio.Event()
        self.answers.set()

    async def ask(self) -> int:
        self.asked += 1
        await self.answers.wait()
        if self.fails:
            raise SlurmSilent("squeue: no")
        return self.asked


@pytest.fixture
def slurm():
    return Slurm()


@pytest.fixture
def clock():
    return Clock()


def shared(slurm, clock, keep=15):
    return Shared(slurm.ask, 15, keep, clock)


def test_a_hundred_who_look_ask_once(slurm, clock):
    async def run():
        one = shared(slurm, clock)
        assert await asyncio.gather(*(one.fresh(1) for _ in range(100))) == [1] * 100
        clock.now = 14.9
        assert [one.last() for _ in range(100)] == [1] * 100
        await asyncio.sleep(0)
        assert slurm.asked == 1

    asyncio.run(run())


def test_nobody_is_shown_an_answer_that_is_too_old(slurm, clock):
    async def run():
        one = shared(slurm, clock)
        await one.fresh(1)
        clock.now = 15
        assert one.last() is None
        assert await one.fresh(1) == 2

    asyncio.run(run())


def test_an_answer_that_may_be_kept_longer_is_shown_while_a_new_one_is_asked(slurm, clock):
    async def run():
        one = shared(slurm, clock, keep=100)
        await one.fresh(1)
        clock.now = 15
        assert one.last() == 1
        await one._round
        assert one.last() == 2

    asyncio.run(run())


def test_a_frozen_slurm_holds_nobody_up_and_is_asked_once(slurm, clock):
    async def run():
        slurm.answers.clear()
        one = shared(slurm, clock)
        assert await asyncio.gather(*(one.fresh(0.05) for _ in range(20))) == [None] * 20
        clock.now = 60
        assert await one.fresh(0.05) is None
        assert slurm.asked == 1, "asked again while it still thinks"
        slurm.answers.set()
        await one._round

    asyncio.run(run())


def test_a_slurm_that_does_not_answer_is_silent_until_it_does(slurm, clock):
    async def run():
        slurm.fails = True
        one = shared(slurm, clock)
        assert await one.fresh(1) is None
        assert one.silent
        clock.now, slurm.fails = 15, False
        assert await one.fresh(1) == 2
        assert not one.silent

    asyncio.run(run())
