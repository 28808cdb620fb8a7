"""A user's session: one Slurm job, submitted by the broker, that calls home when JupyterLab listens.

A subclass of batchspawner's `SlurmSpawner`: whoever knows that finds its traits and its state here. What it does
by `sudo` and by polling goes through the broker, the one view of Slurm, and the call home instead. What is kept and
told of it is record.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_hex
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import maybe_future
from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.certificates import session_host
from davide_hub.database import keep, recover
from davide_hub.endings import LOG_TELLS, Ending, of_job, of_log, of_refusal
from davide_hub.heard import HeardServer
from davide_hub.listening import noted_port, runs_since
from davide_hub.news import News, news_of
from davide_hub.options import SessionFailed, chosen_plan, options_in
from davide_hub.proof import as_job
from davide_hub.record import SessionRecord
from davide_hub.states import UNKNOWN, Job, Phase
from davide_hub.texts import text, texts_of
from davide_hub.turnstile import turn
from davide_hub.who import name_of

# How often a starting session asks for news of Slurm; the answer comes from the one view.
_LOOK_SECONDS = 5
# No answer that counts is older: Slurm's to all are kept for a minute at most, an owner's for two.
_OLDEST_ANSWER_SECONDS = 150
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0
# What the broker says of a session that it does not have, or no more; the last where its user is not logged in.
_NOTHING_THERE = ("unknown_session", "ended", "no_ticket")


class NeverSubmitted(Exception):  # noqa: N818 - it is what it says
    """The hub ended before it had asked for a job: there is nothing to take up, and nothing was lost."""


@dataclass(frozen=True)
class Adoption:
    """A session that runs although the database does not know it, as the broker's ledger has it.

    Attributes
    ----------
    key, job, profile
        The session, its job's number, and the profile it was started with.
    token
        The API token that it was given.
    """

    key: str
    job: str
    profile: str
    token: str


class DavideSpawner(SessionRecord):
    """Starts, watches and ends the Slurm job of a session."""

    api_token: str
    _callbacks: list[Any]  # JupyterHub's: who is told when the session ends
    _called_home = float("-inf")  # when, if this hub has heard it
    # JupyterHub reads any text here as "there is a form". The form itself is templates/spawn.html.
    options_form = "profiles"

    def __init__(self, **kwargs: Any) -> None:
        # From the database, which may be an old or a damaged one: what is no options at all counts as none saved.
        if not isinstance(kwargs.get("user_options", {}), dict):
            kwargs["user_options"] = {}
        super().__init__(**kwargs)
        self._at_home = asyncio.Event()
        self._submission: asyncio.Task[None] | None = None
        self._runs_since: float | None = None
        self._news_changed = asyncio.Event()
        self.ended_log = ""
        self.report: Any = None
        self._failed_as = ""  # why, in a word
        self.gpu_use: Any = None
        self._closed = self._proved = self._taken_up = False
        self.to_adopt: Adoption | None = None

    # -- options: names, and numbers within bounds

    def options_from_form(self, form: dict[str, list[str]]) -> dict[str, str | int]:
        """Return the options in a submitted form; refuse whatever is not one of ours."""
        options = options_in({name: values for name, values in form.items() if name != "_xsrf"})
        # Here already: what is refused is not kept as the last choice.
        chosen_plan(self.site, options)
        return options

    def options_from_query(self, query: dict[str, list[str]]) -> dict[str, str | int]:
        """Refuse to start from a link: following one must not cost anybody GPU hours.

        A link that is good fills in the form and never comes here (`spawn_page.py`): so something is wrong with this.
        """
        chosen_plan(self.site, options_in(query))
        raise SessionFailed("Choose a profile and press Start.", reason="query")

    def apply_user_options(self, _spawner: DavideSpawner, options: dict[str, Any]) -> None:
        """Take the profile from a start's options. Form, REST and saved options all come through here."""
        if self.to_adopt is None:
            self.profile_name = chosen_plan(self.site, options).profile.name

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Leave out what batchspawner adds: it asks the directory for the home, and fails while that is silent."""
        return env

    # -- the life of a session

    async def start(self) -> str:
        """Submit the job and wait until its server calls home; return where it listens."""
        if self.to_adopt is not None:
            return await self._start_adopted(self.to_adopt)
        self.profile_name = chosen_plan(self.site, self.user_options).profile.name
        self._require_room()
        self.stopping = self.ended = self.ended_as = self.ended_log = ""
        self.asked_at = int(datetime.now(UTC).timestamp())
        self.news = News(since=self.asked_at)
        self.session_key = token_hex(8)
        self.token_digest = digest(self.api_token)
        # Before anybody hears of it: a hub that dies in the next instant must know what it asked for.
        self._save()
        self._tell("session.asked", profile=self.profile_name)
        # A task of its own: a start that is cancelled in just this moment still learns which job to cancel.
        self._submission = asyncio.create_task(self._submit())
        try:
            await asyncio.shield(self._submission)
            await self._wait_for_call_home()
            await turn(start=True)
        except SessionFailed as failure:
            self._note_failure(failure)
            raise
        except Exception:
            # JupyterHub writes it into its log, and ends what there is.
            self._failed_as = "error"
            raise
        self._count_start()
        return self._url()

    async def _start_adopted(self, adoption: Adoption) -> str:
        """Take a job's place in JupyterHub's books instead of submitting one."""
        self.to_adopt = None
        self.session_key, self.job_id, self.profile_name = adoption.key, adoption.job, adoption.profile
        self.token_digest = digest(adoption.token)
        self.unsure = "yes"
        self._use_token(adoption.token)
        self._save()
        await self._find_server()
        return self._url()

    def _use_token(self, token: str) -> None:
        """Let in the session with the token it has, with the rights of the one that JupyterHub has just made."""
        made = orm.APIToken.find(inspect(self.orm_spawner).session, self.api_token)
        self.user.new_api_token(token, note=self.token_note, scopes=made.scopes)
        self.api_token = token

    async def resume(self) -> None:
        """Take up a start that an earlier hub began: find its job, and wait until its server calls home.

        Raises
        ------
        NeverSubmitted
            If Slurm never heard of it. The session is closed then, and none can turn up later.
        SessionFailed
            As from `start`.
        """
        try:
            if not self.job_id:
                await self._find_job()
            if not self.node:
                await self._find_server()
        except SessionFailed as failure:
            self._note_failure(failure)
            raise
        self._count_start()
        self._set_server()

    async def _find_server(self) -> None:
        """Wait for a call home that may have been heard before, by a hub that could not write it down."""
        self._taken_up = True
        await self._look_after_start()
        await self._wait_for_call_home()

    async def _find_job(self) -> None:
        async for _ in _attempts():
            try:
                number = await self._number_from_slurm()
                if number:
                    self.unsure = "yes"
                    self._take_job(number)
                    return
                await self.broker.cancel(self.user.name, self.session_key)
            except BrokerRefused as refusal:
                if refusal.kind in _NOTHING_THERE:
                    raise NeverSubmitted from refusal
                self._say(str(refusal))
            except BrokerUnreachable as error:
                self._say(str(error))
            else:
                raise NeverSubmitted

    async def _number_from_slurm(self) -> str:
        try:
            found = await self.broker.look(self.user.name, self.session_key)
        except BrokerRefused as refusal:
            if refusal.kind in _NOTHING_THERE:
                return ""
            raise
        return str(found["number"])

    def _require_room(self) -> None:
        limit = self.site.session.per_user
        others = [one for one in self.user.spawners.values() if one is not self and one.active]
        if len(others) >= limit:
            number = "one session" if limit == 1 else f"{limit} sessions"
            raise SessionFailed(
                f"You have {len(others)} running; this site allows {number} at a time. End one first.", reason="limit"
            )

    async def _submit(self) -> None:
        wishes = chosen_plan(self.site, self.user_options).wishes()
        environment = {name: text for name, text in self.get_env().items() if name.startswith("JUPYTERHUB_")}
        # Made anew for each start, and kept nowhere on the hub's host.
        environment |= await asyncio.to_thread(self.certificates.for_session, self.session_key)
        async for _ in _attempts():
            try:
                number = await self.broker.submit(self.user.name, self.name, wishes, self.session_key, environment)
            except BrokerRefused as refusal:
                if refusal.kind != "busy":
                    ending = of_refusal(refusal.kind, str(refusal))
                    raise SessionFailed(ending.sentence, reason=ending.kind) from refusal
                # It is the hub that tries again.
                self._say(text("pending.busy", why=str(refusal).partition(" Try again")[0]))
            except BrokerUnreachable:
                self._say(text("pending.broker"))
            else:
                await turn(start=True)
                self._take_job(number)
                return
            self.unsure = "yes"
            if self.stopping:
                return

    def _take_job(self, number: str) -> None:
        self.job_id = number
        self.log.info("%s is job %s (session %s)", self._log_name, number, self.session_key)
        self._tell("session.submitted")
        self._save()

    async def _wait_for_call_home(self) -> None:
        while not self._at_home.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._at_home.wait()
            if not self._at_home.is_set() and self.job_id:
                await self._look_after_start()
        self._set_server()

    async def _look_after_start(self) -> None:
        job = await self._job()
        if self._at_home.is_set():
            return
        if job.phase is Phase.ENDED:
            log = await self._log_end()
            ending = of_log(await self._ending_of(job), log)
            raise SessionFailed(text("ended.before", why=ending.sentence), reason=ending.kind, log=log)
        self.news = news_of(job, self.job_id, self.proof.view, self.asked_at) or self.news
        # The clock runs only while the job does: a day in the queue is no failure.
        now, limit = time.monotonic(), self.site.session.start_timeout_minutes
        self._runs_since = runs_since(job, self._runs_since, now)
        late = self._runs_since is not None and now - self._runs_since > 60 * limit
        # It may be the hub that was not there to hear it, or the network.
        asks = late or (self._taken_up and job.phase is Phase.RUNNING)
        if asks and await self._listens_already(job) is False and late:
            node = job.node or texts_of("ended")["its_node"]
            raise SessionFailed(text("ended.timeout", node=node, n=limit), reason="timeout", log=await self._log_end())

    async def _listens_already(self, job: Job) -> bool | None:
        """Return whether the session's server listens, heard or not; None if nobody can tell just now."""
        port = await noted_port(self.broker, self.user.name, self.session_key)
        if port and job.node and not self._at_home.is_set():
            self._note_server(job.node, port)
        if self._at_home.is_set():
            return True
        return False if port == 0 else None

    async def _ending_of(self, job: Job) -> Ending:
        name = await name_of(job.cancelled_by) if job.cancelled_by else ""
        return of_job(job, await self.proof.uid_of(self.user.name), name)

    async def _job(self) -> Job:
        job = await self.proof.job(self.user.name, self.session_key, self.job_id)
        if not self.unsure:
            return job
        if job.number and job.number != self.job_id and job.phase is not Phase.ENDED:
            self._change_job(job.number)
        # A job that waits has no server, and the session has one.
        strange = job.phase is Phase.ENDED or (job.phase is Phase.WAITING and self.node)
        return await self._other_job(job) if strange else job

    async def _other_job(self, known: Job) -> Job:
        """Return the job that has the session, if Slurm took it twice and the one known here is the other."""
        try:
            told = await self.broker.look(self.user.name, self.session_key)
        except BrokerRefused as refusal:
            return known if refusal.kind in _NOTHING_THERE else UNKNOWN
        except BrokerUnreachable:
            return UNKNOWN
        other = as_job(told)
        if other.number in ("", self.job_id) or other.phase is Phase.ENDED:
            return known
        self._change_job(other.number)
        return other

    def _change_job(self, number: str) -> None:
        self.proof.view.forget(self.job_id)
        self._take_job(number)

    async def call_home(self, port: int, address: str) -> bool:
        """Take note that the session's server listens; return whether it is known where.

        Parameters
        ----------
        port
            What the server says.
        address
            Where the connection comes from. It is a node's, and the job's own as far as Slurm has told; the server
            itself is not asked.
        """
        node = await self.nodes.name_of(address)
        # Before Slurm has told, the first call counts: a session does not move.
        known = (self.proof.view.last(self.job_id).node if self.job_id else "") or self.node
        if not node:
            # An address that the site's names don't explain (another network of the node): then Slurm must say.
            job = await self._job() if self.job_id else None
            node = job.node if job is not None and job.phase is Phase.RUNNING else ""
        if not node or (known and node != known):
            self.log.warning("%s: a call home from %s, job %s runs on %s", self._log_name, address, self.job_id, known)
            return False
        if not self._at_home.is_set():
            self._called_home = time.monotonic()
        self._note_server(node, port)
        return True

    def _note_server(self, node: str, port: int) -> None:
        self.node, self.port = node, port
        self._save()
        self._at_home.set()

    def _url(self) -> str:
        return f"https://{session_host(self.node, self.session_key)}:{self.port}"

    def _set_server(self) -> None:
        """Tell JupyterHub where the session listens, and that nobody has to try."""
        server = self.server
        if server is not None:
            row, host = server.orm_server, session_host(self.node, self.session_key)
            keep(inspect(row).session, row, proto="https", ip=host, port=self.port)
            self._server = HeardServer(orm_server=row)

    async def poll(self) -> int | None:
        """Return None while the session lives, or may live: only a proof ends it."""
        if self._submission is not None and not self._submission.done():
            return None
        if not self.job_id:
            return None if self.session_key and not self._closed else 1
        job = await self._job()
        waits = job.phase is Phase.WAITING and bool(self.node)
        if waits and time.monotonic() - self._called_home < _OLDEST_ANSWER_SECONDS:
            # Most likely from before it started: it has called home since.
            return None
        if waits or (job.phase is Phase.RUNNING and await self._is_another_server()):
            # Its kernels are gone, and started anew it would be an empty session that nobody asked for.
            self.end_as(Ending("requeued", text("ended.requeued")))
            return 1
        if job.phase is not Phase.ENDED:
            return None
        self._proved = True
        if not self.stopping and not self.ended:
            ending = await self._ending_of(job)
            if ending.kind in LOG_TELLS and self.session_key:
                self.ended_log = await self._log_end()
            self.end_as(of_log(ending, self.ended_log))
        return 1

    async def _is_another_server(self) -> bool:
        """Return whether Slurm started the job anew while nobody looked, and the server that is known is gone.

        Then another one calls, and has noted its port; one job alone has the session (`davide_session/claim.py`).
        A call by itself proves nothing: who has but the session's token can make one.
        """
        if not self.other_port:
            return False
        noted = await noted_port(self.broker, self.user.name, self.session_key)
        if noted is not None and noted != self.other_port:
            self.other_port = 0
        return bool(noted) and noted == self.other_port

    async def poll_and_notify(self) -> int | None:
        """Do what JupyterHub does at the end of a session, until that is written down.

        JupyterHub stops polling first, and then ends the session in its database. With a full disk, or a database that
        somebody has locked, that fails; and without another try the dead would be shown as alive for ever.
        """
        watchers = list(self._callbacks)
        recover(inspect(self.orm_spawner).session)
        status: int | None = await super().poll_and_notify()
        if status is not None and self._is_unfinished():
            self.log.warning("%s: its end could not be written down; trying again", self._log_name)
            self._callbacks[:0] = watchers
            self.start_polling()
        return status

    def _is_unfinished(self) -> bool:
        database = inspect(self.orm_spawner).session
        # `pending` is asked first and needs no database: an end that broke off has left it at "stop".
        if not database.is_active or self.active:
            database.rollback()
            return True
        return False

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002 - JupyterHub's signature
        """Have the session ended. Goes on until the broker has taken the order: no job is left, and none comes."""
        self.stopping = "yes"
        try:
            self._save()
        except SQLAlchemyError as error:
            # The broker's ledger says it too, and a hub that comes back without this finds a job that has ended.
            self.log.warning("%s: that it is to end is not written down: %s", self._log_name, error)
        if self._submission is not None:
            await asyncio.gather(self._submission, return_exceptions=True)
        async for _ in _attempts():
            if not self.session_key or await self._cancelled():
                return

    async def _cancelled(self) -> bool:
        try:
            # If it is not gone yet, the reconciliation goes on with it.
            await self.broker.cancel(self.user.name, self.session_key)
        except BrokerUnreachable:
            self.log.warning("%s: job %s waits to be cancelled", self._log_name, self.job_id)
            return False
        except BrokerRefused as refusal:
            self.log.warning("%s: job %s can't be cancelled: %s", self._log_name, self.job_id, refusal)
            # The broker does not know of any such session: nothing that waiting would mend.
            if refusal.kind not in _NOTHING_THERE:
                return False
        self._closed = True
        return True

    async def run_post_stop_hook(self) -> None:
        """Leave nothing behind: no token that works, no secrets in the user's home."""
        if self.session_key and not self._closed:
            try:
                if self._proved:
                    await self.broker.close(self.user.name, self.session_key)
                else:
                    await self.broker.cancel(self.user.name, self.session_key)
            except (BrokerRefused, BrokerUnreachable) as error:
                self.log.warning("%s: session %s is closed later: %s", self._log_name, self.session_key, error)
        if self.session_key:
            self._count_end()
        self._revoke_token()
        await maybe_future(super().run_post_stop_hook())


def digest(token: str) -> str:
    """Return what the database may keep of a token: enough to know it again, not enough to use it."""
    return sha256(token.encode()).hexdigest()


async def _attempts() -> AsyncIterator[None]:
    """Yield again and again, at growing intervals."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
