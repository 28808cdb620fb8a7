"""What the hub's code meets in the model in place of asyncio, Slurm, the broker's socket and JupyterHub's database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from davide_hub.broker.client import BrokerClient
from davide_hub.options import SessionFailed
from davide_hub.reconcile import Reconciler
from davide_hub.resume import Resumer
from davide_hub.spawner import DavideSpawner
from davide_hub.states import UNKNOWN, Job, Phase
from world import SITE, UID

if TYPE_CHECKING:
    from hub_process import Hub

_PHASES = {"waits": Phase.WAITING, "runs": Phase.RUNNING, "ended": Phase.ENDED}


class Pause(BaseException):
    """The coroutine waits: for a moment to pass, or for something from outside."""


class Wait:
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


class Submission:
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


class Asyncio:
    """What the spawner uses of asyncio, without a loop."""

    Event = Wait
    Task = Any

    def __init__(self) -> None:
        self.spawner: Spawner

    def create_task(self, work: Coroutine[Any, Any, Any]) -> Submission:
        work.close()
        return Submission(self.spawner)

    @staticmethod
    def shield(work: Submission) -> Submission:
        return work

    @staticmethod
    async def gather(work: Submission, *, return_exceptions: bool) -> None:
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

    def _set_server(self) -> None:
        pass

    def _use_token(self, token: str) -> None:
        self.api_token = token

    def _revoke_token(self) -> None:
        pass

    def get_env(self) -> dict[str, str]:
        return {"JUPYTERHUB_API_TOKEN": self.api_token}


class View:
    """What Slurm tells everybody: the truth, nothing, less than all, or what was true a moment ago."""

    silent = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._left_out = ""

    def expect(self, _number: str) -> None:
        """Note nothing: each look tells what is so at that moment."""

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

    def place(self, _number: str) -> None:
        """Return that no place is known: pages show it, and nothing depends on it."""

    def missing(self, number: str) -> bool:
        return number == self._left_out

    def forget(self, _number: str) -> None:
        pass

    async def watch_the_buried(self) -> None:
        """See nothing: no job of this world is alive again after its end."""


class Client(BrokerClient):
    """Hands requests to the broker, if both live and nothing gets lost."""

    def __init__(self, hub: Hub) -> None:
        object.__setattr__(self, "hub", hub)

    async def _ask(self, request: Any, _seconds: float = 0) -> str:
        return self.hub.ask(request)


class StepwiseResumer(Resumer):
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


class OneUserReconciler(Reconciler):
    """The real one, for a hub with one user."""

    hub: Hub

    def _user(self, _name: str) -> Any:
        return self.hub
