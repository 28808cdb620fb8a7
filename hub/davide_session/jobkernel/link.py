"""What session and job tell each other: in order, each once, also across connections that break.

A message is a JSON head and any number of frames. Each end keeps what the other has not confirmed, and sends it again
on the next connection. A connection on which nothing comes for a while is taken for broken; both ends send something
often.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

_BREATH_SECONDS = 3.0
SILENCE_SECONDS = 15.0
# So much waits for the other end before whoever forwards something has to wait as well.
_ROOM_BYTES = 64 * 1024 * 1024
_CONFIRM_BYTES = 1024 * 1024
_HEAD_BYTES = 256 * 1024
_FRAME_BYTES = 2**31
_LENGTH = struct.Struct("!I")
# Anybody on the network may connect, and is not waited for.
_LISTENING: Any = {"limit": 2**20, "ssl_handshake_timeout": 10}

Heard = Callable[[Mapping[str, Any], list[bytes]], None]
Called = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class LinkBroken(Exception):  # noqa: N818 - it is what it says
    """The other end does not keep to the protocol, or is silent."""


class Link:
    """One end.

    Parameters
    ----------
    heard
        Gets each message once, in order.
    """

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._kept: deque[tuple[int, bytes, Sequence[bytes], int]] = deque()
        self._kept_bytes = 0
        self._last_sent = self._got = self._unconfirmed = 0
        self._written = 0
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._connections = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, on which something was heard a short time ago."""
        return self._connections > 0

    def send(self, what: str, frames: Sequence[bytes] = (), **more: Any) -> None:
        """Send a message, now or on the next connection."""
        self._last_sent += 1
        head = _head(what=what, n=self._last_sent, sizes=[len(one) for one in frames], **more)
        size = len(head) + sum(map(len, frames))
        self._kept.append((self._last_sent, head, frames, size))
        self._kept_bytes += size
        if self._kept_bytes > _ROOM_BYTES:
            self._room.clear()
        self._news.set()

    async def room(self) -> None:
        """Wait until not too much waits for the other end."""
        await self._room.wait()

    async def delivered(self, seconds: float) -> bool:
        """Wait until the other end has all that was sent, but not longer; return whether it has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._kept:
                    await asyncio.sleep(0.02)
        return not self._kept

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use a connection until it breaks.

        Raises
        ------
        LinkBroken, OSError, EOFError
            That is how it ends.
        """
        writer.write(_head(what="hello", got=self._got))
        # The first word of the other end tells from where on it needs to hear.
        hello, _ = await self._read(reader)
        if hello["what"] != "hello":
            raise LinkBroken(f"it began with {ascii(hello['what'])[:40]}")
        self._confirmed(hello["got"])
        self._written = self._kept[0][0] - 1 if self._kept else self._last_sent
        writing = asyncio.create_task(self._write(writer))
        reading = asyncio.create_task(self._hear(reader))
        self._connections += 1
        try:
            await asyncio.wait([writing, reading], return_when=asyncio.FIRST_COMPLETED)
            for done in (reading, writing):
                if done.done():
                    done.result()
        finally:
            self._connections -= 1
            for task in (writing, reading):
                task.cancel()
            await asyncio.gather(writing, reading, return_exceptions=True)

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            for number, head, frames, _ in [one for one in self._kept if one[0] > self._written]:
                writer.write(head)
                writer.writelines(frames)
                self._written = number
                await writer.drain()
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_BREATH_SECONDS):
                    await self._news.wait()
                    if any(one[0] > self._written for one in self._kept):
                        continue
            self._unconfirmed = 0
            writer.write(_head(what="breath", got=self._got))
            await writer.drain()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while True:
            head, frames = await self._read(reader)
            if "got" in head:
                self._confirmed(head["got"])
                continue
            # A connection that breaks may have brought some already.
            if head["n"] != self._got + 1:
                if head["n"] > self._got:
                    raise LinkBroken(f"message {self._got + 1} is missing")
                continue
            self._got = head["n"]
            self._unconfirmed += 1 + sum(map(len, frames))
            self._heard(head, frames)
            if self._unconfirmed > _CONFIRM_BYTES or head.get("confirm"):
                self._news.set()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[dict[str, Any], list[bytes]]:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                if size > _HEAD_BYTES:
                    raise LinkBroken(f"a head of {size} bytes")
                head = json.loads(await reader.readexactly(size))
        except TimeoutError:
            raise LinkBroken(f"nothing came for {SILENCE_SECONDS:.0f} s") from None
        sizes = head.get("sizes", ())
        if sum(sizes) > _FRAME_BYTES:
            raise LinkBroken(f"a message of {sum(sizes)} bytes")
        return head, [await reader.readexactly(one) for one in sizes]

    def _confirmed(self, got: int) -> None:
        while self._kept and self._kept[0][0] <= got:
            self._kept_bytes -= self._kept.popleft()[3]
        if self._kept_bytes <= _ROOM_BYTES:
            self._room.set()


def _head(**fields: Any) -> bytes:
    text = json.dumps(fields).encode()
    return _LENGTH.pack(len(text)) + text


async def listen(called: Called, tls: ssl.SSLContext) -> asyncio.Server:
    """Listen at any free port of this node, and call `called` for each connection that has shown its certificate."""
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            both = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            return await asyncio.start_server(called, sock=both, ssl=tls, **_LISTENING)
    return await asyncio.start_server(called, sock=socket.create_server(("", 0)), ssl=tls, **_LISTENING)
