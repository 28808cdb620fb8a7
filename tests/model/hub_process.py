"""The hub over a world: the real spawner, resumption, reconciliation and proof, one stretch between two waits at a time.

A coroutine of the hub can't be copied, so none lives longer than one step. Where the real one would wait (for the
next attempt, for a call home), the step ends with `Pause`; the next step calls it again from its beginning, which
`_submit`, `resume`, `_start_adopted`, `stop` and `poll` are made to bear. What is written anew here, because it is
JupyterHub's and not ours, is only the order in which `User.spawn` and `User.stop` call a spawner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from davide_hub import reconcile as reconcile_module
from davide_hub import resume as resume_module
from davide_hub import spawner as spawner_module
from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.broker.sessions import Refused
from davide_hub.options import SessionFailed
from davide_hub.proof import Proof
from davide_hub.reconcile import Reconciler
from davide_hub.resume import Resumer
from davide_hub.spawner import Adoption, DavideSpawner
from davide_hub.states import GONE, UNKNOWN, Job, Phase
from world import DIGESTS, SITE, UID, USER, Broker, BrokerDied, HubDied, Memory, World

_PORT = 40123
_SAVED = ("job_id", "node", "port", "session_key", "stopping", "token_digest", "unsure")
_FLAGS = ("_closed", "_proved", "_taken_up")
_PHASES = {"waits": Phase.WAITING, "runs": Phase.RUNNING, "ended": Phase.ENDED}


class Pause(BaseException):
    """The coroutine waits: for a moment to pass, or for something from outside."""


class _Wait:
    """An event that makes who waits for it look around once, and then pause."""

    def __init__(self) -> None:
        self.here = False
        self._looked = False

    def set(self) -> None:
        self.here = True

    def clear(self) -> None:
        self.here = False

    def is_set(self) -> bool:
        return self.here

    async def wait(self) -> None:
        if self._looked:
            raise Pause
        self._looked = True
        raise TimeoutError


class _Submission:
    """The task that submits: goes on with it whenever somebody waits for it."""

    def __init__(self, spawner: Spawner, done: bool = False) -> None:
        self._spawner, self._done = spawner, done

    def done(self) -> bool:
        return self._done

    def __await__(self) -> Generator[Any, Any, None]:
        if not self._done:
            try:
                yield from self._spawner._submit().__await__()
            except SessionFailed:
                self._done = True
                raise
            self._done = True


class _Asyncio:
    """What the spawner uses of asyncio, without a loop."""

    Event = _Wait
    Task = Any

    def __init__(self) -> None:
        self.spawner: Spawner

    def create_task(self, work: Coroutine[Any, Any, Any]) -> _Submission:
        work.close()
        return _Submission(self.spawner)

    @staticmethod
    def shield(work: _Submission) -> _Submission:
        return work

    @staticmethod
    async def gather(work: _Submission, *, return_exceptions: bool) -> None:
        try:
            await work
        except SessionFailed:
            if not return_exceptions:
                raise

    @staticmethod
    async def sleep(seconds: float) -> None:
        if seconds:  # else it only lets others have a turn
            raise Pause

    @staticmethod
    async def to_thread(function: Callable[..., Any], *words: Any) -> Any:
        return function(*words)

    @staticmethod
    @asynccontextmanager
    async def timeout(_seconds: float) -> Any:
        yield


class Spawner(DavideSpawner):  # type: ignore[misc]
    """The real one, with the database of a world and without JupyterHub's tokens."""

    hub: Hub
    log = logging.getLogger("model")
    server = None
    # Plain attributes: to check a trait's type at each of a million steps would take most of the time.
    profile_name = session_key = token_digest = unsure = node = stopping = ended = job_id = job_status = api_token = ""
    port = 0
    user_options: dict[str, str] = {}  # noqa: RUF012 - never written to
    site = SITE
    orm_spawner = SimpleNamespace(name="", user_options={})

    @property
    def active(self) -> bool:
        return self.hub.memory.phase != "idle"

    @property
    def pending(self) -> str | None:
        return {"idle": None, "up": None, "stopping": "stop"}.get(self.hub.memory.phase, "spawn")

    def _save(self) -> None:
        self.hub.save(has_server=True)

    def _commit(self) -> None:
        pass

    def _set_server(self) -> None:
        pass

    def _use_token(self, token: str) -> None:
        self.api_token = token

    def _revoke_token(self) -> None:
        pass

    def get_env(self) -> dict[str, str]:
        return {"JUPYTERHUB_API_TOKEN": self.api_token}


