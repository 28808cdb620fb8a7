"""The hub's side of the broker's socket."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from davide_hub.broker.protocol import (
    MAX_LINE,
    BadMessage,
    Cancel,
    Log,
    Login,
    Refusal,
    RefusalKind,
    Request,
    Submit,
    Ticket,
    decode_reply,
    encode_request,
)

# The broker is back within a second of a restart.
_CONNECT_SECONDS = 10
# Longer than the broker takes at worst (its queue, then Slurm): so nobody asks again while it still works.
_REPLY_SECONDS = 120


class BrokerRefused(Exception):  # noqa: N818 - it is what it says
    """The broker says no. `str()` is a sentence for the user."""

    def __init__(self, kind: RefusalKind, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


class BrokerUnreachable(Exception):  # noqa: N818
    """The broker did not answer: whether it did anything is not known. `str()` is a sentence for the user."""

    def __init__(self) -> None:
        super().__init__("A part of the hub is not running. Try again in a minute, then tell the site's support.")


@dataclass(frozen=True)
class BrokerClient:
    """Asks the broker, one connection per request.

    Every method raises `BrokerRefused` when the broker says no, and `BrokerUnreachable` when it says nothing.
    """

    socket: Path

    async def login(self, user: str, password: str) -> str:
        """Return the account's name if the password is right; the user then holds a ticket."""
        try:
            request = Login(user=user, password=SecretStr(password))
        except ValidationError:
            # Nothing that could be an account: the same answer as for an unknown one.
            raise BrokerRefused("wrong_password", "Wrong user name or password.") from None
        return await self._ask(request)

    async def holds_ticket(self, user: str) -> bool:
        """Return whether the user's log-in still counts."""
        return await self._ask(Ticket(user=user)) == "yes"

    async def submit(self, user: str, profile: str, session_key: str, environment: dict[str, str]) -> str:
        """Start a session and return its job number; the same key gives the same job."""
        return await self._ask(Submit(user=user, profile=profile, session_key=session_key, environment=environment))

    async def cancel(self, user: str, session_key: str) -> None:
        """Tell Slurm to end the session's job."""
        await self._ask(Cancel(user=user, session_key=session_key))

    async def log_end(self, user: str, session_key: str) -> str:
        """Return the last lines of the session's log, or nothing."""
        return await self._ask(Log(user=user, session_key=session_key))

    async def _ask(self, request: Request) -> str:
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                reply = decode_reply(await self._exchange(encode_request(request)))
        except (OSError, TimeoutError, BadMessage, asyncio.LimitOverrunError, ValueError) as error:
            raise BrokerUnreachable from error
        if isinstance(reply, Refusal):
            raise BrokerRefused(reply.kind, reply.sentence)
        return reply.value

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await self._connect()
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(_CONNECT_SECONDS):
            while True:
                try:
                    return await asyncio.open_unix_connection(self.socket, limit=2 * MAX_LINE)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(0.2)  # it is being restarted
