"""What is kept and told of a session: the state that survives a restart of the hub, how it ended, what its user reads.

Its life, from the start to the end, is spawner.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from batchspawner import SlurmSpawner
from batchspawner.api import BatchSpawnerAPIHandler
from jupyterhub import apihandlers
from jupyterhub.utils import url_escape_path, url_path_join
from sqlalchemy import inspect
from traitlets import Instance, Integer, Unicode

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.certificates import HubCertificates
from davide_hub.counted import ENDS, FAILURES, STARTS
from davide_hub.database import keep
from davide_hub.endings import Ending, advice
from davide_hub.events import tell
from davide_hub.facts import Site
from davide_hub.news import News
from davide_hub.nodes import Nodes
from davide_hub.options import SessionFailed
from davide_hub.proof import Proof

# Importing batchspawner registers a handler of its own. The one that touches a spawner here is ours (callhome.py):
# it takes a port and nothing else.
_handlers = apihandlers.default_handlers
_handlers[:] = [handler for handler in _handlers if handler[1] is not BatchSpawnerAPIHandler]

_LOG_LINES = 15
# A page that has heard nothing for longer knows that its laptop slept, or that the connection is gone.
_AGAIN_SECONDS = 15

_KEPT = (
    "job_id",
    "profile_name",
    "session_key",
    "token_digest",
    "unsure",
    "node",
    "port",
    "stopping",
    "asked_at",
    "ended",
    "ended_as",
)


class SessionRecord(SlurmSpawner):  # type: ignore[misc]
    """What the hub knows of a session, and how it is kept."""

    site = Instance(Site, config=True, help="The site's facts.")
    broker = Instance(BrokerClient, config=True, help="Who submits and cancels.")
    # No traits: JupyterHub would hand each session a copy of its own.
    proof: Proof
    nodes: Nodes
    certificates: HubCertificates

    profile_name = Unicode(help="The profile that the session was started with.")
    session_key = Unicode(help="The name of this start: of its folder in the user's home, and in the job's name.")
    token_digest = Unicode(help="SHA-256 of the session's API token, by which a call home is known.")
    unsure = Unicode(help="Not empty if Slurm may have taken the session twice, so that it has another job.")
    node = Unicode(help="Where the session runs.")
    stopping = Unicode(help="Not empty once the session is to end, so that a restarted hub goes on with that.")
    asked_at = Integer(help="When the session was asked for, in seconds since 1970.")
    ended = Unicode(help="How the last session ended, in a sentence; empty if the user stopped it here.")
    ended_as = Unicode(help="The same in a word, see `endings.Ending`.")

    _news = News()
    _news_changed: asyncio.Event
    _at_home: asyncio.Event
    _submission: asyncio.Task[None] | None
    _runs_since: float | None
    _failed_as: str
    _closed: bool
    _proved: bool
    _taken_up: bool
    other_port = 0  # from which the session's token has called, too
    ended_log: str
    report: Any

    # -- how it ended

    def end_as(self, ending: Ending) -> None:
        """Keep how the session ended, for the pages."""
        self.ended, self.ended_as = ending.sentence, ending.kind

    @property
    def ended_advice(self) -> str:
        """What to do after that end; empty where its sentence says it."""
        return advice(self.ended_as)

    def _note_failure(self, failure: SessionFailed) -> None:
        self._failed_as = failure.reason
        self.end_as(Ending(failure.reason, failure.session_sentence))
        self.ended_log = failure.session_log

    def _count_end(self) -> None:
        if self._failed_as:
            FAILURES.labels(self._failed_as).inc()
            self._tell("session.failed", reason=self._failed_as)
        else:
            reason = self.ended_as or "stopped"
            ENDS.labels(reason).inc()
            self._tell("session.ended", reason=reason)

    def _count_start(self) -> None:
        STARTS.labels(self.profile_name).inc()
        self._tell("session.up", node=self.node)

    def _tell(self, event: str, **facts: str) -> None:
        tell(event, user=self.user.name, server=self.name, session=self.session_key, job=self.job_id, **facts)

    def _revoke_token(self) -> None:
        # By its note, since the hub does not know the token any more if it was restarted since the session's start.
        user = self.user.orm_user
        database = inspect(user).session
        for token in list(user.api_tokens):
            if token.note == self.token_note:
                database.delete(token)
        database.commit()

    @property
    def token_note(self) -> str:
        """What JupyterHub writes beside the API token of this server."""
        return f"Server at {url_path_join(self.user.base_url, url_escape_path(self.name), '/')}"

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
        if self.node:
            self._at_home.set()

    def clear_state(self) -> None:
        """Forget the job, but not how it ended."""
        if self.job_id:
            self.proof.view.forget(self.job_id)
        super().clear_state()
        self.session_key = self.token_digest = self.unsure = self.node = self.stopping = ""
        self.port = self.other_port = 0
        self._at_home.clear()
        self._submission = None
        self._runs_since = self.report = self.gpu_use = None
        self._failed_as = ""
        self._closed = self._proved = self._taken_up = False

    def _save(self) -> None:
        # JupyterHub saves only once the server is up: a hub that is restarted earlier would know of no job.
        row = self.orm_spawner
        keep(inspect(row).session, row, state=self.get_state())

    # -- what the user reads

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Tell the pending page what is going on: all there is to know, at each change and every few seconds."""
        while True:
            # Before the news is read: what changes while it is told is told next.
            changed = self._news_changed
            yield self.news.event()
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await changed.wait()

    @property
    def news(self) -> News:
        """What the pending page tells. A change wakes the pages that show it: hundreds that ask would cost more."""
        return self._news

    @news.setter
    def news(self, news: News) -> None:
        if news != self._news:
            self._news = news
            self._news_changed.set()
            self._news_changed = asyncio.Event()

    def _say(self, sentence: str) -> None:
        self.news = News("silent", sentence, since=self.asked_at)

    async def _log_end(self) -> str:
        try:
            log = await self.broker.log_end(self.user.name, self.session_key)
        except (BrokerRefused, BrokerUnreachable) as error:
            self.log.warning("%s: no log of job %s: %s", self._log_name, self.job_id, error)
            return ""
        return "\n".join(log.splitlines()[-_LOG_LINES:])
