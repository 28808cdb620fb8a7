"""Whether a session's job has ended: on proof only.

A final state in Slurm's list or in accounting is proof. A job that is left out of the list is none: then the owner
is asked, one owner at a time and seldom, and has to say it twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.slurm import SlurmView
from davide_hub.states import GONE, UNKNOWN, Job, Phase, phase_of
from davide_hub.who import uid_of

_log = logging.getLogger("jupyterhub.davide.proof")

# An owner's query is two RPCs. This many seconds lie between two, and between an owner's two words.
_PAUSE_SECONDS = 20
# What an owner said of a job that the list leaves out counts for so long.
_KEEP_SECONDS = 120
_NOTHING = (float("-inf"), UNKNOWN)


@dataclass
class Proof:
    """Tells what became of a job, from the view that serves all and from owners where that is not enough.

    Parameters
    ----------
    view
        What Slurm tells everybody.
    broker
        Who asks as the owner.
    clock
        Seconds that only grow.
    """

    view: SlurmView
    broker: BrokerClient
    clock: Callable[[], float] = time.monotonic
    _next: float = field(default=float("-inf"), init=False)
    _heard: dict[str, tuple[float, Job]] = field(default_factory=dict, init=False)
    _missed: dict[str, float] = field(default_factory=dict, init=False)
    _uids: dict[str, int] = field(default_factory=dict, init=False)

    async def job(self, user: str, key: str, number: str) -> Job:
        """Return what is known of a session's job; `UNKNOWN` where nothing is proved.

        Parameters
        ----------
        user, key
            Whose session, and which.
        number
            Its job's number.
        """
        job = await self.view.look(number)
        uid = await self.uid_of(user)
        strange = job.uid is not None and uid is not None and job.uid != uid
        if not strange and not self.view.missing(number):
            self._heard.pop(key, None)
            return job
        # Left out of the list; or the number is another user's by now, which says as little about ours.
        return await self._ask_owner(user, key)

    async def _ask_owner(self, user: str, key: str) -> Job:
        now = self.clock()
        asked, heard = self._heard.get(key, _NOTHING)
        if self._has_the_turn(key, now):
            self._next = now + _PAUSE_SECONDS
            told = await self._owners_word(user, key)
            # Gone only if it was gone the time before, too.
            if told.state == GONE and heard.state != GONE:
                self._heard[key] = (now, Job(Phase.UNKNOWN, GONE))
                return UNKNOWN
            self._heard[key] = (now, told)
            return told
        return heard if now - asked < _KEEP_SECONDS and heard.state != GONE else UNKNOWN

    def _has_the_turn(self, key: str, now: float) -> bool:
        """Return whether this is the session to ask about: of those that are missed, the one asked longest ago."""
        self._missed[key] = now
        # Who has not been missed for a while is in the list again, or ended.
        self._missed = {one: when for one, when in self._missed.items() if now - when < _PAUSE_SECONDS}
        asked = {one: self._heard.get(one, _NOTHING)[0] for one in self._missed}
        return now >= self._next and now - asked[key] >= _PAUSE_SECONDS and asked[key] == min(asked.values())

    async def _owners_word(self, user: str, key: str) -> Job:
        try:
            told = await self.broker.look(user, key)
        except (BrokerRefused, BrokerUnreachable) as error:
            if isinstance(error, BrokerRefused) and error.kind == "ended":
                # The broker saw its last job end, and asks Slurm for nobody who is not logged in.
                return Job(Phase.ENDED, GONE)
            _log.warning("Slurm was asked as %s about session %s in vain: %s", user, key, error)
            return UNKNOWN
        _log.warning(
            "Slurm's list leaves out job %s; to its owner %s Slurm says %s", told["number"], user, told["state"]
        )
        return as_job(told)

    async def uid_of(self, user: str) -> int | None:
        """Return a user's uid, None while the directory does not tell it."""
        if user not in self._uids and (uid := await uid_of(user)) is not None:
            self._uids[user] = uid
        return self._uids.get(user)


def as_job(told: dict[str, Any]) -> Job:
    """Return a job as the broker describes what the owner sees; see `broker.owner.OwnersJob`."""
    return Job(
        phase_of(told["state"]),
        told["state"],
        told["node"],
        told["reason"],
        cancelled_by=told["cancelled_by"],
        uid=told["uid"],
        number=told["number"],
    )
