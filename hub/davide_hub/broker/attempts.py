"""How often a password may be tried: counted per account, so that a classroom behind one address is no attack.

Wrong passwords alone count. After a few of them each further try has to wait, twice as long each time; PAM is not
even asked. Addresses from which an account has logged in before have a count of their own: guessing from elsewhere
locks nobody out of the place where they work. Names that are no accounts are counted the same way, so that the
answer tells nothing about them.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

FREE = 5
_LONGEST_SECONDS = 60
# A count is forgotten so long after the last wrong password.
_FORGET_SECONDS = 15 * 60
# Names cost nothing to make up: beyond so many, the oldest counts go.
_MOST = 10_000
_ADDRESSES = 4


@dataclass
class _Count:
    wrong: int
    last: float


@dataclass
class Attempts:
    """Counts wrong passwords. The caller lets one try per account pass at a time.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    clock: Callable[[], float] = time.monotonic
    _counts: OrderedDict[tuple[str, str], _Count] = field(default_factory=OrderedDict, init=False)
    _known: OrderedDict[str, list[str]] = field(default_factory=OrderedDict, init=False)

    def wait(self, user: str, address: str) -> int:
        """Return for how many seconds no password is tried; 0 if one may be tried now."""
        count = self._counts.get(self._key(user, address))
        if count is None or self.clock() - count.last > _FORGET_SECONDS or count.wrong < FREE:
            return 0
        pause = min(2.0 ** (count.wrong - FREE + 1), _LONGEST_SECONDS)
        return max(0, math.ceil(count.last + pause - self.clock()))

    def wrong(self, user: str, address: str) -> None:
        """Note a wrong password."""
        key, now = self._key(user, address), self.clock()
        count = self._counts.pop(key, None)
        before = count.wrong if count is not None and now - count.last <= _FORGET_SECONDS else 0
        self._counts[key] = _Count(min(before + 1, FREE + 10), now)
        _trim(self._counts)

    def right(self, user: str, address: str) -> None:
        """Note a right password: the count begins anew, and the address is known from now on."""
        self._counts.pop(self._key(user, address), None)
        known = self._known.pop(user, [])
        self._known[user] = [address, *(one for one in known if one != address)][:_ADDRESSES]
        _trim(self._known)

    def _key(self, user: str, address: str) -> tuple[str, str]:
        return user, address if address in self._known.get(user, ()) else ""


def _trim(table: OrderedDict[tuple[str, str], _Count] | OrderedDict[str, list[str]]) -> None:
    while len(table) > _MOST:
        table.popitem(last=False)
