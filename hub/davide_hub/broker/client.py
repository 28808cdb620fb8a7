"""The hub's side of the broker's socket, or of its port on another host."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from davide_hub.broker.protocol import (
    MAX_JOBS,
    AboutJobs,
    AboutSlurm,
    BadMessage,
    Ban,
    Cancel,
    Claim,
    Close,
    Done,
    Estimate,
    Identity,
    Log,
    Login,
    Look,
    Recall,
    Refusal,
    RefusalKind,
    Refusals,
    Request,
    Revoke,
    Sessions,
    Submit,
    Ticket,
    Unban,
    decode_reply,
    encode_request,
)
from davide_hub.broker.tls import FarSocket
from davide_hub.facts import Site
from davide_hub.plan import Wishes
from davide_hub.questions import SECONDS, Outcome, Question

_log = logging.getLogger("jupyterhub.davide.broker")

# A ledger of 10,000 sessions takes 4 MB, the marks of a whole queue twice as much.
_MAX_REPLY = 16 * 1024 * 1024
# The broker is back within a second of a restart.
_CONNECT_SECONDS = 10
# What a page waits for may not take long.
_PAGE_SECONDS = 2
# Longer than the broker takes at worst (its queue, then Slurm): so nobody asks again while it still works.
_REPLY_SECONDS = 120
# Longer than the broker takes, which gives up a command in time.
_SLURM_SECONDS = SECONDS + 5


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
class LedgerEntry:
    """A session that may still have a job, as the broker's ledger has it; see `broker.ledger.Entry`."""

    key: str
    user: str
    server: str
    state: str
    job: str
    doubtful: bool = False


@dataclass(frozen=True)
class TurnedOut:
    """Somebody whose sessions end and whose tokens are void; see `broker.outcasts.Outcast`."""

    user: str
    kind: str
    sentence: str
    since: float


