"""Turning out who may not stay: banned, revoked, or with an account that the cluster refuses by now.

The broker says who that is (`broker.watch`); here their sessions end with the reason, and their tokens and cookies
are void. A broker that does not answer turns nobody out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.user import User

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable, TurnedOut
from davide_hub.closing import can_end, end_session
from davide_hub.endings import Ending

_log = logging.getLogger("jupyterhub.davide.doorkeeper")

_EVERY_SECONDS = 10


class Doorkeeper:
    """Carries out what the broker says of people who are to leave.

    Parameters
    ----------
    app
        The hub.
    broker
        Who knows.
    """

    def __init__(self, app: Any, broker: BrokerClient) -> None:
        self.app = app
        self.broker = broker
        self._voided: set[tuple[str, float]] = set()
        # Kept, because the event loop alone holds tasks by weak references.
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look again and again, for as long as the hub runs."""
        while True:
            try:
                await self.once()
            except (BrokerUnreachable, BrokerRefused) as silence:
                _log.info("nobody says who is to leave: %s", silence)
            except Exception:  # noqa: BLE001 - whatever it is, the next round may go well
                _log.exception("turning out failed; the next round follows")
            await asyncio.sleep(_EVERY_SECONDS)

    async def once(self) -> None:
        """Look once."""
        found = await self.broker.refusals()
        for one in found:
            row = orm.User.find(self.app.db, one.user)
            if row is not None:
                self._turn_out(self.app.users[row], one)
            if one.kind == "revoked":
                await self.broker.done(one.user, one.since)
        self._voided &= {(one.user, one.since) for one in found}

    def _turn_out(self, user: User, one: TurnedOut) -> None:
        since = datetime.fromtimestamp(one.since, UTC).replace(tzinfo=None)  # as JupyterHub's database has it
        for spawner in list(user.spawners.values()):
            begun = spawner.orm_spawner.started
            earlier = one.kind != "revoked" or begun is None or begun <= since
            if can_end(spawner) and earlier:
                _log.warning("ending %s: %s", spawner._log_name, one.sentence)
                self._in_background(end_session(self.app, user, spawner, Ending("turned_out", one.sentence)))
        if (one.user, one.since) not in self._voided:
            self._void(user.orm_user, since if one.kind == "revoked" else None)
            self._voided.add((one.user, one.since))

    def _void(self, user: orm.User, since: datetime | None) -> None:
        """Void a user's tokens, those of the browser at sessions too, and every cookie."""
        for token in list(user.api_tokens):
            if since is None or token.created <= since:
                self.app.db.delete(token)
        user.cookie_id = orm.new_token()
        self.app.db.commit()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a session could not be ended, and the next round tries again", exc_info=error)
