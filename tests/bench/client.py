"""The load: people at browsers, who log in, press Start, watch the pending page and press Stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import aiohttp
from davide_lab.names import context

from bench.systems import System

_REQUEST_SECONDS = 120
_LOG_INS_AT_ONCE = 8
_STARTS_AT_ONCE = 40
_STOPS_AT_ONCE = 8
_RETRIES = 5

T = TypeVar("T")


# One for all: making it reads the authority's file.
_context = cache(context)


@dataclass(frozen=True)
class Start:
    """One press on Start.

    Attributes
    ----------
    user
        Whose.
    clicked, ready
        When it was pressed, and when the page said that the server is up; seconds since 1970.
    failure
        What the page said instead; empty if all went well.
    """

    user: str
    clicked: float
    ready: float = 0.0
    failure: str = ""

    @property
    def seconds(self) -> float:
        """Return the time from click to ready."""
        return self.ready - self.clicked


@dataclass
class Person:
    """One user at a browser: cookies, pages, and the pending page's stream of news."""

    system: System
    name: str
    browser: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Person:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=_REQUEST_SECONDS)
        self.browser = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=self.system.keeps_connections, ssl=_context()),
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # keeps cookies for plain addresses too
            timeout=timeout,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.browser.close()

    async def log_in(self, password: str) -> None:
        """Fill in the log-in form."""
        await self._page("GET", "/hub/login")
        form = {"username": self.name, "password": password, "_xsrf": self._xsrf()}
        status, text = await self._page("POST", "/hub/login", data=form)
        if status != 302:
            raise RuntimeError(f"{self.name} could not log in to {self.system.name}: {status} {text[:200]}")
        await self._page("GET", "/hub/home")

    async def start(self) -> Start:
        """Press Start, and watch the pending page until the server is up or has failed."""
        clicked = time.time()
        form = {**self.system.form, "_xsrf": self._xsrf()}
        status, text = await self._page("POST", "/hub/spawn", data=form)
        if status == 429:  # the hub is busy: a browser's user tries again
            return Start(self.name, clicked, failure="429 too many starts")
        if status != 302:
            return Start(self.name, clicked, failure=f"{status} {told(text)}")
        await self._page("GET", f"/hub/spawn-pending/{self.name}")
        failure = await self._news()
        return Start(self.name, clicked, ready=time.time(), failure=failure)

    async def press(self) -> None:
        """Press Start, and look no further."""
        status, text = await self._page("POST", "/hub/spawn", data={**self.system.form, "_xsrf": self._xsrf()})
        if status != 302:
            raise RuntimeError(f"{self.name} could not start on {self.system.name}: {status} {told(text)}")

    async def stop(self) -> None:
        """Press Stop, or Cancel, until the hub knows of no server any more."""
        path = f"/hub/api/users/{self.name}/server"
        while await self.server():
            await self._page("DELETE", path, headers={"X-XSRFToken": self._xsrf()})
            await asyncio.sleep(0.5)

    async def server(self) -> dict[str, Any] | None:
        """Return what the hub says of the user's server; None if there is none, or its start is over."""
        path = f"/hub/api/users/{self.name}"
        status, text = await self._page("GET", path, headers={"X-XSRFToken": self._xsrf()})
        if status != 200:
            raise RuntimeError(f"{self.system.name} tells {self.name} {status} {text[:200]}")
        found: dict[str, Any] | None = json.loads(text)["servers"].get("")
        return found

    async def _news(self) -> str:
        """Follow the pending page's stream; return the failure it tells, or nothing once the server is ready."""
        url = f"{self.system.url}/hub/api/users/{self.name}/server/progress"
        for _ in range(_RETRIES):
            try:
                async with self.browser.get(url, params={"_xsrf": self._xsrf()}) as stream:
                    if stream.status != 200:
                        return f"{stream.status} for the pending page's news"
                    async for line in stream.content:
                        event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                        if event.get("ready"):
                            return ""
                        if event.get("failed"):
                            return str(event.get("message", "failed"))
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(1)  # as the page does
        return "the pending page's news ended without an end"

    async def _page(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        for patience in range(_RETRIES, -1, -1):
            try:
                url = self.system.url + path
                async with self.browser.request(method, url, allow_redirects=False, **more) as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientConnectionError:
                # A browser asks again, too, if a connection that it kept was closed; but never twice for a start.
                if method == "POST" or not patience:
                    raise
                await asyncio.sleep(0.2)
        raise AssertionError("the last try returns or raises")

    def _xsrf(self) -> str:
        cookies = self.browser.cookie_jar.filter_cookies(aiohttp.client.URL(f"{self.system.url}/hub/"))
        return cookies["_xsrf"].value if "_xsrf" in cookies else ""


class Crowd:
    """Many people, logged in."""

    def __init__(self, system: System, names: Iterable[str]) -> None:
        self.people = [Person(system, name) for name in names]

    async def __aenter__(self) -> Crowd:
        for person in self.people:
            await person.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for person in self.people:
            await person.__aexit__()

    async def log_in(self, password: str) -> None:
        """Let everybody log in."""
        await _few_at_once(_LOG_INS_AT_ONCE, self.people, lambda one: one.log_in(password))

    async def start(self, count: int) -> list[Start]:
        """Let the first so many press Start in one moment, and wait until each server is up or has failed."""
        return list(await asyncio.gather(*(one.start() for one in self.people[:count])))

    async def start_all(self) -> list[Start]:
        """Let everybody press Start, some at a time: stock refuses more than 100 at once."""
        return await _few_at_once(_STARTS_AT_ONCE, self.people, lambda one: one.start())

    async def press(self, count: int) -> None:
        """Let the first so many press Start, and don't wait for their servers."""
        await _few_at_once(_LOG_INS_AT_ONCE, self.people[:count], lambda one: one.press())

    async def stop(self) -> None:
        """Let everybody press Stop, and wait until nobody has a server."""
        await _few_at_once(_STOPS_AT_ONCE, self.people, lambda one: one.stop())

    async def ready(self) -> int:
        """Return how many have a server that the hub calls ready."""
        found = await _few_at_once(_LOG_INS_AT_ONCE, self.people, lambda one: one.server())
        return sum(bool(server and server["ready"]) for server in found)


async def _few_at_once(many: int, people: list[Person], do: Callable[[Person], Awaitable[T]]) -> list[T]:
    places = asyncio.Semaphore(many)

    async def one(person: Person) -> T:
        async with places:
            return await do(person)

    return list(await asyncio.gather(*(one(person) for person in people)))


def told(page: str) -> str:
    """Return the text of a page's alert, or its beginning."""
    return " ".join(page.partition("alert")[2].partition(">")[2].partition("<")[0].split()) or page[:120]
