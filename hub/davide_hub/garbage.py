"""Python's search for cyclic garbage, at moments when it keeps nobody waiting.

A full search looks at every object there is, and everything else stands still meanwhile: with 500 sessions up to half
a second, again every few seconds while a class starts, for a few hundred objects each time. So what lives as long as
the hub is left out (https://docs.python.org/3/library/gc.html#gc.freeze), and the rest is looked through rarely.
"""

from __future__ import annotations

import asyncio
import gc

_EVERY_SECONDS = 600
# How many more objects than before make Python look at the youngest; how many such looks make it look at the older
# ones, which takes milliseconds. The third number puts off the full search, which is ours to make.
_THRESHOLDS = (10_000, 10, 1_000_000)


class Collector:
    """Makes the full searches of a hub that has started."""

    async def run(self) -> None:
        """Search again and again, for as long as the hub runs."""
        settle()
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            gc.collect()


def settle() -> None:
    """Take all that is there now, the libraries above all, for what lives as long as the hub."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
