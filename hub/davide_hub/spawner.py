"""A user's session: one Slurm job, submitted by the broker, that calls home when JupyterLab listens.

A subclass of batchspawner's `SlurmSpawner`: whoever knows that finds its traits and its state here. What it does
by `sudo` and by polling goes through the broker, the one view of Slurm, and the call home instead.
"""

from __future__ import annotations

import asyncio
import pwd
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import Any

from batchspawner import SlurmSpawner
from batchspawner.api import BatchSpawnerAPIHandler
from jupyterhub import apihandlers
from jupyterhub.spawner import SpawnException
from jupyterhub.utils import maybe_future, url_escape_path, url_path_join
from sqlalchemy import inspect
from traitlets import Instance, Unicode

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.facts import Profile, Site
from davide_hub.profiles import UnknownProfile, find_profile
from davide_hub.slurm import Job, Phase, SlurmView
from davide_hub.words import why_it_ended, why_it_waits

# Importing batchspawner registers a handler of its own. The one that touches a spawner here is ours (callhome.py):
# it takes a port and nothing else.
_handlers = apihandlers.default_handlers
_handlers[:] = [handler for handler in _handlers if handler[1] is not BatchSpawnerAPIHandler]

# How old an answer of Slurm may be. The call home makes the good news fast; these are for the bad.
_STARTING_SECONDS = 5
_RUNNING_SECONDS = 15
_STOPPING_SECONDS = 1
# How long Stop waits to see the job end after Slurm has taken the order.
_STOP_SECONDS = 30
_LOG_LINES = 15
# JupyterHub kills at its start-up what does not answer within this time, although Slurm says that it lives.
_PATIENCE_SECONDS = 7 * 24 * 3600

_KEPT = ("job_id", "profile_name", "session_key", "token_digest", "node", "port", "ended")


class SessionFailed(SpawnException):  # type: ignore[misc]
    """A session did not start; the sentence is shown to the user as it is."""

    def __init__(self, sentence: str, *, reason: str, log: str = "") -> None:
        super().__init__(sentence, reason=reason)
        self.jupyterhub_message = sentence  # what the pages show; JupyterHub's own names are these
        self.session_log = log


