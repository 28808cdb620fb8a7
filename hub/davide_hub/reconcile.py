"""Comparing what the hub knows with what there is: no job without a session, no session without its job.

The broker's ledger lists every session that may still have a job; in the ordinary course it agrees with the hub's
own list, and comparing the two asks Slurm nothing. Where they differ, the hub was killed at a bad moment, lost its
database, or an order reached Slurm late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from jupyterhub import orm, roles
from jupyterhub.user import User

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable, LedgerEntry
from davide_hub.database import recover
from davide_hub.proof import Proof
from davide_hub.questions import SlurmSilent
from davide_hub.resume import Resumer
from davide_hub.spawner import Adoption, DavideSpawner
from davide_hub.states import Job, Phase

_log = logging.getLogger("jupyterhub.davide.reconcile")

_EVERY_SECONDS = 15
# Slurm is told again to end a job that still lives so long after the first time.
_AGAIN_SECONDS = 90
# Ending what nobody owns asks Slurm as its owner, and a home that hangs is waited for: so many of them in a round, and
# the rest in the next.
_PER_ROUND = 3
# What proves that a session can't be taken up. Any other refusal may be over in the next round.
_LOST = ("gone", "not_allowed")


class Reconciler:
    """Adopts, closes and ends what does not belong together.

    Parameters
    ----------
    app
        The hub.
    resumer
        Who puts adopted sessions into their place.
    """

    def __init__(self, app: Any, resumer: Resumer) -> None:
        self.app = app
        self.resumer = resumer
        spawner_class: type[DavideSpawner] = app.spawner_class
        self.proof: Proof = spawner_class.proof
        self.broker: BrokerClient = self.proof.broker
        self._users: dict[str, User] = {}
        self._entries: list[LedgerEntry] = []
        self._queue_read = False
        self._told: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        self._forgotten_ends: set[str] = set()

    async def run(self) -> None:
        """Compare again and again, for as long as the hub runs."""
        while True:
            try:
                recover(self.app.db)
                await self.once()
            except (BrokerUnreachable, BrokerRefused) as silence:
                _log.info("nothing to compare with just now: %s", silence)
            except Exception:  # noqa: BLE001 - whatever it is, the next round may go well
                _log.exception("comparing with the ledger failed; the next round follows")
            await self._pause()

    async def _pause(self) -> None:
        risen = self.proof.view.risen
        with suppress(TimeoutError):
            await asyncio.wait_for(risen.wait(), _EVERY_SECONDS)
            risen.clear()
            # The mark says whose it is: the hub may have forgotten it.
            self._queue_read = False

    async def once(self) -> None:
        """Compare once."""
        hub, entries = await self.broker.sessions()
        await self.proof.view.watch_the_buried()
        if not self._queue_read:
            try:
                self._queue_read = await self._claim_marked(hub, {entry.key for entry in entries})
            except SlurmSilent as silence:
                # What the ledger lists does not wait for that: a queue may be too long to be read in time, for ever.
                _log.info("jobs that the ledger may have forgotten are looked for later: %s", silence)
            _, entries = await self.broker.sessions()
        self._users = {user.name: user for user in self.app.users.values()}
        self._entries = entries
        orders = 0
        # Whoever's home said nothing comes last: it may do so for long, and the others must not wait for it.
        for entry in sorted(entries, key=lambda one: self._silent.get(one.key, 0.0)):
            # Each look into the database takes a moment, and there may be hundreds: others are served between.
            await asyncio.sleep(0)
            if orders < _PER_ROUND:
                try:
                    orders += await self._compare(entry)
                except (BrokerRefused, ValueError) as problem:
                    # ValueError: a server's name that JupyterHub would not have given. The others must not wait.
                    _log.warning("session %s of %s is settled later: %s", entry.key, entry.user, problem)
        keys = {entry.key for entry in entries}
        self._told = {key: when for key, when in self._told.items() if key in keys}
        self._silent = {key: when for key, when in self._silent.items() if key in keys}

    def _spawner(self, entry: LedgerEntry) -> DavideSpawner | None:
        # Every user with a session is in this mapping. A query per entry would hold up a hub with many.
        user = self._users.get(entry.user)
        found: DavideSpawner | None = user.spawners.get(entry.server) if user is not None else None
        return found

    def _owned(self, entry: LedgerEntry) -> bool:
        spawner = self._spawner(entry)
        return spawner is not None and spawner.session_key == entry.key and spawner.active

    async def _compare(self, entry: LedgerEntry) -> bool:
        """Deal with one session; return whether Slurm was asked or told anything for it alone."""
        if entry.doubtful and entry.state == "submitted" and self._is_time(entry, _AGAIN_SECONDS / 3):
            # Where Slurm took the session twice, the broker ends one job, and knows the other one from then on.
            await self.broker.look(entry.user, entry.key)
            return True
        if self._owned(entry):
            self._end_again(entry)
            return False
        return await self._settle(entry)

    def _end_again(self, entry: LedgerEntry) -> None:
        """Go on with an end that the broker has begun and that the hub has forgotten: its database is an old one."""
        spawner = self._spawner(entry)
        if entry.state != "closing" or spawner is None or spawner.pending == "stop":
            self._forgotten_ends.discard(entry.key)
        elif entry.key not in self._forgotten_ends:
            # Not at once: a start that failed in this moment ends itself.
            self._forgotten_ends.add(entry.key)
        else:
            _log.warning("%s was to end, and the database does not know it: ending it", spawner._log_name)
            self.resumer.end(self._users[entry.user], spawner)

    async def _settle(self, entry: LedgerEntry) -> bool:
        """Deal with a session that no server of the hub owns; return whether that may have taken its time."""
        if not entry.job:
            return await self._settle_without_job(entry)
        job = await self.proof.job(entry.user, entry.key, entry.job)
        if job.phase in (Phase.ENDED, Phase.ENDING):
            if job.phase is Phase.ENDED:
                self.proof.view.forget(entry.job)
                return not await self.broker.close(entry.user, entry.key) and await self._end(entry)
            return False
        if job.phase is Phase.UNKNOWN:
            return False
        if entry.state == "closing":
            # What Slurm said may be older than the order that ends the job: so the first sight of it is no news.
            self._told.setdefault(entry.key, time.monotonic())
            return await self._end(entry)
        spawner = self._spawner(entry)
        if spawner is not None and spawner.active:
            return await self._end_double(entry, spawner)
        if await self._yields(entry, job):
            return False
        return await self._adopt(entry)

    async def _yields(self, entry: LedgerEntry, job: Job) -> bool:
        """Return whether another forgotten session of the same server comes first: one that runs has a user's work."""
        for one in self._entries:
            if one.key != entry.key and (one.user, one.server) == (entry.user, entry.server):
                if one.state == "intended" or (one.doubtful and one.state == "submitted"):
                    return True  # whether it runs is known in the next round
                if one.state == "submitted" and job.phase is Phase.WAITING:
                    other = await self.proof.job(one.user, one.key, one.job)
                    if other.phase is Phase.RUNNING:
                        return True
        return False

    async def _settle_without_job(self, entry: LedgerEntry) -> bool:
        """Deal with an order of which the broker does not know what became."""
        if entry.state == "intended" and self._is_time(entry, _AGAIN_SECONDS / 3):
            told = await self.broker.look(entry.user, entry.key)
            if told["number"]:
                return True  # the broker has noted it, and in the next round it is taken up
            # It may still lie in a controller's queue: the broker waits for it, and ends it.
            await self.broker.cancel(entry.user, entry.key)
            return True
        return await self._end(entry)

    async def _end(self, entry: LedgerEntry) -> bool:
        if not self._is_time(entry, _AGAIN_SECONDS if entry.job and not entry.doubtful else _AGAIN_SECONDS / 3):
            return False
        if entry.job:
            _log.warning("job %s of %s still lives: ending it again", entry.job, entry.user)
        await self.broker.cancel(entry.user, entry.key)
        return True

    def _has_entry(self, key: str) -> bool:
        """Return whether the broker keeps a session. Else it is about to end, whatever the hub's database says."""
        return any(one.key == key and one.state == "submitted" for one in self._entries)

    def _is_time(self, entry: LedgerEntry, pause: float) -> bool:
        """Return whether Slurm was not bothered with this session for a while; it is from now on."""
        now = time.monotonic()
        if now - self._told.get(entry.key, float("-inf")) < pause:
            return False
        self._told[entry.key] = now
        return True

    async def _end_double(self, entry: LedgerEntry, owner: DavideSpawner) -> bool:
        """End a second session of a server, once it is certain that the first is alive."""
        if not owner.job_id or owner.pending == "stop" or not self._has_entry(owner.session_key):
            return False
        job = await self.proof.job(entry.user, owner.session_key, owner.job_id)
        if job.phase not in (Phase.RUNNING, Phase.WAITING):
            return False
        _log.warning("%s has job %s; ending its other one, %s", owner._log_name, owner.job_id, entry.job)
        return await self._end(entry)

    async def _adopt(self, entry: LedgerEntry) -> bool:
        try:
            told = await self.broker.recall(entry.user, entry.key)
        except BrokerRefused as refusal:
            return await self._not_taken_up(entry, refusal)
        spawner = self._spawner(entry)
        if spawner is not None and spawner.active:
            return False  # its user has pressed Start meanwhile
        _log.warning("taking up job %s of %s, which the database does not know", entry.job, entry.user)
        adoption = Adoption(entry.key, entry.job, told["profile"], told["token"])
        self.resumer.adopt(self._user(entry.user), entry.server, adoption)
        return False

    async def _not_taken_up(self, entry: LedgerEntry, refusal: BrokerRefused) -> bool:
        """End a session that is lost for certain; leave it for a later round where nothing is proven.

        Returns
        -------
        bool
            Whether that may have taken its time.
        """
        if refusal.kind == "ended":
            return False  # its user has stopped it since the ledger was read
        if refusal.kind in _LOST:
            _log.warning("job %s of %s can't be taken up again, so it is ended: %s", entry.job, entry.user, refusal)
            return await self._end(entry)
        _log.warning("job %s of %s is taken up later: %s", entry.job, entry.user, refusal)
        self._silent[entry.key] = time.monotonic()
        return True

    def _user(self, name: str) -> User:
        row = orm.User.find(self.app.db, name)
        if row is None:
            row = orm.User(name=name)
            self.app.db.add(row)
            roles.assign_default_roles(self.app.db, entity=row)
            self.app.db.commit()
        return self.app.users[row]

    async def _claim_marked(self, hub: str, known: set[str]) -> bool:
        """Have the broker take up jobs with our mark that even the ledger has forgotten: after a lost host.

        Returns
        -------
        bool
            Whether each of them was taken up or refused for good.
        """
        decided = True
        for marked in await self.proof.view.marked():
            if marked.hub == hub and marked.key not in known:
                try:
                    await self.broker.claim(marked.user, marked.key, marked.job)
                except BrokerRefused as refusal:
                    # Forged: not ours to touch. Or Slurm, the home or the directory was silent just then.
                    _log.warning("job %s of %s: %s", marked.job, marked.user, refusal)
                    decided = decided and refusal.kind == "unknown_session"
        return decided
