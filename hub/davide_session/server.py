"""A Jupyter server that binds its port once, keeps it, and tells the hub."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from davide_hub.discreet import Discreet
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server.serverapp import ServerApp
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from tornado.netutil import bind_sockets
from traitlets import List, Unicode

from davide_session.attend import Attendant
from davide_session.callhome import call_home, note_port
from davide_session.jobkernel.specs import WithJobs
from davide_session.settings import EXTENSIONS
from davide_session.warm import session_parents
from davide_session.watch import Rules

# Of the half minute that Slurm leaves between its first signal and its last.
_END_SECONDS = 5


class SessionKernels(WithJobs):
    """Kernelspecs from the folders that the settings name (the stock list can't be set)."""

    kernel_dirs = List(Unicode(), config=True)
    expected_kernel: Any = Unicode(config=True)

    def get_all_specs(self) -> dict[str, Any]:
        """Return all kernelspecs. A page asks for them when it opens, so a kernel will be wanted soon."""
        found: dict[str, Any] = super().get_all_specs()
        with suppress(NoSuchKernel):
            session_parents().expect(self.get_kernel_spec(self.expected_kernel))
        return found


class SessionServer(ServerApp):  # type: ignore[misc]
    """A ServerApp without files of configuration, on a port that nobody can take from it.

    The stock class asks for a free port, gives it back, and binds it later: on a shared node somebody else
    may be quicker. Two of its methods (private ones: Jupyter Server 2.21) are replaced to hold on to the
    sockets.
    """

    name = "davide-session"
    no_browser_open_file = True

    def migrate_config(self) -> None:
        """Do nothing: the stock method writes into ~/.jupyter at the first start."""

    @property
    def config_file_paths(self) -> list[str]:
        """Nowhere: settings come from `settings.py` alone. The stock list begins with the current folder."""
        return []

    def write_server_info_file(self) -> None:
        """Write no file for `jupyter server list`: it would hold the session's token."""

    def _find_http_port(self) -> None:
        self._bound = bind_free_port(self.ip)
        self.port = self._bound[0].getsockname()[1]

    def _bind_http_server_tcp(self) -> bool:
        self.http_server.add_sockets(self._bound)
        return True

    async def _post_start(self) -> None:
        await super()._post_start()
        self._starter_app.call_home(self.port)


class Session(JupyterHubSingleUser):  # type: ignore[misc]
    """JupyterHub's single-user extension on a SessionServer."""

    name = app_namespace = "davide-session"
    serverapp_class = SessionServer
    load_other_extensions = False
    folder: Path
    rules: Rules
    serverapp_config = {"jpserver_extensions": EXTENSIONS}  # noqa: RUF012 - what the base class declares

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._at_home = asyncio.Event()

    def initialize(self, args: Any = None) -> None:
        """Set the server up, as stock does, and what looks after the session."""
        super().initialize(args)
        self._attendant = Attendant(self.serverapp, self.hub_auth, self.notify_activity, self.rules)

    async def check_hub_version(self) -> None:
        """Do nothing: the stock method ends a server whose hub is away for a minute. The call home waits."""

    def call_home(self, port: int) -> None:
        """Begin to tell the hub where this session listens."""
        try:
            note_port(self.folder, port)
        except OSError as error:
            self.log.warning("Where this session listens could not be written down: %s", error)
        url = f"{self.hub_auth.api_url}/davide/call-home"
        # Kept, because the event loop alone holds tasks by weak references.
        self._call_home = asyncio.create_task(call_home(url, self.hub_auth.api_token, port, self.log))
        self._call_home.add_done_callback(self._settle)

    def _settle(self, _call_home: asyncio.Task[None]) -> None:
        # See launch.main: now there is time. What was imported is put where it is never looked through again.
        gc.freeze()
        gc.enable()
        self._attendant.begin()
        self._at_home.set()

    async def stop_extension(self) -> None:
        """Stop what runs beside the server."""
        self._attendant.end()
        await super().stop_extension()

    async def keep_activity_updated(self) -> None:
        """Tell the hub of activity, as stock does, but not before it knows that there is a session."""
        await self._at_home.wait()
        await super().keep_activity_updated()


def bind_free_port(address: str, attempts: int = 5) -> list[socket.socket]:
    """Return sockets that listen on one free port of `address`.

    With IPv4 and IPv6 there are two sockets, and the port that was free for the first may be taken for the
    second: then another one is tried.
    """
    for attempt in range(attempts):
        try:
            return list(bind_sockets(0, address))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == attempts - 1:
                raise
    raise AssertionError("attempts must be positive")


def serve(config: Any, folder: Path, rules: Rules) -> None:
    """Run a session until it is told to stop.

    Parameters
    ----------
    config
        JupyterLab's settings.
    folder
        The session's own, in the user's home.
    rules
        What the site's facts say of its end.
    """
    Session.folder = folder
    Session.rules = rules
    # What the hub wrote there is meant for the stock class; ours asks the system for a free port.
    os.environ.setdefault("JUPYTERHUB_SERVICE_URL", "http://:0/")
    server = Session.initialize_server(argv=[], config=config)
    for handler in server.log.handlers:
        handler.addFilter(Discreet())
    server.start()
    end_what_runs(server.io_loop.asyncio_loop)


def end_what_runs(loop: asyncio.AbstractEventLoop) -> None:
    """End the requests that were on their way when the server was stopped.

    Jupyter reads and writes files in anyio's threads, each of which ends with the request that it was made for.
    Python waits for them at its end: without this, for ever, and the job until Slurm kills it.
    """
    if left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left, timeout=_END_SECONDS))