class DavideSpawner(SlurmSpawner):  # type: ignore[misc]
    """Starts, watches and ends the Slurm job of a session."""

    site = Instance(Site, config=True, help="The site's facts.")
    broker = Instance(BrokerClient, config=True, help="Who submits and cancels.")
    # No trait: JupyterHub would hand each session a copy of its own.
    slurm = SlurmView()

    profile_name = Unicode(help="The profile that the session was started with.")
    session_key = Unicode(help="The name of this start: of its folder in the user's home, and in the job's name.")
    token_digest = Unicode(help="SHA-256 of the session's API token, by which a call home is known.")
    node = Unicode(help="Where the session runs.")
    ended = Unicode(help="How the last session ended, in a sentence; empty if the user stopped it here.")

    # JupyterHub reads any text here as "there is a form". The form itself is templates/spawn.html.
    options_form = "profiles"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._at_home = asyncio.Event()
        self._submission: asyncio.Task[None] | None = None
        self._runs_since: float | None = None
        self._news = "Asking Slurm for a place"
        self._taken_down = False

    # -- options: the name of a profile, and nothing else

    def options_from_form(self, form: dict[str, list[str]]) -> dict[str, str]:
        """Return the options in a submitted form; refuse whatever is not one of ours."""
        return {name: values[-1] for name, values in form.items() if name != "_xsrf"}

    def options_from_query(self, _query: dict[str, list[str]]) -> dict[str, str]:
        """Refuse to start from a link: following one must not cost anybody GPU hours."""
        raise SessionFailed("Choose a profile and press Start.", reason="query")

    def apply_user_options(self, _spawner: DavideSpawner, options: dict[str, Any]) -> None:
        """Take the profile from a start's options. Form, REST and saved options all come through here."""
        self.profile_name = self._chosen(options).name

    def _chosen(self, options: dict[str, Any]) -> Profile:
        unknown = ", ".join(sorted(ascii(name) for name in options.keys() - {"profile"}))
        if unknown:
            raise SessionFailed(f"There is no option {unknown[:80]}; there is only profile.", reason="options")
        try:
            return find_profile(self.site.profiles, options.get("profile", self.site.profiles[0].name))
        except UnknownProfile as error:
            raise SessionFailed(f"There is {error}.", reason="options") from None

    # -- the life of a session

    async def start(self) -> tuple[str, int]:
        """Submit the job and wait until its server calls home; return where it listens."""
        self.profile_name = self._chosen(self.user_options).name
        self.ended = ""
        self.session_key = token_hex(8)
        self.token_digest = digest(self.api_token)
        # A task of its own: a start that is cancelled in just this moment still learns which job to cancel.
        self._submission = asyncio.create_task(self._submit())
        try:
            await asyncio.shield(self._submission)
            await self._wait_for_call_home()
        except SessionFailed as failure:
            self.ended = failure.message
            raise
        return self.node, self.port

    async def _submit(self) -> None:
        environment = {name: text for name, text in self.get_env().items() if name.startswith("JUPYTERHUB_")}
        try:
            self.job_id = await self.broker.submit(self.user.name, self.profile_name, self.session_key, environment)
        except BrokerRefused as refusal:
            raise SessionFailed(_refusal(refusal), reason=refusal.kind) from refusal
        except BrokerUnreachable as error:
            raise SessionFailed(str(error), reason="broker") from error
        self.log.info("%s is job %s (session %s)", self._log_name, self.job_id, self.session_key)
        self._save()

    async def _wait_for_call_home(self) -> None:
        while not self._at_home.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_STARTING_SECONDS):
                    await self._at_home.wait()
            if not self._at_home.is_set():
                await self._look_after_start()

    async def _look_after_start(self) -> None:
        job = await self.slurm.look(self.job_id, _STARTING_SECONDS)
        if self._at_home.is_set():
            return
        if job.phase is Phase.ENDED:
            raise SessionFailed(
                f"The session ended before JupyterLab was up. {why_it_ended(job, self._uid())}",
                reason="ended",
                log=await self._log_end(),
            )
        self._tell(job)
        # The clock runs only while the job does: a day in the queue is no failure.
        if job.phase is Phase.RUNNING and self._runs_since is None:
            self._runs_since = time.monotonic()
        limit = self.site.session.start_timeout_minutes
        if self._runs_since is not None and time.monotonic() - self._runs_since > 60 * limit:
            raise SessionFailed(
                f"JupyterLab did not come up on {job.node or 'its node'} within {limit} minutes.",
                reason="timeout",
                log=await self._log_end(),
            )

    async def call_home(self, port: int) -> bool:
        """Take note that the session's server listens; return whether Slurm knows where.

        Parameters
        ----------
        port
            What the server says. The node is Slurm's to say.
        """
        job = await self.slurm.look(self.job_id, 0)
        if job.phase is not Phase.RUNNING or not job.node:
            return False
        self.node, self.port = job.node, port
        self._save()
        self._at_home.set()
        return True

    async def poll(self) -> int | None:
        """Return None while the session lives, or may live: only a final state from Slurm ends it."""
        if self._submission is not None and not self._submission.done():
            return None
        if not self.job_id:
            return 1
        job = await self.slurm.look(self.job_id, _RUNNING_SECONDS)
        if job.phase is not Phase.ENDED:
            return None
        self.ended = self.ended or why_it_ended(job, self._uid())
        return 1

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002 - JupyterHub's signature
        """Have the job cancelled, and see it end. Goes on until Slurm has taken the order: no job is left."""
        if self._submission is not None:
            await asyncio.gather(self._submission, return_exceptions=True)
        pause = 1.0
        while self.job_id and not await self._cancelled():
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.job_id and time.monotonic() < deadline:
            job = await self.slurm.look(self.job_id, _STOPPING_SECONDS)
            if job.phase in (Phase.ENDING, Phase.ENDED):
                break
            await asyncio.sleep(_STOPPING_SECONDS)

    async def _cancelled(self) -> bool:
        try:
            await self.broker.cancel(self.user.name, self.session_key)
        except BrokerUnreachable:
            self.log.warning("%s: job %s waits to be cancelled", self._log_name, self.job_id)
            return False
        except BrokerRefused as refusal:
            self.log.warning("%s: job %s can't be cancelled: %s", self._log_name, self.job_id, refusal)
            # Nothing that waiting would mend: the account or the broker's memory of the session is gone.
            return refusal.kind in ("unknown_session", "wrong_password")
        self._taken_down = True
        return True

    async def run_post_stop_hook(self) -> None:
        """Leave nothing behind: no token that works, no secrets in the user's home, no job."""
        if self.job_id and not self._taken_down:
            await self._cancelled()
        self._revoke_token()
        await maybe_future(super().run_post_stop_hook())

    def _revoke_token(self) -> None:
        # By its note, since the hub does not know the token any more if it was restarted since the session's start.
        user = self.user.orm_user
        database = inspect(user).session
        note = f"Server at {url_path_join(self.user.base_url, url_escape_path(self.name), '/')}"
        for token in list(user.api_tokens):
            if token.note == note:
                database.delete(token)
        database.commit()

    # -- what survives a restart of the hub

    def get_state(self) -> dict[str, Any]:
        """Return what the database keeps: enough to find the job again, and how the last one ended."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return {name: value for name, value in kept.items() if value}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        for name in _KEPT:
            if name in state:
                setattr(self, name, state[name])

    def clear_state(self) -> None:
        """Forget the job, but not how it ended."""
        if self.job_id:
            self.slurm.forget(self.job_id)
        super().clear_state()
        self.session_key = self.token_digest = self.node = ""
        self.port = 0
        self._at_home.clear()
        self._submission = None
        self._runs_since = None
        self._taken_down = False

    def _save(self) -> None:
        # JupyterHub saves only once the server is up: a hub that is restarted earlier would know of no job.
        self.orm_spawner.state = self.get_state()
        inspect(self.orm_spawner).session.commit()

    async def get_url(self) -> str:
        """Return where the session listens: a restarted hub asks. One that still waits answers once it is up."""
        self.http_timeout = _PATIENCE_SECONDS
        if self.node:
            return f"http://{self.node}:{self.port}{self.server.base_url}"
        try:
            await self._wait_for_call_home()
        except SessionFailed as failure:
            # Raising here would end the hub. JupyterHub gives up a session that does not answer: soon, then.
            self.ended = failure.message
            self.http_timeout = 1
            return str(self.server.url)
        return f"http://{self.node}:{self.port}{self.server.base_url}"

    # -- what the user reads

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Tell the pending page what is going on."""
        told = ""
        while True:
            if self._news != told:
                told = self._news
                yield {"message": told}
            await asyncio.sleep(0.5)

    def _tell(self, job: Job) -> None:
        where = f"Job {self.job_id}"
        if job.phase is Phase.WAITING:
            self._news = f"{where} is in the queue: {why_it_waits(job)}"
        elif job.phase is Phase.RUNNING:
            self._news = f"{where} runs on {job.node}; JupyterLab is starting"
        elif job.phase is Phase.UNKNOWN:
            self._news = f"{where} is submitted; Slurm does not answer at the moment"

    async def _log_end(self) -> str:
        try:
            log = await self.broker.log_end(self.user.name, self.session_key)
        except (BrokerRefused, BrokerUnreachable) as error:
            self.log.warning("%s: no log of job %s: %s", self._log_name, self.job_id, error)
            return ""
        return "\n".join(log.splitlines()[-_LOG_LINES:])

    def _uid(self) -> int | None:
        try:
            return pwd.getpwnam(self.user.name).pw_uid
        except KeyError:
            return None


def digest(token: str) -> str:
    """Return what the database may keep of a token: enough to know it again, not enough to use it."""
    return sha256(token.encode()).hexdigest()


def _refusal(refusal: BrokerRefused) -> str:
    return f"Slurm refused the session: {refusal}" if refusal.kind == "slurm" else str(refusal)