class _View:
    """What Slurm tells everybody: the truth, nothing, less than all, or what was true a moment ago."""

    silent = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._left_out = ""

    async def look(self, number: str) -> Job:
        job = self._hub.world.jobs.get(number)
        if job is None:
            self._left_out = number
            return UNKNOWN
        old = ("is late",) if job.state == "ended" else ()
        what = self._hub.choices.among("tells", "is silent", "leaves it out", *old)
        self._left_out = number if what == "leaves it out" else ""
        if what == "is late":
            return Job(Phase.RUNNING, "RUNNING", "gpu01", uid=UID)
        return self.last(number) if what == "tells" else UNKNOWN

    def last(self, number: str) -> Job:
        job = self._hub.world.jobs.get(number)
        return Job(_PHASES[job.state], job.state, "gpu01" if job.state == "runs" else "", uid=UID) if job else UNKNOWN

    def missing(self, number: str) -> bool:
        return number == self._left_out

    def forget(self, _number: str) -> None:
        pass


class _Client(BrokerClient):
    """Hands requests to the broker, if both live and nothing gets lost."""

    def __init__(self, hub: Hub) -> None:
        object.__setattr__(self, "hub", hub)

    async def _ask(self, request: Any, _seconds: float = 0) -> str:
        return self.hub.ask(request)


class _Resumer(Resumer):
    """The real one, whose background is the next step."""

    hub: Hub

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        work.close()
        self.hub.memory.phase, self.hub.memory.stop_begun = "stopping", False

    def _start_in_background(self, spawner: DavideSpawner, work: Coroutine[Any, Any, None]) -> None:
        work.close()
        self.hub.memory.phase = "resuming" if spawner.to_adopt is None else "adopting"

    def _watch(self, _user: Any, _spawner: DavideSpawner) -> None:
        self.hub.memory.phase = "up"


class _Reconciler(Reconciler):
    """The real one, for a hub with one user."""

    hub: Hub

    def _user(self, _name: str) -> Any:
        return self.hub


class Hub:
    """A hub's process, brought to life from a world's memory for one step. It is its only user, too."""

    name = USER

    def __init__(self, patch: Any, broker: Broker) -> None:
        self.broker = broker
        self.world, self.choices = World(), broker.choices
        self.memory = Memory()
        self.commits: list[tuple[bool, tuple[tuple[str, Any], ...]]] = []
        self._asyncio = _Asyncio()
        patch.setattr(spawner_module, "asyncio", self._asyncio)
        patch.setattr(reconcile_module, "asyncio", self._asyncio)
        patch.setattr(spawner_module, "maybe_future", _maybe)
        patch.setattr(spawner_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
        patch.setattr(reconcile_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
        patch.setattr(spawner_module, "token_hex", lambda _: self.world.new_key())
        # A token is known by its key here; the digest is the one that the broker makes of it.
        patch.setattr(spawner_module, "digest", lambda token: DIGESTS[token[-3:]])
        for module in (spawner_module, reconcile_module, resume_module):
            if hasattr(module, "_log"):
                patch.setattr(module, "_log", logging.getLogger("model"))
        logging.getLogger("model").disabled = logging.getLogger("jupyterhub.davide.proof").disabled = True
        self.proof = Proof(_View(self), _Client(self), clock=lambda: 0.0)
        self.proof._uids[USER] = UID
        nodes = SimpleNamespace(name_of=_gpu01)
        self.spawner = Spawner(broker=self.proof.broker, user=SimpleNamespace(name=USER, spawners={}))
        self.spawner.hub, self.spawner.proof, self.spawner.nodes = self, self.proof, nodes
        self.spawner.certificates = SimpleNamespace(for_session=lambda _key: {})
        self._asyncio.spawner = self.spawner
        proxy = SimpleNamespace(add_user=_nothing, delete_user=_nothing)
        app = SimpleNamespace(spawner_class=SimpleNamespace(proof=self.proof), proxy=proxy, users={USER: self})
        self.resumer = _Resumer(app)
        self.resumer.hub = self
        self.reconciler = _Reconciler(app, self.resumer)
        self.reconciler.hub = self

    # -- from a world's memory and back

    def wake(self) -> None:
        """Take up what the world remembers of the hub."""
        self.memory = self.world.hub or Memory()
        one, kept = self.spawner, dict(self.memory.spawner)
        for name in _SAVED:
            setattr(one, name, kept.get(name, 0 if name == "port" else ""))
        one._at_home = _Wait()
        one._at_home.here = kept.get("at_home", False)
        for name in _FLAGS:
            setattr(one, name, kept.get(name, False))
        one._runs_since, one.to_adopt, one.ended = None, None, ""
        one.api_token = f"token of {one.session_key}"
        one._submission = _Submission(one) if self.memory.submission else None
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

    _comparing = False

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


async def _nothing(*_: Any) -> None:
    pass


async def _gpu01(_address: str) -> str:
    return "gpu01"


async def _maybe(value: Any) -> Any:
    return value
