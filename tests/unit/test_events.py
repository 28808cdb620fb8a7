"""One line of JSON for each event, whatever stands in it."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from davide_hub import events


@pytest.fixture
def lines(caplog, monkeypatch):
    monkeypatch.setattr(events._log, "propagate", True)
    caplog.set_level(logging.INFO, "davide_hub.events")
    return lambda: [record.getMessage() for record in caplog.records]


def test_an_event_is_one_line_that_no_text_of_users_can_end(lines):
    events.tell("session.asked", user="student01", server='a\n{"event": "session.up"}\u2028\x85')
    (line,) = lines()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["server"] == 'a\n{"event": "session.up"}\u2028\x85'


def test_what_is_empty_is_left_out(lines):
    events.tell("session.asked", user="student01", server="", job="")
    assert set(json.loads(lines()[0])) == {"event", "time", "user"}


def test_what_a_request_sets_going_has_its_number_and_nobody_else(lines):
    async def request(pause: float) -> str:
        number = events.begin_request()
        await asyncio.sleep(pause)
        await asyncio.create_task(later(number))
        return number

    async def later(number: str) -> None:
        events.tell("session.up", user=number)

    async def both() -> list[str]:
        return await asyncio.gather(request(0.02), request(0.01))

    numbers = asyncio.run(both())
    assert len(set(numbers)) == 2
    events.tell("session.ended")
    told = [json.loads(line) for line in lines()]
    assert all(line["request"] == line["user"] for line in told[:2])
    assert "request" not in told[2]
