"""Users whose sessions come to an end, also where that can't be written down at once."""

from __future__ import annotations

import asyncio
import logging

from jupyterhub import orm
from jupyterhub.user import User, UserDict
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from davide_hub.database import recover

_log = logging.getLogger("jupyterhub.davide.users")

_PAUSE_SECONDS = 3


class SteadyUser(User):  # type: ignore[misc]
    """A user of JupyterHub whose `stop` goes on until it is done.

    A full disk or a locked database breaks JupyterHub's off in the middle: then nobody looks after the session any
    more, and to its user it runs for ever, or ends for ever, and no other one can be started.
    """

    async def stop(self, server_name: str = "") -> None:
        """End a session, and write that down, as often as it takes."""
        spawner = self.spawners[server_name]
        # Whoever ends it, too, may be done first: then the name is free, or another session's.
        while self.spawners.get(server_name) is spawner:
            recover(self.db)
            try:
                await super().stop(server_name)
                return
            except (DBAPIError, PendingRollbackError) as error:
                _log.warning("The end of %s can't be written down; trying again: %s", spawner._log_name, error)
                self.db.rollback()
            await asyncio.sleep(_PAUSE_SECONDS)


class SteadyUsers(UserDict):  # type: ignore[misc]
    """The users that the hub has in memory."""

    def from_orm(self, orm_user: orm.User) -> SteadyUser:
        """Return the user that a row of the database is about."""
        return SteadyUser(orm_user, self.settings)
