"""Python's search for cyclic garbage, at moments when it keeps nobody waiting.

A full search looks at every object there is, and everything else stands still meanwhile: with 500 sessions up to half
a second, again every few seconds while a class starts, for a few hundred objects each time. So what lives as long as
the hub is left out (https://docs.python.org/3/library/gc.html#gc.freeze), and the rest is looked through rarely.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

_EVERY_SECONDS = 600
# While sessions start or stop, the search waits; for no longer than this.
_PUT_OFF_SECONDS = 1800
_LOOK_SECONDS = 5
# How many more objects than before make Python look at the youngest; how many such looks make it look at the older
# ones, which takes milliseconds. The third number puts off the full search, which is ours to make.
_THRESHOLDS = (10_000, 10, 1_000_000)


class Collector:
    """Makes the full searches of a hub that has started.

    Parameters
    ----------
    busy
        Tells whether somebody waits for the hub just now.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy

    async def run(self) -> None:
        """Search again and again, for as long as the hub runs."""
        settle()
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self._quiet()
            gc.collect()

    async def _quiet(self) -> None:
        for _ in range(_PUT_OFF_SECONDS // _LOOK_SECONDS):
            if not self._busy():
                return
            await asyncio.sleep(_LOOK_SECONDS)


def settle() -> None:
    """Take all that is there now, the libraries above all, for what lives as long as the hub."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
