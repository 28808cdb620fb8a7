"""Which node an address belongs to, by the names that the site facts give to nodes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# Nodes hardly ever change their addresses; a wrong answer of the directory shall not last for ever.
_KEEP_SECONDS = 600
_PATIENCE_SECONDS = 2

Resolve = Callable[[str], set[str]]


def addresses_of(name: str) -> set[str]:
    """Return the addresses of a host; none if the directory does not answer."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


@dataclass
class Nodes:
    """Knows nodes by their addresses, without holding up anybody while a directory is asked.

    Parameters
    ----------
    names
        The nodes of the site's partitions.
    resolve
        Returns a name's addresses; runs in a thread.
    """

    names: Iterable[str]
    resolve: Resolve = addresses_of
    _known: dict[str, str] = field(default_factory=dict, init=False)
    _asked: float = field(default=float("-inf"), init=False)
    _asking: asyncio.Task[None] | None = field(default=None, init=False)

    async def name_of(self, address: str) -> str:
        """Return the node with this address; empty if none is known to have it."""
        plain = address.removeprefix("::ffff:")
        if time.monotonic() - self._asked > _KEEP_SECONDS or plain not in self._known:
            await self._ask()
        return self._known.get(plain, "")

    async def _ask(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        await asyncio.wait([self._asking], timeout=_PATIENCE_SECONDS)

    async def _ask_all(self) -> None:
        loop = asyncio.get_running_loop()
        names = list(self.names)
        found = await asyncio.gather(*(loop.run_in_executor(None, self.resolve, name) for name in names))
        known = {address: name for name, addresses in zip(names, found, strict=True) for address in addresses}
        # What a silent directory does not tell now is what it told before.
        self._known = self._known | known
        self._asked = time.monotonic()
