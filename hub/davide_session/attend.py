"""Joins a Jupyter server and the watch over its session: what is read from the one, and done by the other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from davide_session import notice
from davide_session.activity import Activity
from davide_session.cgroup import JobCgroup
from davide_session.gpus import Gpus
from davide_session.handlers import routes
from davide_session.hub_client import fetch
from davide_session.jobkernel.present import session_kernels
from davide_session.leases import session_leases
from davide_session.use import UseReport
from davide_session.walltime import told_by_slurm
from davide_session.watch import Rules, Watch

# Pages listen to Jupyter's own stream of events. What has changed they ask for then; so nothing of it stands here.
_NEWS = "https://davide-hub.invalid/events/session-news"
_NEWS_SCHEMA = {
    "$id": _NEWS,
    "version": "1",
    "title": "News of the session",
    "type": "object",
    "properties": {"what": {"type": "string"}},
    "required": ["what"],
}
# How old the hub's knowledge of the last activity may be. JupyterHub's own interval is the upper bound.
_REPORT_SECONDS = (60, 300)


class Attendant:
    """What a session does besides serving.

    Parameters
    ----------
    server
        The Jupyter server, initialized.
    hub_auth
        JupyterHub's: the hub's address, and this session's token.
    notify
        Tells the hub of the last activity, in JupyterHub's own way.
    rules
        From the site's facts.
    """

    def __init__(
        self, server: Any, hub_auth: Any, notify: Callable[[], Coroutine[Any, Any, None]], rules: Rules
    ) -> None:
        self._server, self._hub, self._notify, self._rules = server, hub_auth, notify, rules
        self._use = UseReport(f"{hub_auth.api_url}/davide/gpu-use", hub_auth.api_token, server.log)
        self._tasks: list[asyncio.Task[None]] = []
        self._reporting: asyncio.Task[None] | None = None
        self._reported: datetime | None = None
        job = os.environ.get("SLURM_JOB_ID", "")
        activity = Activity(server.kernel_manager.list_kernels, self._times)
        leases = session_leases()
        leases.paths, leases.changed = self._paths, self._announce
        self._watch = Watch(
            rules,
            job=job,
            term=told_by_slurm(os.environ),
            cgroup=JobCgroup(job),
            gpus=Gpus(os.environ),
            activity=activity,
            leases=leases,
            job_kernels=self._job_kernels,
            asked=Path(os.environ[notice.VARIABLE]),
            announce=self._announce,
            log=server.log,
        )
        # Stock counts every request of a page that is open and forgotten.
        server.web_app.last_activity = activity.last
        server.web_app.add_handlers(
            ".*$", routes(server.base_url, watch=self._watch, report=self._report_at_once, end=self._end, keep=_keep)
        )
        server.event_logger.register_event_schema(_NEWS_SCHEMA)

    def begin(self) -> None:
        """Begin; the server listens, and the hub knows."""
        loop = asyncio.get_running_loop()
        # From Slurm, a while before the end (`--signal` in the batch script).
        loop.add_signal_handler(signal.SIGUSR1, self._watch.save_now)
        # Kept, because the event loop alone holds tasks by weak references.
        for work in (self._watch.keep_term(), self._watch.keep_looking(self._report, self._use.tell)):
            self._tasks.append(loop.create_task(work))

    def end(self) -> None:
        """Stop all that was begun."""
        for task in self._tasks:
            task.cancel()

    def _times(self) -> Iterator[datetime]:
        yield self._server.kernel_manager.last_kernel_activity
        terminals = self._server.web_app.settings.get("terminal_manager")
        if terminals is not None:
            yield from (one.last_activity for one in terminals.terminals.values())

    async def _paths(self) -> dict[str, str]:
        sessions = await self._server.session_manager.list_sessions()
        # A console may belong to a notebook's kernel: then the notebook says more.
        sessions.sort(key=lambda one: one["type"] == "notebook")
        return {one["kernel"]["id"]: _path(one) for one in sessions}

    async def _job_kernels(self) -> list[dict[str, Any]]:
        return session_kernels().facts(await self._paths())

    def _announce(self) -> None:
        self._server.event_logger.emit(schema_id=_NEWS, data={"what": "ask"})

    def _report(self) -> None:
        """Let the hub know of activity before what it knows is so old that it could end a session at work."""
        shortest, longest = _REPORT_SECONDS
        limit = self._rules.idle_minutes
        seconds = longest if limit is None else min(longest, max(shortest, 10 * limit))
        last = self._watch.activity.last()
        if self._reported is None or (last - self._reported).total_seconds() >= seconds:
            self._report_at_once()

    def _report_at_once(self) -> None:
        # In the background: a hub that is away is asked for a minute.
        if self._reporting is None or self._reporting.done():
            self._reported = self._watch.activity.last()
            self._reporting = asyncio.create_task(self._notify())

    async def _end(self) -> None:
        name = quote(os.environ.get("JUPYTERHUB_SERVER_NAME", ""), safe="")
        user = quote(os.environ["JUPYTERHUB_USER"], safe="")
        url = f"{self._hub.api_url}/users/{user}/{f'servers/{name}' if name else 'server'}"
        await fetch(url, method="DELETE", headers={"Authorization": f"token {self._hub.api_token}"})


async def _keep(kernel: str) -> bool:
    # Not at the top: a session without such a kernel need not import what there is for them.
    from davide_session.jobkernel.provisioner import keep_kernel

    return await keep_kernel(kernel)


def _path(session: dict[str, Any]) -> str:
    path = PurePosixPath(session["path"])
    # JupyterLab begins with a number for a path, and tells the true one when the kernel runs; the name is true at once.
    is_notebook = session["type"] == "notebook" and session["name"]
    return str(path.with_name(session["name"]) if is_notebook else path)