@dataclass(frozen=True)
class BrokerClient:
    """Asks the broker, one connection per request.

    Every method raises `BrokerRefused` when the broker says no, and `BrokerUnreachable` when it says nothing.

    Parameters
    ----------
    socket
        Where it listens; see `reached_at`.
    """

    socket: Path | FarSocket

    async def login(self, user: str, password: str, address: str = "") -> str:
        """Return the account's name if the password is right; the user then holds a ticket."""
        try:
            request = Login(user=user, password=SecretStr(password), address=address)
        except ValidationError:
            # Nothing that could be an account: the same answer as for an unknown one.
            raise BrokerRefused("wrong_password", "Wrong user name or password.") from None
        return await self._ask(request)

    async def identify(self, token: str, address: str = "") -> str:
        """Return the account that an ID token names; the user then holds a ticket."""
        try:
            request = Identity(token=SecretStr(token), address=address)
        except ValidationError:
            raise BrokerRefused("not_allowed", "The log-in is not valid here. Log in again.") from None
        return await self._ask(request)

    async def holds_ticket(self, user: str) -> bool:
        """Return whether the user's log-in still counts."""
        return await self._ask(Ticket(user=user), _PAGE_SECONDS) == "yes"

    async def submit(
        self, user: str, server: str, wishes: Wishes, session_key: str, environment: dict[str, str]
    ) -> str:
        """Start a session and return its job's number; the same key gives the same job."""
        return await self._ask(
            Submit(user=user, server=server, session_key=session_key, environment=environment, **asdict(wishes))
        )

    async def estimate(self, user: str, wishes: Wishes) -> float:
        """Return when Slurm would start such a session, in seconds since 1970. Nothing is submitted."""
        return float(json.loads(await self._ask(Estimate(user=user, **asdict(wishes)), _SLURM_SECONDS))["start"])

    async def cancel(self, user: str, session_key: str) -> bool:
        """End a session; return whether no job is left and none can come. Else ask again later."""
        return await self._ask(Cancel(user=user, session_key=session_key)) == "gone"

    async def close(self, user: str, session_key: str) -> bool:
        """Tell that the session's job has ended, as Slurm said; return whether it was the only one there can be."""
        return await self._ask(Close(user=user, session_key=session_key)) == "gone"

    async def look(self, user: str, session_key: str) -> dict[str, Any]:
        """Return what Slurm tells the owner about the session's job; see `OwnersJob`."""
        return dict(json.loads(await self._ask(Look(user=user, session_key=session_key))))

    async def sessions(self) -> tuple[str, list[LedgerEntry]]:
        """Return the name of this hub in its marks, and all sessions that may still have a job."""
        told = json.loads(await self._ask(Sessions()))
        return told["hub"], [LedgerEntry(**row) for row in told["sessions"]]

    async def recall(self, user: str, session_key: str) -> dict[str, Any]:
        """Return what a session was started with and has told since: `token`, `profile`, `port` (0: not yet)."""
        return dict(json.loads(await self._ask(Recall(user=user, session_key=session_key))))

    async def claim(self, user: str, session_key: str, job: str) -> str:
        """Have the broker take up a marked job; return the server's name."""
        try:
            request = Claim(user=user, session_key=session_key, job=job)
        except ValidationError:
            # What stands in a job's comment is for its owner to choose.
            raise BrokerRefused("unknown_session", f"Job {job} carries a mark that no broker made.") from None
        return await self._ask(request)

    async def log_end(self, user: str, session_key: str) -> str:
        """Return the last lines of the session's log, or nothing."""
        return await self._ask(Log(user=user, session_key=session_key))

    async def refusals(self) -> list[TurnedOut]:
        """Return whom the hub is to turn out."""
        return [TurnedOut(**row) for row in json.loads(await self._ask(Refusals()))]

    async def done(self, user: str, since: float) -> None:
        """Tell that a revocation was carried out."""
        await self._ask(Done(user=user, since=since))

    async def ask_slurm(self, question: Question, jobs: frozenset[str]) -> Outcome:
        """Have the broker ask Slurm what the hub can't ask on its own host."""
        request: AboutJobs | AboutSlurm
        try:
            match question:
                case "queue" | "states" | "accounting":
                    request = AboutJobs(question=question, jobs=tuple(sorted(jobs)))
                case "marks" | "version" | "nodes" | "reservations" | "associations":
                    request = AboutSlurm(question=question)
        except ValidationError:
            raise BrokerRefused("bad_request", f"a broker is asked about 1 to {MAX_JOBS} jobs at once") from None
        return Outcome(**json.loads(await self._ask(request, _SLURM_SECONDS)))

    async def order(self, request: Ban | Unban | Revoke) -> str:
        """Give one of root's orders."""
        return await self._ask(request)

    async def _ask(self, request: Request, seconds: float = _REPLY_SECONDS) -> str:
        try:
            async with asyncio.timeout(seconds):
                reply = decode_reply(await self._exchange(encode_request(request)))
        except (OSError, TimeoutError, BadMessage, asyncio.LimitOverrunError, ValueError) as error:
            if isinstance(error, ssl.SSLError):
                _log.warning("hub and broker do not believe each other (%s): run the plays, which bring both", error)
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
            if isinstance(self.socket, FarSocket):
                writer.transport.abort()  # closing would wait for a farewell that says nothing
            else:
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(_CONNECT_SECONDS):
            while True:
                try:
                    if isinstance(self.socket, FarSocket):
                        return await self.socket.open(_MAX_REPLY)
                    return await asyncio.open_unix_connection(self.socket, limit=_MAX_REPLY)
                except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
                    await asyncio.sleep(0.2)  # it is being restarted


def reached_at(site: Site, socket: Path, certificates: Path) -> Path | FarSocket:
    """Return where the hub reaches its broker: on its own host at a socket, else where the site's facts say."""
    if site.broker is None:
        return socket
    return FarSocket(site.broker.address, site.broker.port, certificates)
