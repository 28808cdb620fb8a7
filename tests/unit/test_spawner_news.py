"""What the page of a starting session hears, and when."""

from __future__ import annotations

import asyncio

from fake_session import WAITS


def test_the_pending_page_hears_all_there_is_to_know(session):
    spawner = session(WAITS)
    spawner.asked_at = 1764440000

    async def first_two():
        await spawner._look_after_start()
        events = spawner.progress()
        return await anext(events)

    spawner.job_id = "17"
    event = asyncio.run(first_two())
    assert (event["state"], event["job"], event["kind"], event["since"]) == ("waiting", "17", "queue", 1764440000)
    assert event["reason"] == "Resources"
    assert event["advice"]


def test_a_change_wakes_the_pending_page(session, monkeypatch):
    spawner = session(WAITS)
    monkeypatch.setattr("davide_hub.record._AGAIN_SECONDS", 3600)

    async def told():
        events = spawner.progress()
        said = [(await anext(events))["message"]]
        # While the first is on its way to the page.
        spawner._say("one")
        said.append((await anext(events))["message"])
        waits = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        spawner._say("one")
        await asyncio.sleep(0.01)
        assert not waits.done(), "what was told already is no news"
        spawner._say("two")
        async with asyncio.timeout(5):
            return [*said, (await waits)["message"]]

    assert asyncio.run(told())[1:] == ["one", "two"]


def test_the_pending_page_hears_again_that_nothing_has_changed(session, monkeypatch):
    spawner = session(WAITS)
    monkeypatch.setattr("davide_hub.record._AGAIN_SECONDS", 0.01)

    async def twice():
        events = spawner.progress()
        return [await anext(events) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first["message"] == second["message"]
