"""Telling the hub how busy the session's GPUs are, for its pages. What could not be told is not told later."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from davide_session.gpus import GpuNews
from davide_session.hub_client import fetch

# The hub shows nothing older than 4.5 minutes (davide_hub/gpu_use.py).
_AGAIN_SECONDS = 110
_MB = 2**20


class UseReport:
    """Tells the hub what has changed, and now and then that nothing has.

    A node without a driver knows nothing, so nothing is told: the hub's pages say "not known" by themselves.

    Parameters
    ----------
    url
        The hub's address for it, below JUPYTERHUB_API_URL.
    token
        The session's own token. It alone says which session tells.
    log
        Gets one line for each new reason of a failure.
    """

    def __init__(self, url: str, token: str, log: logging.Logger) -> None:
        self._url, self._token, self._log = url, token, log
        self._told: list[dict[str, int | None]] = []
        self._when = float("-inf")
        self._reason = ""
        self._telling: asyncio.Task[None] | None = None

    def tell(self, news: GpuNews) -> None:
        """Tell what was measured, in the background: a hub that is away is asked for a minute."""
        gpus = shown(news)
        same = gpus == self._told and time.monotonic() - self._when < _AGAIN_SECONDS
        if not gpus or same or (self._telling is not None and not self._telling.done()):
            return
        self._told, self._when = gpus, time.monotonic()
        self._telling = asyncio.create_task(self._post({"gpus": gpus}))

    async def _post(self, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"token {self._token}", "Content-Type": "application/json"}
        try:
            await fetch(self._url, method="POST", headers=headers, data=json.dumps(body))
        except Exception as error:  # noqa: BLE001 - whatever it is, the hub hasn't heard, and the session goes on
            reason = f"{type(error).__name__}: {error}"
            if reason != self._reason:
                self._log.info("The hub does not hear how busy this session's GPUs are (%s)", reason)
            self._reason = reason


def shown(news: GpuNews) -> list[dict[str, int | None]]:
    """Return what the hub shows of it: numbers, in steps that are worth telling. Names are the site's to say."""
    return [
        {
            "use_percent": gpu.use_percent,
            "memory_used_mb": 128 * round(gpu.memory_used_bytes / _MB / 128),
            "memory_mb": gpu.memory_bytes // _MB,
        }
        for gpu in news.gpus
    ]
