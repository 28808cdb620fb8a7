"""The hub over a world: the real spawner, resumption, reconciliation and proof, a stretch between two waits at a time.

A coroutine of the hub can't be copied, so none lives longer than one step. Where the real one would wait (for the
next attempt, for a call home), the step ends with `Pause`; the next step calls it again from its beginning, which
`_submit`, `resume`, `_start_adopted`, `stop` and `poll` are made to bear. Written anew here, because it is JupyterHub's
and not ours, is the order in which `User.spawn` and `User.stop` call a spawner; and how `start` goes on after a pause.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

from broker_process import Broker, BrokerDied
from davide_hub import reconcile as reconcile_module
from davide_hub import resume as resume_module
from davide_hub import spawner as spawner_module
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.broker.sessions import Refused
from davide_hub.options import SessionFailed
from davide_hub.proof import Proof
from davide_hub.spawner import Adoption
from davide_hub.states import GONE, Job, Phase
from stand_ins import Asyncio, Client, OneUserReconciler, Pause, Spawner, StepwiseResumer, Submission, View, Wait
from world import DIGESTS, UID, USER, Memory, World

_PORT = 40123
_SAVED = ("job_id", "node", "port", "session_key", "stopping", "token_digest", "unsure")
_FLAGS = ("_closed", "_proved", "_taken_up")


class HubDied(BaseException):
    """The hub is killed in this instant."""


class Hub:
    """A hub's process, brought to life from a world's memory for one step. It is its only user, too."""

    name = USER

    def __init__(self, patch: Any, broker: Broker) -> None:
        self.broker = broker
        self.world, self.choices = World(), broker.choices
        self.memory = Memory()
        self.commits: list[tuple[bool, tuple[tuple[str, Any], ...]]] = []
        self._comparing = False
        self._asyncio = Asyncio()
        patch.setattr(spawner_module, "asyncio", self._asyncio)
        patch.setattr(reconcile_module, "asyncio", self._asyncio)
        patch.setattr(spawner_module, "maybe_future", _maybe)
        patch.setattr(spawner_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
        patch.setattr(reconcile_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
        # In this world every answer of Slurm's is of now, and nobody else waits for a turn.
        patch.setattr(spawner_module, "_OLDEST_ANSWER_SECONDS", 0)
        patch.setattr(spawner_module, "turn", _nothing)
        patch.setattr(spawner_module, "token_hex", lambda _: self.world.new_key())
        # A token is known by its key here; the digest is the one that the broker makes of it.
        patch.setattr(spawner_module, "digest", lambda token: DIGESTS[token[-3:]])
        for module in (spawner_module, reconcile_module, resume_module):
            if hasattr(module, "_log"):
                patch.setattr(module, "_log", logging.getLogger("model"))
        logging.getLogger("model").disabled = logging.getLogger("jupyterhub.davide.proof").disabled = True
        self.proof = Proof(View(self), Client(self), clock=lambda: 0.0)
        self.proof._uids[USER] = UID
        nodes = SimpleNamespace(name_of=_gpu01)
        self.spawner = Spawner(broker=self.proof.broker, user=SimpleNamespace(name=USER, spawners={}))
        self.spawner.hub, self.spawner.proof, self.spawner.nodes = self, self.proof, nodes
        self.spawner.certificates = SimpleNamespace(for_session=lambda _key: {})
        self._asyncio.spawner = self.spawner
        proxy = SimpleNamespace(add_user=_nothing, delete_user=_nothing)
        app = SimpleNamespace(spawner_class=SimpleNamespace(proof=self.proof), proxy=proxy, users={USER: self})
        self.resumer = StepwiseResumer(app)
        self.resumer.hub = self
        self.reconciler = OneUserReconciler(app, self.resumer)
        self.reconciler.hub = self

    # -- from a world's memory and back

    def wake(self) -> None:
        """Take up what the world remembers of the hub."""
        self.memory = self.world.hub or Memory()
        one, kept = self.spawner, dict(self.memory.spawner)
        for name in _SAVED:
            setattr(one, name, kept.get(name, 0 if name == "port" else ""))
        one._at_home = Wait()
        one._at_home.here = kept.get("at_home", False)
        for name in _FLAGS:
            setattr(one, name, kept.get(name, False))
        one._runs_since, one.to_adopt, one.ended = None, None, ""
        one.api_token = f"token of {one.session_key}"
        one._submission = Submission(one) if self.memory.submission else None
        # The search for marks that even the ledger has lost is no part of this: here none is lost.
        self.reconciler._queue_read = True
        # Between two steps as much time passes as it takes to be told again.
        self.reconciler._told = dict.fromkeys(self.world.disk, float("-inf"))
        self.reconciler._forgotten_ends = set(self.memory.forgotten_ends)
        self.proof._next = float("-inf")
        self.proof._missed = {}
        self.proof._heard = {key: (-1e6, Job(Phase.UNKNOWN, GONE)) for key in self.world.said_gone}

    def sleep(self) -> None:
        """Leave in the world what the hub has to remember."""
        one, memory = self.spawner, self.memory
        kept = {name: getattr(one, name) for name in _SAVED}
        kept |= {"at_home": one._at_home.is_set(), **{name: getattr(one, name) for name in _FLAGS}}
        memory.spawner = tuple(sorted((name, value) for name, value in kept.items() if value))
        memory.submission = one._submission is not None and not one._submission.done()
        memory.forgotten_ends = tuple(sorted(self.reconciler._forgotten_ends & self.world.disk.keys()))
        if memory.phase != "adopting":
            memory.adoption = None
        if memory.phase == "up" and one.job_id in self.world.jobs:
            self.world.jobs[one.job_id].heard = True  # its user has been let in
        self.world.said_gone = {key for key, (_, word) in self.proof._heard.items() if word.state == GONE}
        self.world.hub = memory

    def save(self, has_server: bool) -> None:
        """Commit the spawner's state."""
        state = self.spawner.get_state()
        now = (has_server, tuple((name, state[name]) for name in _SAVED if name in state))
        if now in self.commits:
            self.commits.remove(now)
        self.commits.insert(0, now)

    def commit(self) -> None:
        """Let the commits of a step reach the disk. A loss of power would take the last of them along, or all."""
        if self.commits:
            earlier = [one for one in (*self.commits, self.world.database) if one != self.commits[0]]
            self.world.database = self.choices.among(self.commits[0], *dict.fromkeys(earlier))
            self.commits.clear()

    def ask(self, request: Any) -> str:
        """Ask the broker; it, the hub or the way between them may fail at any moment."""
        if request.verb == "log":
            return ""
        worse = ("hub dies, broker works on later",) if request.verb == "submit" else ()
        what = self.choices.among("answered", "away", *worse)
        if what == "hub dies, broker works on later":
            self.world.queued.append(request)
            raise HubDied
        if what == "away":
            raise BrokerUnreachable
        try:
            return self.broker.serve(request)
        except BrokerDied:
            raise BrokerUnreachable from None
        except Refused as refusal:
            raise BrokerRefused(refusal.kind, refusal.sentence) from None
        finally:
            self.meanwhile()

    def meanwhile(self) -> None:
        """Let the user press a button while the reconciliation waits for the broker."""
        if self._comparing and self.choices.among(False, True):
            self._comparing = False
            run(self.press_stop() if self.spawner.active else self.spawn())

    # -- what JupyterHub does with a spawner

    async def spawn(self, _name: str = "", options: Any = None) -> None:
        """Do what `User.spawn` does, until the start waits for something."""
        one = self.spawner
        if one.to_adopt is None:
            self.world.unwanted |= self.world.keys()
        self.save(has_server=True)
        self.memory.phase = "adopting" if one.to_adopt is not None else "starting"
        one.clear_state()
        one.api_token = f"token of {self.world.new_key()}"
        one.user_options = {}
        await self._in_spawn(one.start())

    async def _in_spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except SessionFailed:
            await self.stop()
            raise
        self.save(has_server=True)
        self.memory.phase = "up"

    async def stop(self, _name: str = "") -> None:
        """Do what `User.stop` does, until the end waits for something."""
        one, memory = self.spawner, self.memory
        memory.phase = "stopping"
        if not memory.stop_begun:
            memory.stop_begun = await one.poll() is None
        if memory.stop_begun:
            await one.stop()
        self.save(has_server=False)
        await one.run_post_stop_hook()
        one.clear_state()
        self.save(has_server=False)
        memory.phase, memory.stop_begun = "idle", False

    def get_or_create_spawner(self, *_: Any, **__: Any) -> Spawner:
        """Return the one there is."""
        return self.spawner

    # -- steps

    def boot(self) -> None:
        """Start the hub: `DavideHub.init_spawners`."""
        self.world.hub = Memory()
        self.wake()
        has_server, state = self.world.database
        self.spawner.load_state(dict(state))
        if has_server:
            self.resumer.take_up(self, self.spawner)

    async def go_on(self) -> None:
        """Go on with what the hub does about its server."""
        one = self.spawner
        match self.memory.phase:
            case "starting":
                await self._in_spawn(self._rest_of_start())
            case "resuming":
                await self.resumer._finish_start(self, one)
            case "adopting":
                await self._go_on_adopting()
            case "up":
                if await one.poll() is not None:
                    await self.resumer._ended(self, "")
            case "stopping":
                await self.stop()

    async def _rest_of_start(self) -> None:
        one = self.spawner
        if one._submission is not None:
            await one._submission
        await one._wait_for_call_home()

    async def _go_on_adopting(self) -> None:
        one, (key, job) = self.spawner, self.memory.adoption
        adoption = Adoption(key, job, "one-gpu", f"token of {key}")
        if one.session_key == key:
            await self._in_spawn(one._start_adopted(adoption))
        else:
            one.to_adopt = adoption
            await self.resumer._finish_adoption(self, one)

    @property
    def spawners(self) -> dict[str, Any]:
        """The user's servers."""
        return {"": self.spawner}

    async def press_stop(self) -> None:
        """End the server, in whatever stage it is."""
        self.world.unwanted.add(self.spawner.session_key)
        self.memory.stop_begun = False
        await self.stop()

    async def compare(self) -> None:
        """Compare with the broker's ledger once."""
        self._comparing = True
        try:
            await self.reconciler.once()
        except (BrokerUnreachable, BrokerRefused):
            pass
        finally:
            self._comparing = False
        if self.spawner.to_adopt is not None:
            told = self.spawner.to_adopt
            self.memory.adoption = (told.key, told.job)

    async def hear(self, number: str) -> None:
        """Take a call home from a job, if its token is the one of the session."""
        job = self.world.jobs[number]
        if self.spawner.token_digest == DIGESTS[job.key]:
            job.heard = await self.spawner.call_home(_PORT, "192.0.2.21")


def run(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine of the hub until it is done, waits, or fails for its user."""
    try:
        work.send(None)
    except (StopIteration, Pause, SessionFailed):
        return
    raise AssertionError("the hub waits for something that is not of this world")


async def _nothing(*_: Any, **__: Any) -> None:
    pass


async def _gpu01(_address: str) -> str:
    return "gpu01"


async def _maybe(value: Any) -> Any:
    return value
