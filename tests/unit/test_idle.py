"""Who is idle, who is at work, and who is not known: only the first are ended, and never without a warning."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from davide_hub import idle
from davide_hub.idle import IdleWatch, Report, heard_now, minutes_left, warned

LIMIT = 60


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that the test turns, in seconds."""
    now = SimpleNamespace(seconds=10_000.0)
    monkeypatch.setattr(idle, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def session(clock, *, idle_minutes=0.0, heard_minutes=0.0, started_minutes=600, limit=LIMIT, **more):
    """Return a session that was at work so many minutes ago, and said so."""
    now = datetime.now(UTC)
    worked = now.timestamp() - 60 * idle_minutes
    report = Report(clock.seconds - 60 * heard_minutes, worked, clock.seconds - 60 * idle_minutes)
    profile = SimpleNamespace(name="one-gpu", idle_minutes=limit)
    defaults = {
        "site": SimpleNamespace(profiles=[profile]),
        "profile_name": "one-gpu",
        "report": report,
        "ready": True,
        "active": True,
        "pending": None,
        "stopping": "",
        "session_key": "k",
        "_log_name": "student01",
        "orm_spawner": SimpleNamespace(started=(now - timedelta(minutes=started_minutes)).replace(tzinfo=None)),
    }
    return SimpleNamespace(**(defaults | more))


def test_the_time_runs_from_the_last_activity(clock):
    assert minutes_left(session(clock, idle_minutes=50)) == pytest.approx(10, abs=0.1)


def test_a_session_that_has_just_begun_is_not_idle(clock):
    assert minutes_left(session(clock, idle_minutes=500, started_minutes=1)) == pytest.approx(59, abs=0.1)


@pytest.mark.parametrize(
    "more",
    [{"limit": None}, {"report": None}, {"heard_minutes": 16}, {"ready": False}, {"profile_name": "gone"}],
    ids=["no limit", "never reported", "silent for long", "not up", "no such profile"],
)
def test_unknown_is_not_idle(clock, more):
    assert minutes_left(session(clock, idle_minutes=600, **more)) is None


@pytest.mark.parametrize(("minutes", "told"), [(54, None), (56, 4), (59.9, 1), (70, 1)])
def test_the_pages_warn_in_the_last_five_minutes(clock, minutes, told):
    assert warned(session(clock, idle_minutes=minutes)) == told


@pytest.fixture
def rounds(clock, monkeypatch):
    """Return a function that lets the watch look at a session once, and says how it was ended, if it was."""
    ended = []

    async def end(_app, _user, spawner, ending):
        ended.append(ending)
        spawner.stopping = "yes"

    monkeypatch.setattr(idle, "end_session", end)
    app = SimpleNamespace(users={})
    watch = IdleWatch(app)

    def once(spawner):
        app.users["student01"] = SimpleNamespace(spawners={"": spawner})
        asyncio.run(watch.once())
        return [one.kind for one in ended]

    return once


def test_who_is_idle_is_ended_after_a_warning(clock, rounds):
    assert rounds(session(clock, idle_minutes=56)) == []
    clock.seconds += 301
    assert rounds(session(clock, idle_minutes=61)) == ["idle"]


def test_who_is_found_idle_by_a_new_hub_is_warned_first(clock, rounds):
    assert rounds(session(clock, idle_minutes=600)) == []
    clock.seconds += 299
    assert rounds(session(clock, idle_minutes=605)) == []
    clock.seconds += 2
    assert rounds(session(clock, idle_minutes=605)) == ["idle"]


def test_one_run_cell_after_the_warning_keeps_the_session(clock, rounds):
    rounds(session(clock, idle_minutes=56))
    clock.seconds += 301
    assert rounds(session(clock, idle_minutes=1)) == []
    clock.seconds += 301
    assert rounds(session(clock, idle_minutes=61)) == []  # a new warning first


def test_who_falls_silent_after_the_warning_is_left_alone(clock, rounds):
    rounds(session(clock, idle_minutes=59))
    clock.seconds += 1200
    assert rounds(session(clock, idle_minutes=79, heard_minutes=20)) == []


def test_who_is_ending_is_not_ended_again(clock, rounds):
    rounds(session(clock, idle_minutes=61, stopping="yes"))
    clock.seconds += 600
    assert rounds(session(clock, idle_minutes=71, stopping="yes")) == []


@pytest.fixture
def behind(clock, rounds):
    """Return a function that lets a node report that is 90 minutes behind the hub; it says how the session ended."""
    spawner = session(clock, report=None)
    began, node = clock.seconds, spawner.orm_spawner.started.replace(tzinfo=UTC).timestamp() + 3600 * 8.5

    def report(worked_at):
        spawner.report = heard_now(spawner.report, node + worked_at - began)
        return rounds(spawner)

    return report


def test_a_hub_whose_clock_is_ahead_ends_nobody_at_work(clock, behind):
    for _ in range(40):
        assert behind(clock.seconds) == []
        clock.seconds += 300


def test_a_hub_whose_clock_is_ahead_still_ends_who_does_nothing(clock, behind):
    began = clock.seconds
    for _ in range(11):
        assert behind(began) == []
        clock.seconds += 300
    # After an hour, of which five minutes may have passed before the hub was told.
    assert behind(began) == ["idle"]
