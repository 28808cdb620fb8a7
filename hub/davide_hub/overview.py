"""The overview: everybody's sessions, for teachers and administrators; they may end some, and do nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from tornado import web

from davide_hub.closing import can_end, end_session
from davide_hub.endings import Ending
from davide_hub.facts import Site
from davide_hub.shown import all_shown
from davide_hub.spawner import DavideSpawner
from davide_hub.texts import text

PATH = r"/overview"
_log = logging.getLogger("jupyterhub.davide.overview")
# The event loop alone holds tasks by weak references.
_ending: set[asyncio.Task[None]] = set()


def may_oversee(site: Site, user: Any) -> bool:
    """Return whether somebody may see everybody's sessions."""
    return user is not None and (bool(user.admin) or user.name in site.course.teachers)


def may_end(site: Site, overseer: Any, owner: Any) -> bool:
    """Return whether an overseer may end a session: only administrators end those of other overseers."""
    return bool(overseer.admin) or overseer.name == owner.name or not may_oversee(site, owner)


class OverviewHandler(BaseHandler):  # type: ignore[misc]
    """Shows who waits and who runs; ends what was chosen, once that was confirmed."""

    @web.authenticated
    async def get(self) -> None:
        """Show the lists."""
        self._require_overseer()
        await self._show()

    @web.authenticated
    async def post(self) -> None:
        """End the chosen sessions, or ask first whether they are really meant."""
        self._require_overseer()
        handles = set(self.get_body_arguments("session"))
        chosen = [one for one in self._sessions() if self._is_chosen(one, handles)]
        if not chosen:
            await self._show(notice=text("overview.nothing"))
        elif self.get_body_argument("confirmed", "") != "yes":
            await self._show(asked=all_shown(chosen, self.current_user.name))
        else:
            for spawner in chosen:
                self._end(spawner)
            await self._show(notice=text("overview.done", n=len(chosen)))

    def _is_chosen(self, spawner: DavideSpawner, handles: set[str]) -> bool:
        named = f"{spawner.user.name}/{spawner.name}" in handles
        return named and can_end(spawner) and may_end(spawner.site, self.current_user, spawner.user)

    def _require_overseer(self) -> None:
        if not may_oversee(self.config.DavideSpawner.site, self.current_user):
            raise web.HTTPError(403, text("overview.forbidden"))

    def _sessions(self) -> Iterator[DavideSpawner]:
        for row in self.db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None)):
            yield self.users[row.user].spawners[row.name]

    def _end(self, spawner: DavideSpawner) -> None:
        _log.warning("%s ends %s", self.current_user.name, spawner._log_name)
        ending = Ending("by_teacher", text("ended.by_teacher", name=self.current_user.name))
        task = asyncio.create_task(end_session(self.app, spawner.user, spawner, ending))
        _ending.add(task)
        task.add_done_callback(_done)

    async def _show(self, **more: Any) -> None:
        found = all_shown(self._sessions(), self.current_user.name)
        mine = {
            f"{one.user.name}/{one.name}" for one in self._sessions() if may_end(one.site, self.current_user, one.user)
        }
        html = await self.render_template("overview.html", sessions=found, may_end=mine, **more)
        self.finish(html)


def _done(task: asyncio.Task[None]) -> None:
    _ending.discard(task)
    if not task.cancelled() and (error := task.exception()):
        _log.error("a session could not be ended; choose it again", exc_info=error)
