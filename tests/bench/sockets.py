"""Websockets through the proxy to the sessions, which must outlive the hub."""

from __future__ import annotations

import asyncio

import aiohttp
from davide_lab.names import context

from bench.systems import System

_EVERY_SECONDS = 0.5
_ECHO_SECONDS = 15


class Sockets:
    """One websocket for each of many users' stand-in servers; each says something twice a second and hears it back."""

    def __init__(self, system: System, names: list[str]) -> None:
        self._urls = [f"{system.user_url(name)}/echo" for name in names]
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[bool]] = []

    async def __aenter__(self) -> Sockets:
        self._browser = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=context()))
        self.opened = [await self._browser.ws_connect(url) for url in self._urls]
        self._tasks = [asyncio.create_task(self._talk(socket)) for socket in self.opened]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._browser.close()

    async def dropped(self) -> int:
        """Return how many have broken, after each has been heard once more."""
        self._over.set()
        return sum(not whole for whole in await asyncio.gather(*self._tasks))

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        count = 0
        last = False
        while True:
            last = self._over.is_set()
            count += 1
            try:
                await socket.send_str(str(count))
                if await socket.receive_str(timeout=_ECHO_SECONDS) != str(count):
                    return False
            except (TypeError, TimeoutError, aiohttp.ClientError, ConnectionError):
                return False  # TypeError: a closing frame came instead of text
            if last:
                await socket.close()
                return True
            await asyncio.sleep(_EVERY_SECONDS)
