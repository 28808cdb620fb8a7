"""When Slurm would start a session, asked seldom and for all who look: Slurm's controller thinks hard about each.

`sbatch --test-only` runs as one of those who look, through the broker. Its answer holds for everybody who would be
charged to the same account, in the same QOS and reservation; what it refuses is told to this user alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.plan import Plan

_log = logging.getLogger("jupyterhub.davide.estimates")

# With squeue and sinfo every 15 s and the reservations every two minutes, this makes ten queries a minute.
PAUSE_SECONDS = 40
KEEP_SECONDS = 300
# So many are waited for, at most; who comes later looks again.
_LINE = 50

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Estimate:
    """What Slurm said: when, in seconds since 1970; or to `user` that it never would, and why."""

    taken: float
    start: float | None
    refusal: str = ""
    user: str = ""


@dataclass
class Estimates:
    """Keeps what Slurm estimated, and asks again for what is looked at.

    Parameters
    ----------
    broker
        Who asks in the users' names.
    clock
        Seconds that only grow.
    """

    broker: BrokerClient
    clock: Callable[[], float] = time.monotonic
    _known: dict[Key, Estimate] = field(default_factory=dict, init=False)
    _wanted: dict[Key, tuple[str, Plan]] = field(default_factory=dict, init=False)
    _worker: asyncio.Task[None] | None = field(default=None, init=False)
    _asked: float = field(default=float("-inf"), init=False)

    def look(self, user: str, plan: Plan) -> Estimate | None:
        """Return what is known of such a session, and have it asked if that is nothing, or old. Waits for nothing."""
        key = (plan.account, plan.qos, plan.reservation, plan.profile.name)
        known = self._known.get(key)
        age = self.clock() - known.taken if known else float("inf")
        foreign = known is not None and known.refusal and known.user != user
        if (age > 2 * PAUSE_SECONDS or foreign) and len(self._wanted) < _LINE:
            self._wanted.setdefault(key, (user, plan))
            if self._worker is None or self._worker.done():
                self._worker = asyncio.create_task(self._work())
        return None if foreign or age > KEEP_SECONDS else known

    async def _work(self) -> None:
        while self._wanted:
            await asyncio.sleep(max(0, self._asked + PAUSE_SECONDS - self.clock()))
            self._asked = self.clock()
            key = next(iter(self._wanted))
            user, plan = self._wanted.pop(key)
            try:
                start = await self.broker.estimate(user, plan.wishes())
            except BrokerRefused as refusal:
                if refusal.kind in ("slurm", "bad_choice", "not_allowed"):
                    self._known[key] = Estimate(self.clock(), None, str(refusal), user)
                else:
                    _log.info("no estimate for %s: %s", plan.profile.name, refusal)
            except BrokerUnreachable:
                _log.warning("no estimate for %s: the broker does not answer", plan.profile.name)
            else:
                self._known[key] = Estimate(self.clock(), start)
            self._forget_old()

    def _forget_old(self) -> None:
        now = self.clock()
        self._known = {key: one for key, one in self._known.items() if now - one.taken <= KEEP_SECONDS}
