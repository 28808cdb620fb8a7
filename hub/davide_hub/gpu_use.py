"""What running sessions say of their GPUs' use: numbers alone, kept in memory, and shown while they are fresh.

A session asks its own driver and tells the hub (`davide_session/use.py`); nobody asks Slurm or a node for it. Whoever
has a session could tell anything, of that one session and nothing else: so there is no text in it, and no end of a
session depends on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tornado import web

from davide_hub.callhome import OwnSessionHandler
from davide_hub.texts import text

PATH = r"/api/davide/gpu-use"
# A session tells at most every 30 s, and at least every two minutes. One report that is lost is no reason to forget.
_FRESH_SECONDS = 270
_SHORTEST_SECONDS = 5
# More than any node has, parts of GPUs included.
_MOST_GPUS = 64
_BODY_BYTES = 64 * 1024
_MOST_MB = 16 * 1024 * 1024
_FIELDS = {"use_percent", "memory_used_mb", "memory_mb"}
_WANTED = f'the body is to be {{"gpus": [{{"use_percent": 0 to 100 or null, "memory_used_mb": N, "memory_mb": N}}, ...]}}, at most {_MOST_GPUS}'  # noqa: E501


class Unreadable(Exception):  # noqa: N818 - it is what it says
    """A report that is not one."""


@dataclass(frozen=True)
class GpuUse:
    """A session's word on its GPUs.

    Attributes
    ----------
    heard
        When, by the clock that only grows.
    percents
        How busy each is; None for parts of a GPU, of which nobody knows.
    memory_used_mb, memory_mb
        Of all together.
    """

    heard: float
    percents: tuple[int | None, ...]
    memory_used_mb: int
    memory_mb: int

    @property
    def words(self) -> str:
        """What a page shows."""
        memory = {"used": _gigabytes(self.memory_used_mb), "all": _gigabytes(self.memory_mb)}
        if all(one is None for one in self.percents):
            return text("home.gpu_parts", **memory)
        each = ", ".join("?" if one is None else str(one) for one in self.percents)
        return text("home.gpu_use", percents=each, **memory)


def read_use(body: Any, heard: float) -> GpuUse:
    """Return what a report says.

    Parameters
    ----------
    body
        Untrusted.
    heard
        When it came.

    Raises
    ------
    Unreadable
        If it holds anything but numbers within bounds.
    """
    gpus = body.get("gpus") if isinstance(body, dict) and set(body) == {"gpus"} else None
    if not isinstance(gpus, list) or not 1 <= len(gpus) <= _MOST_GPUS:
        raise Unreadable(_WANTED)
    if any(not isinstance(one, dict) or set(one) != _FIELDS for one in gpus):
        raise Unreadable(_WANTED)
    percents = tuple(None if one["use_percent"] is None else _number(one["use_percent"], 100) for one in gpus)
    used, there = (sum(_number(one[name], _MOST_MB) for one in gpus) for name in ("memory_used_mb", "memory_mb"))
    return GpuUse(heard, percents, used, there)


def fresh(use: GpuUse | None) -> GpuUse | None:
    """Return a report unless it is too old to be shown."""
    return use if use is not None and time.monotonic() - use.heard <= _FRESH_SECONDS else None


class GpuUseHandler(OwnSessionHandler):
    """Takes a session's report from its own token. 204 is "noted"; 429 is "too soon"."""

    async def post(self) -> None:
        """Note what the session says, in place of what it said before."""
        spawner = self._own_session()
        now = time.monotonic()
        if spawner.gpu_use is not None and now - spawner.gpu_use.heard < _SHORTEST_SECONDS:
            raise web.HTTPError(429, f"a session tells its use every {_SHORTEST_SECONDS} s at most")
        if len(self.request.body) > _BODY_BYTES:
            raise web.HTTPError(413, f"a report has {_BODY_BYTES} bytes at most")
        try:
            spawner.gpu_use = read_use(self.get_json_body(), now)
        except Unreadable as error:
            raise web.HTTPError(400, str(error)) from None
        self.set_status(204)


def _number(value: Any, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise Unreadable(_WANTED)
    return value


def _gigabytes(megabytes: int) -> str:
    gigabytes = megabytes / 1024
    return f"{gigabytes:.1f}" if 0 < gigabytes < 10 else f"{gigabytes:.0f}"
