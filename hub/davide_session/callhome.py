"""Telling the hub where a session listens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from davide_session.claim import LISTENING
from davide_session.hub_client import fetch

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0


def note_port(folder: Path, port: int) -> None:
    """Write down where the session listens, for a hub that has lost its database and takes this session up again.

    Parameters
    ----------
    folder
        The session's folder.
    port
        Where the server listens already.
    """
    draft = folder / f".{LISTENING}"
    draft.write_text(json.dumps({"port": port}))
    draft.replace(folder / LISTENING)


async def call_home(url: str, token: str, port: int, log: logging.Logger) -> None:
    """Tell the hub this session's port, again and again until it has heard.

    A hub that restarts, or a network that is out, must not cost a session; so this never gives up. A hub that
    no longer wants the session cancels the job.

    Parameters
    ----------
    url
        The hub's address for it, below JUPYTERHUB_API_URL.
    token
        The session's own token. It alone says which session calls; the node comes from Slurm.
    port
        Where the server listens already.
    log
        Gets one line for each new reason of a failure.
    """
    last_reason = ""
    async for _ in _attempts():
        try:
            await asyncio.wait_for(_post(url, token, port), timeout=30)
        except Exception as error:  # noqa: BLE001 - whatever it is, the hub hasn't heard
            reason = f"{type(error).__name__}: {error}"
            if reason != last_reason:
                log.warning("The hub has not heard that this session is up (%s); trying again", reason)
                last_reason = reason
        else:
            log.info("The hub knows that this session listens on port %d", port)
            return


async def _attempts() -> AsyncIterator[None]:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _post(url: str, token: str, port: int) -> None:
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    await fetch(url, method="POST", headers=headers, data=json.dumps({"port": port}))
