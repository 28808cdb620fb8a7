"""One request after the other: a crowd at the door must not make the hub deaf.

An event loop runs all that is ready before it looks at its sockets again. When a class presses Start together, that
is a hundred requests of 10 to 30 ms each, all in one round: for seconds nobody is heard, neither who is at work nor a
session that calls home. Here each round lets in one request of the crowd; health checks pass by the side. A start waits
for its turn again whenever it goes on after a long wait, since jobs of a class begin together, too.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.pages import HealthCheckHandler
from jupyterhub.utils import maybe_future
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application

from davide_hub.bounds import Bounds
from davide_hub.events import begin_request, tell_request
from davide_hub.recognised import Recognised
from davide_hub.whence import caller_address

_START = re.compile(r".*/(spawn(/[^/]+){0,2}|users/[^/]+/(server|servers/[^/]+))")


class Turnstile:
    """Lets those who wait through one by one, one in each round of the event loop.

    There are two queues, served in turns: a start is ten times the work of a page, and whoever only looks at a page
    does not wait for all the starts.
    """

    def __init__(self) -> None:
        self._pages: deque[asyncio.Future[None]] = deque()
        self._starts: deque[asyncio.Future[None]] = deque()
        self._next, self._other = self._pages, self._starts
        self._turning = False

    async def turn(self, *, start: bool = False) -> None:
        """Wait for one's turn.

        Parameters
        ----------
        start
            Whether it is a session's start.
        """
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        (self._starts if start else self._pages).append(place)
        if not self._turning:
            self._turning = True
            loop.call_soon(self._let_one_in)
        await place

    def _let_one_in(self) -> None:
        self._next, self._other = self._other, self._next
        for queue in (self._next, self._other):
            while queue:
                place = queue.popleft()
                if not place.done():  # else its request was given up
                    place.set_result(None)
                    asyncio.get_running_loop().call_soon(self._let_one_in)
                    return
        self._turning = False


_OF_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, Turnstile] = WeakKeyDictionary()


async def turn(*, start: bool = False) -> None:
    """Wait for one's turn at the turnstile of the running event loop; see `Turnstile.turn`."""
    await _OF_LOOPS.setdefault(asyncio.get_running_loop(), Turnstile()).turn(start=start)


class PacedApplication(Application):
    """JupyterHub's web application, with a turnstile before all handlers but the health check, and bounds.

    What it is told of a browser's address is put right first: the log and the audit trail have it from there.

    Attributes
    ----------
    leaving
        Whether the hub ends: a request is then left without an answer, as if nobody listened any more.
    seen_cookies
        The number of the user of each log-in cookie that was good once; see `Recognised`.
    """

    leaving = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bounds = Bounds()
        self.seen_cookies: dict[str, int] = {}

    def start_request(self, server_conn: Any, request_conn: Any) -> Any:
        """Return what reads a request."""
        self.bounds.apply(server_conn, request_conn)
        return super().start_request(server_conn, request_conn)

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Return who answers a request."""
        if self.leaving:
            # On a connection that the proxy has kept; its end tells the proxy, and this is who hears of it.
            request.connection.stream.close()  # type: ignore[union-attr]
            return HTTPMessageDelegate()
        request.remote_ip = caller_address(request)
        return super().find_handler(request, **more)

    def get_handler_delegate(self, request: Any, target_class: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what runs a request."""
        return super().get_handler_delegate(request, paced(target_class), *args, **kwargs)


@cache
def paced(handler: Any) -> Any:
    """Return a handler that waits for its turn, recognises who was here before, and tells what it has changed."""
    if not issubclass(handler, BaseHandler) or issubclass(handler, HealthCheckHandler):
        return handler

    def set_default_headers(self: Any) -> None:
        handler.set_default_headers(self)
        if number := getattr(self, "davide_request", ""):
            self.set_header("X-Request-Id", number)

    async def prepare(self: Any) -> None:
        self.davide_request = begin_request()
        self.set_header("X-Request-Id", self.davide_request)
        await turn(start=is_start(self.request))
        await maybe_future(handler.prepare(self))

    def on_finish(self: Any) -> None:
        tell_request(self)
        handler.on_finish(self)

    ours = {"set_default_headers": set_default_headers, "prepare": prepare, "on_finish": on_finish}
    return type(handler.__name__, (Recognised, handler), {**ours, "__module__": handler.__module__})


def is_start(request: HTTPServerRequest) -> bool:
    """Return whether a request is the press on Start, or a program's order to start a server."""
    return request.method == "POST" and _START.fullmatch(request.path) is not None
