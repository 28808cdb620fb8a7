"""Python's search for garbage, as the hub has it. In a process of its own: it is set for the whole process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from contextlib import suppress

from davide_hub import garbage

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PROGRAM = """
import gc, json
from davide_hub.garbage import settle
settle()
full = []
gc.callbacks.append(lambda phase, found: full.append(found["generation"] == 2))
kept = [[place] for place in range(400_000)]
made = []
made.append(made)
del made
print(json.dumps({"full": any(full), "looked": len(full), "frozen": gc.get_freeze_count(), "found": gc.collect()}))
"""


def test_no_crowd_sets_off_a_full_search():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert told["looked"] > 10, "the young ones are looked at"
    assert not told["full"]
    assert told["frozen"] > 10_000, "what was there before is left out"
    assert told["found"] >= 1, "a full search that somebody asks for still finds what is there"


def searches(monkeypatch, answers, put_off=1000):
    """Return what was asked and done in which order, with the pauses left out; ends at the second long pause."""
    done = []

    async def sleep(seconds):
        done.append(seconds)
        if done.count(600) > 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(garbage, "settle", lambda: None)
    monkeypatch.setattr(garbage, "_PUT_OFF_SECONDS", put_off)
    monkeypatch.setattr(gc, "collect", lambda: done.append("search"))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with suppress(asyncio.CancelledError):
        asyncio.run(garbage.Collector(busy=answers).run())
    return done


def test_a_full_search_waits_until_no_session_starts_or_stops(monkeypatch):
    answers = iter([True, True, False])
    assert searches(monkeypatch, lambda: next(answers)) == [600, 5, 5, "search", 600]


def test_a_hub_that_is_always_busy_searches_all_the_same(monkeypatch):
    assert searches(monkeypatch, lambda: True, put_off=15) == [600, 5, 5, 5, "search", 600]
