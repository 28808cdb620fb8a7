"""One answer for all who ask: however many look, a question is asked seldom, and only while somebody looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from davide_hub.questions import SlurmSilent

_log = logging.getLogger("jupyterhub.davide.shared")

T = TypeVar("T")


@dataclass
class Shared(Generic[T]):
    """The last answer to a question, and how old it is.

    Parameters
    ----------
    ask
        Asks; raises `SlurmSilent`.
    seconds
        How long lies between two questions, at least.
    keep
        How old an answer may be.
    clock
        Seconds that only grow.
    """

    ask: Callable[[], Awaitable[T]]
    seconds: float
    keep: float
    clock: Callable[[], float] = time.monotonic
    silent: bool = field(default=False, init=False)
    _answer: T | None = field(default=None, init=False)
    # Both of when the question was asked: what is true then may not be when the answer comes.
    _answered: float = field(default=float("-inf"), init=False)
    _asked: float = field(default=float("-inf"), init=False)
    _round: asyncio.Task[None] | None = field(default=None, init=False)

    def last(self) -> T | None:
        """Return the answer, unless it is too old; have it asked anew if it is time. Waits for nothing."""
        due = self.clock() - self._asked >= self.seconds
        if due and (self._round is None or self._round.done()):
            self._asked = self.clock()
            self._round = asyncio.create_task(self._ask())
        return self._answer if self.clock() - self._answered < self.keep else None

    async def fresh(self, patience: float) -> T | None:
        """Return the answer, waiting a while for a new one if there is none that is young enough."""
        if (answer := self.last()) is not None or self._round is None:
            return answer
        await asyncio.wait([self._round], timeout=patience)
        return self.last()

    async def _ask(self) -> None:
        asked = self._asked
        try:
            answer = await self.ask()
        except SlurmSilent as silence:
            _log.warning("Slurm does not answer: %s", silence)
            self.silent = True
        else:
            self._answer, self._answered, self.silent = answer, asked, False
