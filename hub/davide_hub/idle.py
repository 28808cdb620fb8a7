"""Sessions that do nothing: warned of in the pages, and ended after their profile's limit.

Whether a session is at work it knows itself: it reports its last activity (a kernel, a terminal, a GPU) to JupyterHub's
own API. What passes the proxy does not count, since an open page asks again and again. And whoever does not report is
not idle but unknown, and is left alone.

How long ago that is, is measured twice, and the shorter time counts: from the node's time of day to the hub's, each of
which may be wrong, and from when the hub first heard of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyterhub.apihandlers.users import ActivityAPIHandler, _parse_timestamp

from davide_hub.closing import can_end, end_session
from davide_hub.endings import Ending
from davide_hub.spawner import DavideSpawner
from davide_hub.texts import text

_log = logging.getLogger("jupyterhub.davide.idle")

_EVERY_SECONDS = 30
# A session reports every 5 minutes, whether it is at work or not. Two reports that are lost prove nothing.
_FRESH_SECONDS = 15 * 60
# Of work a session tells within a sixth of its limit, and within so many seconds (davide_session/attend.py).
_TOLD_SECONDS = 300
# So many minutes before the end the pages warn.
_WARN_MINUTES = 5


@dataclass(frozen=True)
class Report:
    """A session's word on when it was last at work.

    Attributes
    ----------
    heard
        When that was said, by the clock that only grows.
    last
        When it was at work, in seconds since 1970, by the clock of its node.
    moved
        When the hub first heard of just that, by the clock that only grows.
    """

    heard: float
    last: float
    moved: float


def heard_now(before: Report | None, last: float) -> Report:
    """Return a report that has just come, after another or as the first."""
    now = time.monotonic()
    return Report(now, last, before.moved if before and before.last == last else now)


class ActivityHandler(ActivityAPIHandler):  # type: ignore[misc]
    """JupyterHub's handler, which also remembers that there was a report: it keeps only times that are later."""

    def post(self, user_name: str) -> Any:
        """Take a report."""
        answer = super().post(user_name)
        spawners = self.find_user(user_name).spawners
        for name, told in (self.get_json_body().get("servers") or {}).items():
            last = _parse_timestamp(told["last_activity"]).replace(tzinfo=UTC).timestamp()
            spawners[name].report = heard_now(spawners[name].report, last)
        return answer


def minutes_left(spawner: DavideSpawner) -> float | None:
    """Return after how many minutes a session ends if it goes on doing nothing; None if it does not, or is unknown."""
    limit = next((one.idle_minutes for one in spawner.site.profiles if one.name == spawner.profile_name), None)
    report: Report | None = spawner.report
    if limit is None or report is None or not spawner.ready or time.monotonic() - report.heard > _FRESH_SECONDS:
        return None
    begun = spawner.orm_spawner.started
    started = begun.replace(tzinfo=UTC).timestamp() if begun else 0.0
    by_the_clocks = datetime.now(UTC).timestamp() - max(report.last, started)
    since_told = time.monotonic() - report.moved + min(_TOLD_SECONDS, 60 * limit / 6)
    return float(limit - min(by_the_clocks, since_told) / 60)


def warned(spawner: DavideSpawner) -> int | None:
    """Return the minutes that a page warns of; None while there is no reason to."""
    minutes = minutes_left(spawner)
    return None if minutes is None or minutes > _WARN_MINUTES else max(1, round(minutes))


class IdleWatch:
    """Ends who does nothing.

    Parameters
    ----------
    app
        The hub.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        # Who was found idle, so that an end is always preceded by a warning.
        self._warned: dict[str, float] = {}

    async def run(self) -> None:
        """Look again and again, for as long as the hub runs."""
        while True:
            try:
                await self.once()
            except Exception:  # noqa: BLE001 - whatever it is, the next round may go well
                _log.exception("looking for idle sessions failed; the next round follows")
            await asyncio.sleep(_EVERY_SECONDS)

    async def once(self) -> None:
        """Look once, and end those whose time is over and who were warned for long enough."""
        now, found = time.monotonic(), {}
        # Every user with a session is in this mapping; the database would be asked for hundreds in one go.
        sessions = [(user, spawner) for user in self.app.users.values() for spawner in user.spawners.values()]
        for user, spawner in sessions:
            if warned(spawner) is None or not can_end(spawner):
                continue
            since = found[spawner.session_key] = self._warned.get(spawner.session_key, now)
            minutes = minutes_left(spawner)
            if minutes is not None and minutes <= 0 and now - since >= 60 * _WARN_MINUTES:
                await self._end(user, spawner)
        self._warned = found

    async def _end(self, user: Any, spawner: DavideSpawner) -> None:
        limit = next(one.idle_minutes for one in spawner.site.profiles if one.name == spawner.profile_name)
        _log.warning("ending %s: it did nothing for %s minutes", spawner._log_name, limit)
        await end_session(self.app, user, spawner, Ending("idle", text("ended.idle", n=limit)))
