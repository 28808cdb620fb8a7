"""Ending a session on behalf of others than its owner, so that the owner reads why."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.user import User

from davide_hub.endings import Ending
from davide_hub.spawner import DavideSpawner

# A start that is cancelled tidies up; its job is ended whether it gets that far or not.
_CANCEL_SECONDS = 5


def can_end(spawner: DavideSpawner) -> bool:
    """Return whether there is a session to end, and nobody ends it already."""
    return bool(spawner.active and spawner.pending != "stop" and not spawner.stopping)


async def end_session(app: Any, user: User, spawner: DavideSpawner, ending: Ending) -> None:
    """End a session in any stage.

    Parameters
    ----------
    app
        The hub.
    user, spawner
        Whose session, and which.
    ending
        What its owner reads.
    """
    spawner.end_as(ending)
    spawner.stopping = ending.sentence
    if (start := spawner._spawn_future) is not None and not start.done():
        start.cancel()
        await asyncio.wait([start], timeout=_CANCEL_SECONDS)
    try:
        await app.proxy.delete_user(user, spawner.name)
    finally:
        await user.stop(spawner.name)
