"""A crowd of requests, and who else is heard meanwhile."""

import asyncio

import pytest
from davide_hub.turnstile import Turnstile, is_start, paced, turn
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.pages import HealthCheckHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import StaticFileHandler


def test_a_crowd_is_let_in_one_by_one_and_others_are_heard_between():
    async def crowd():
        turnstile = Turnstile()
        done = []

        async def work(number):
            await turnstile.turn()
            done.append(number)

        everybody = [asyncio.create_task(work(number)) for number in range(30)]
        at_once = []
        while len(done) < len(everybody):
            before = len(done)
            await asyncio.sleep(0)  # one round of the loop
            at_once.append(len(done) - before)
        return done, at_once

    done, at_once = asyncio.run(crowd())
    assert done == list(range(30))
    assert max(at_once) == 1


def test_a_page_does_not_wait_for_all_the_starts():
    async def order():
        turnstile = Turnstile()
        came = []

        async def come(name, *, start):
            await turnstile.turn(start=start)
            came.append(name)

        starts = [asyncio.create_task(come(f"start {number}", start=True)) for number in range(4)]
        await asyncio.sleep(0)
        page = asyncio.create_task(come("page", start=False))
        await asyncio.gather(*starts, page)
        return came

    came = asyncio.run(order())
    assert came.index("page") <= 2
    assert [name for name in came if name != "page"] == [f"start {number}" for number in range(4)]


def test_whoever_gave_up_does_not_stop_the_others():
    async def give_up():
        turnstile = Turnstile()
        first, second, third = (asyncio.create_task(turnstile.turn()) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, third)
        await turnstile.turn()

    asyncio.run(give_up())


def test_health_checks_and_foreign_handlers_pass_by_the_side():
    assert paced(HealthCheckHandler) is HealthCheckHandler
    assert paced(StaticFileHandler) is StaticFileHandler


def test_a_handler_is_itself_but_for_the_wait():
    one = paced(BaseHandler)
    assert issubclass(one, BaseHandler)
    assert one.__name__ == "BaseHandler"
    assert paced(BaseHandler) is one


@pytest.mark.parametrize(
    ("method", "path", "start"),
    [
        ("POST", "/hub/spawn", True),
        ("POST", "/hub/spawn/student01", True),
        ("POST", "/hub/api/users/student01/server", True),
        ("POST", "/hub/api/users/student01/servers/second", True),
        ("GET", "/hub/spawn", False),
        ("POST", "/hub/api/davide/call-home", False),
        ("DELETE", "/hub/api/users/student01/server", False),
    ],
)
def test_starts_are_told_from_all_else(method, path, start):
    line = RequestStartLine(method, path, "HTTP/1.1")
    assert is_start(HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "hub"}))) is start


def test_each_event_loop_has_a_turnstile_of_its_own():
    async def leave_in_the_middle() -> None:
        waiting = [asyncio.ensure_future(turn(start=True)) for _ in range(3)]
        await waiting[0]

    async def two_at_once() -> int:
        return len(await asyncio.gather(turn(), turn(start=True)))

    # A loop that ends while somebody waits leaves nothing behind that the next one would wait for.
    asyncio.run(leave_in_the_middle())
    assert asyncio.run(asyncio.wait_for(two_at_once(), timeout=5)) == 2
