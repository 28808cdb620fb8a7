"""The broker's watch over people who are logged in: nobody stays longer than the account, a ban or a revocation allows.

The hub is told first, since it ends a session with the reason. What it has not ended after a while, because it is
down or not its own master any more, the broker ends itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from davide_hub.broker import standing
from davide_hub.broker.outcasts import Outcast, Outcasts
from davide_hub.broker.protocol import Cancel
from davide_hub.broker.sessions import Refused, SessionKeeper
from davide_hub.broker.standing import Standing

_log = logging.getLogger("davide-broker")

# Said twice, found by the hub within 10 s, and ended: within 60 s of the refusal.
EVERY_SECONDS = 12
# So long the hub may take.
HUBS_SECONDS = 25
# Each order is a child of the user's; the rest follows in the next round.
_PER_ROUND = 8
_KEPT_SECONDS = 24 * 3600
# A directory from which more people vanish at once than this is broken: nobody removes so many within two looks.
_MANY = 3


@dataclass
class Watch:
    """Looks after everybody with a ticket or a session, in a thread of its own.

    Parameters
    ----------
    sessions, outcasts
        Whose sessions there are; who is banned or revoked.
    look
        Returns the standing of users; runs a child, see `standing.ask`.
    clock
        Seconds since 1970.
    """

    sessions: SessionKeeper
    outcasts: Outcasts
    look: Callable[[list[str]], dict[str, Standing]]
    clock: Callable[[], float] = time.time
    _said: dict[str, Standing] = field(default_factory=dict, init=False)
    _refused: dict[str, Outcast] = field(default_factory=dict, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)

    def run(self) -> None:
        """Look again and again, until told to stop."""
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.once()
            except Exception:  # noqa: BLE001 - whatever it is, the next round may go well
                _log.exception("the look at who is logged in failed; the next one follows")

    def stop(self) -> None:
        """End the watch with the broker."""
        self._stop.set()

    def refusal_of(self, user: str) -> Outcast | None:
        """Return why a user may not come in or stay; None if nothing is known against it."""
        return self.outcasts.ban_of(user) or self._refused.get(user)

    def all(self) -> list[Outcast]:
        """Return everybody whom the hub is to turn out."""
        return [*self.outcasts.all(), *self._refused.values()]

    def forget(self, user: str) -> None:
        """Take a log-in that has just gone well for an answer."""
        self._said.pop(user, None)
        self._refused.pop(user, None)

    def once(self) -> None:
        """Look once, and end what the hub has left."""
        users = {*self.sessions.tickets.holders(), *(entry.user for entry in self.sessions.ledger.open())}
        # The refused have no ticket any more, and are looked at until the hub has surely heard of it, or they are good.
        self._refused = {user: one for user, one in self._refused.items() if self.clock() - one.since < _KEPT_SECONDS}
        users |= self._refused.keys()
        if users:
            self._judge(self.look(sorted(users)))
        self._finish()

    def _judge(self, told: dict[str, Standing]) -> None:
        vanished = [user for user, now in told.items() if now.absent]
        broken = len(vanished) > _MANY and 2 * len(vanished) > len(told)
        for user, now in told.items():
            if now.verdict == "refused" and not (now.absent and broken):
                # Said twice: an answer that a directory gives while it restarts is not believed.
                if self._said.get(user) == now and user not in self._refused:
                    _log.warning("%s is turned out: %s", user, now.sentence)
                    self._refused[user] = Outcast(user, "refused", now.sentence, self.clock())
                    self.sessions.tickets.drop(user)
            elif now.verdict == "good":
                self._refused.pop(user, None)
            self._said[user] = now
        self._said = {user: now for user, now in self._said.items() if user in told}

    def _finish(self) -> None:
        overdue = {one.user: one for one in self.all() if self.clock() - one.since > HUBS_SECONDS}
        left = [
            entry
            for entry in self.sessions.ledger.open()
            if entry.user in overdue and overdue[entry.user].concerns(entry.tried)
        ]
        for entry in left[:_PER_ROUND]:
            _log.warning("session %s of %s is ended by the broker, since the hub has not", entry.key, entry.user)
            try:
                self.sessions.cancel(Cancel(user=entry.user, session_key=entry.key))
            except Refused as refusal:
                _log.warning("session %s of %s: %s", entry.key, entry.user, refusal)


def asking(group: Callable[[], str], service: str) -> Callable[[list[str]], dict[str, Standing]]:
    """Return a function that asks the directory and PAM about users, with the site's group as it is then."""
    return lambda users: standing.ask(users, group(), service)
