"""The use of a session's GPUs: what the session tells, and what the hub takes and shows of it."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace

import pytest
from davide_hub import callhome, gpu_use
from davide_hub.gpu_use import GpuUse, GpuUseHandler, Unreadable, fresh, read_use
from davide_hub.spawner import digest
from davide_session import use
from davide_session.gpus import Gpu, GpuNews
from davide_session.use import UseReport
from fake_hub import STRANGERS_TOKEN, TOKEN, FakeHub
from tornado import web

GIB = 2**30
HALF_BUSY = {"use_percent": 50, "memory_used_mb": 3072, "memory_mb": 16384}


def body(*gpus):
    return {"gpus": list(gpus)}


# -- what the hub takes


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ([HALF_BUSY], "50 %, 3.0 of 16 GB"),
        ([HALF_BUSY, HALF_BUSY | {"use_percent": 0, "memory_used_mb": 0}], "50, 0 %, 3.0 of 32 GB"),
        ([HALF_BUSY | {"use_percent": None}], "3.0 of 16 GB of memory"),
        ([HALF_BUSY | {"use_percent": None}, HALF_BUSY], "?, 50 %, 6.0 of 32 GB"),
    ],
)
def test_a_report_is_shown_in_words(gpus, words):
    assert read_use(body(*gpus), 0.0).words == words


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        body(),
        body(*[HALF_BUSY] * 65),
        body(HALF_BUSY) | {"user": "student02"},
        body(HALF_BUSY | {"name": "<b>"}),
        body({"use_percent": 1}),
        body("50"),
        {"gpus": {"0": HALF_BUSY}},
        *(body(HALF_BUSY | {"use_percent": wrong}) for wrong in (101, -1, "50", 50.5, True, "<script>")),
        *(body(HALF_BUSY | {"memory_mb": wrong}) for wrong in (None, 2**40, -1, "16 GB")),
    ],
)
def test_anything_but_numbers_within_bounds_is_refused(told):
    with pytest.raises(Unreadable, match="the body is to be"):
        read_use(told, 0.0)


def test_an_old_report_is_not_shown(monkeypatch):
    now = time.monotonic()
    told = read_use(body(HALF_BUSY), now)
    assert fresh(told) is told
    monkeypatch.setattr(gpu_use, "time", SimpleNamespace(monotonic=lambda: now + 271))
    assert fresh(told) is None
    assert fresh(None) is None


def report(monkeypatch, *, token="own", told=None, before=None, size=100):  # noqa: S107
    """Report to the handler as whoever has a token; return the session."""
    session = SimpleNamespace(token_digest=digest("own"), gpu_use=before)
    others = SimpleNamespace(token_digest=digest("of another session"), gpu_use=None)
    monkeypatch.setattr(callhome, "User", SimpleNamespace)
    handler = SimpleNamespace(
        get_auth_token=lambda: token,
        get_json_body=lambda: told or body(HALF_BUSY),
        current_user=SimpleNamespace(spawners={"other": others, "": session}) if token else None,
        request=SimpleNamespace(body=b" " * size),
        set_status=lambda _status: None,
    )
    handler._own_session = lambda: GpuUseHandler._own_session(handler)
    asyncio.run(GpuUseHandler.post(handler))
    assert others.gpu_use is None
    return session


def test_a_session_reports_for_itself_alone(monkeypatch):
    assert report(monkeypatch).gpu_use.percents == (50,)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "of somebody else"}, 403),
        ({"token": None}, 403),
        ({"told": {"gpus": "all of them"}}, 400),
        ({"size": 64 * 1024 + 1}, 413),
        ({"before": GpuUse(time.monotonic() + 3600, (1,), 1, 1)}, 429),
    ],
)
def test_what_is_strange_large_or_too_soon_is_refused(monkeypatch, change, code):
    with pytest.raises(web.HTTPError) as refused:
        report(monkeypatch, **change)
    assert refused.value.status_code == code


# -- what a session tells


def news(percent=50, used=3 * GIB):
    return GpuNews("read", (Gpu("Tesla P100", percent, 16 * GIB, used),))


def told_of(*looks, token=TOKEN):
    """Let a session look at its GPUs again and again; return what the hub has heard."""

    async def look(hub):
        telling = UseReport(f"{hub.api_url}/davide/gpu-use", token, logging.getLogger("test"))
        for one in looks:
            telling.tell(one)
            if telling._telling:
                await telling._telling

    with FakeHub() as hub:
        asyncio.run(look(hub))
    return hub.uses


def test_the_hub_takes_what_a_session_tells():
    [told] = told_of(news())
    assert read_use(told, 0.0).words == "50 %, 3.0 of 16 GB"


def test_what_has_not_changed_is_told_seldom(monkeypatch):
    assert len(told_of(news(), news(), news(60), news(60, 3 * GIB + 1000))) == 2
    monkeypatch.setattr(use, "_AGAIN_SECONDS", 0)
    assert len(told_of(news(), news())) == 2


@pytest.mark.parametrize("state", ["none", "no-driver", "silent"])
def test_who_knows_nothing_tells_nothing(state):
    assert told_of(GpuNews(state)) == []


def test_a_hub_that_does_not_listen_costs_one_line(caplog):
    caplog.set_level(logging.INFO)
    assert told_of(news(1), news(2), news(3), token=STRANGERS_TOKEN) == []
    assert len([record for record in caplog.records if "does not hear how busy" in record.message]) == 1
