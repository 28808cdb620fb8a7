"""Who is to be turned out: banned, or with everything revoked. One file per user, written by root's orders only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from davide_hub.broker.keep import made, read, write

Kind = Literal["banned", "revoked", "refused"]


@dataclass(frozen=True)
class Outcast:
    """A user whose sessions end and whose tokens are void.

    Attributes
    ----------
    user
        Who.
    kind
        "banned": until somebody lifts it. "revoked": everything from before `since`; the user may log in again.
        "refused": the account itself may not log in any more.
    sentence
        Why, for the user.
    since
        Seconds since 1970.
    """

    user: str
    kind: Kind
    sentence: str
    since: float

    def concerns(self, begun: float) -> bool:
        """Return whether what began at that time is to end."""
        return self.kind != "revoked" or begun < self.since


class Outcasts:
    """The broker's memory of bans and revocations."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._bans, self._revocations = made(folder / "bans"), made(folder / "revocations")
        self._clock = clock

    def ban(self, user: str, reason: str) -> None:
        """Let a user in no more, whether or not there is such an account now."""
        why = f" ({reason})" if reason else ""
        sentence = f"The administrators have closed this service to {user}{why}. Ask the cluster's support."
        self._write(self._bans, Outcast(user, "banned", sentence, self._clock()))

    def unban(self, user: str) -> bool:
        """Let a user in again; return whether there was a ban."""
        return _remove(self._bans / user)

    def revoke(self, user: str) -> None:
        """Void all that a user has up to now."""
        sentence = "The administrators have ended all that was open in your name. Log in again."
        self._write(self._revocations, Outcast(user, "revoked", sentence, self._clock()))

    def done(self, user: str, since: float) -> None:
        """Note that the hub has carried out a revocation; a later one stays."""
        path = self._revocations / user
        if read(path).get("since") == since:
            _remove(path)

    def ban_of(self, user: str) -> Outcast | None:
        """Return a user's ban, or None."""
        return _outcast(self._bans / user)

    def all(self) -> Iterator[Outcast]:
        """Yield everybody who is to be turned out."""
        for folder in (self._bans, self._revocations):
            for path in sorted(folder.glob("[!.]*")):
                if (outcast := _outcast(path)) is not None:
                    yield outcast

    @staticmethod
    def _write(folder: Path, outcast: Outcast) -> None:
        write(folder / outcast.user, asdict(outcast))


def _remove(path: Path) -> bool:
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def _outcast(path: Path) -> Outcast | None:
    try:
        return Outcast(**read(path))
    except TypeError:
        return None
