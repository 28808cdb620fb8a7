"""Taking up sessions that an earlier run of the hub began."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from jupyterhub.user import User

from davide_hub.options import SessionFailed
from davide_hub.spawner import Adoption, DavideSpawner, NeverSubmitted

_log = logging.getLogger("jupyterhub.davide.resume")


class Resumer:
    """Puts spawners back into the state they were in when the hub ended.

    JupyterHub keeps that state in private attributes of its spawners (`_spawn_pending`, `_spawn_future`): they are
    what its pages and its API look at, and there is no other door.

    Parameters
    ----------
    app
        The hub.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        # Kept, because the event loop alone holds tasks by weak references.
        self._tasks: set[asyncio.Task[None]] = set()

    def take_up(self, user: User, spawner: DavideSpawner) -> None:
        """Go on with a session where it was: as running, as starting, or as ending."""
        if spawner.stopping or not spawner.session_key:
            self._in_background(self._finish_stop(user, spawner))
        elif spawner.node and spawner.job_id:
            # It is believed to run until Slurm proves otherwise; nobody has to answer first.
            spawner._set_server()
            spawner.proof.view.expect(spawner.job_id)
            self._watch(user, spawner)
        else:
            self._start_in_background(spawner, self._finish_start(user, spawner))

    def _start_in_background(self, spawner: DavideSpawner, work: Coroutine[Any, Any, None]) -> None:
        spawner._spawn_pending = True
        future = asyncio.ensure_future(work)
        spawner._spawn_future = future

        def done(finished: asyncio.Future[None]) -> None:
            # A failure stays: the pages tell it.
            if finished.cancelled() or finished.exception() is None:
                spawner._spawn_future = None
            spawner._spawn_pending = False

        future.add_done_callback(done)

    async def _finish_start(self, user: User, spawner: DavideSpawner) -> None:
        try:
            await spawner.resume()
        except NeverSubmitted:
            _log.info("%s was never submitted: submitting it now", spawner._log_name)
            spawner._revoke_token()
            await user.spawn(spawner.name, options=dict(spawner.orm_spawner.user_options or {}))
        except Exception as error:
            if not isinstance(error, SessionFailed):
                _log.exception("%s could not be taken up", spawner._log_name)
            await user.stop(spawner.name)
            raise
        await self._let_users_in(user, spawner)

    async def _let_users_in(self, user: User, spawner: DavideSpawner) -> None:
        await self.app.proxy.add_user(user, spawner.name)
        self._watch(user, spawner)

    async def _finish_stop(self, user: User, spawner: DavideSpawner) -> None:
        spawner._stop_pending = True
        try:
            await self.app.proxy.delete_user(user, spawner.name)
        except Exception:  # noqa: BLE001 - the route check removes it later
            _log.warning("the route of %s is removed later", spawner._log_name)
        await user.stop(spawner.name)

    def _watch(self, user: User, spawner: DavideSpawner) -> None:
        spawner.add_poll_callback(self._ended, user, spawner.name)
        spawner.start_polling()

    async def _ended(self, user: User, name: str) -> None:
        _log.warning("%s ended: %s", user.spawners[name]._log_name, user.spawners[name].ended)
        try:
            await self.app.proxy.delete_user(user, name)
        finally:
            await user.stop(name)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self, user: User, spawner: DavideSpawner) -> None:
        """End a session in whatever stage it is."""
        if spawner._spawn_future is not None:
            spawner._spawn_future.cancel()
        self._in_background(self._finish_stop(user, spawner))

    def adopt(self, user: User, name: str, adoption: Adoption) -> None:
        """Give a user back a session that runs and that the database does not know."""
        spawner = user.get_or_create_spawner(name, "", replace_failed=True)
        spawner.to_adopt = adoption
        self._start_in_background(spawner, self._finish_adoption(user, spawner))

    async def _finish_adoption(self, user: User, spawner: DavideSpawner) -> None:
        # All that JupyterHub does for a start it does for an adoption too: server, token, OAuth client.
        await user.spawn(spawner.name, options=dict(spawner.orm_spawner.user_options or {}))
        await self._let_users_in(user, spawner)
