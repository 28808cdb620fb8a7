"""The hub itself: JupyterHub with another way to begin, and with an eye on what it must not lose.

JupyterHub's start-up check asks every server over HTTP and ends those that don't answer, cancels starts that are
under way, and leaves the rest "pending check". Ours (`init_spawners`) believes Slurm and the broker's ledger.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

import davide_hub.quick  # noqa: F401 - before all that imports what it imports quickly

# isort: split
import jupyterhub.app
from jupyterhub import orm
from jupyterhub.app import JupyterHub
from prometheus_client import REGISTRY
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import selectinload
from traitlets import Instance, default

from davide_hub import events
from davide_hub.certificates import HubCertificates
from davide_hub.database import Checkpointer, tune
from davide_hub.discreet import Discreet
from davide_hub.doorkeeper import Doorkeeper
from davide_hub.facts import Site
from davide_hub.garbage import Collector
from davide_hub.idle import IdleWatch
from davide_hub.loglines import LineFormatter
from davide_hub.metrics import METRICS_READER, Sessions
from davide_hub.reconcile import Reconciler
from davide_hub.resume import Resumer
from davide_hub.routes import RouteGuard
from davide_hub.turnstile import PacedApplication
from davide_hub.users import SteadyUsers

# As many as the system lets wait (net.core.somaxconn of Linux since 5.4).
_DOORSTEP = 4096


class DavideHub(JupyterHub):  # type: ignore[misc]
    """JupyterHub for sessions that outlive it."""

    name = "jupyterhub"
    _log_formatter_cls = LineFormatter
    certificates = Instance(HubCertificates, config=True, help="How the hub shows who it is, and whom it hears.")
    site = Instance(Site, config=True, help="The site's facts.")

    @default("users")  # type: ignore[untyped-decorator]
    def _steady_users(self) -> SteadyUsers:
        return SteadyUsers(db_factory=lambda: self.db, settings=self.tornado_settings)

    def init_logging(self) -> None:
        """Let our own lines go where JupyterHub's go, and none of them hold a secret."""
        super().init_logging()
        # traitlets lets the handler drop what is below: by then each line was made, with a look at who calls.
        self.log.setLevel(self.log_level)
        for handler in self.log.handlers:
            handler.addFilter(Discreet())
        events.show()
        ours = logging.getLogger("jupyterhub.davide")
        ours.parent = self.log
        ours.setLevel(self.log.level)

    def init_db(self) -> None:
        """Open the database; SQLite so that a commit neither waits for the disk nor is torn by a crash."""
        if self.db_url.startswith("sqlite"):
            event.listen(Engine, "connect", tune)
            # JupyterHub asks before each transaction whether the database is still there: a fifth of the hub's time
            # while a class starts, and a file on its own disk does not go away.
            orm.register_ping_connection = lambda _engine: None
        try:
            super().init_db()
        except SystemExit as end:
            # JupyterHub says that it failed; why, only to whoever debugs it.
            if isinstance(end.__context__, OperationalError):
                self.log.critical("The database can't be used: %s", end.__context__.orig)
            raise

    async def init_api_tokens(self) -> None:
        """Let the metrics be read with the token that is in its file now, and with no earlier one."""
        await super().init_api_tokens()
        service = orm.Service.find(self.db, METRICS_READER)
        for token in list(service.api_tokens) if service else ():
            if not any(token.match(known) for known in self.service_tokens):
                self.db.delete(token)
        self.db.commit()

    def init_tornado_application(self) -> None:
        """Make the web application, with a turnstile for crowds."""
        self.tornado_application = PacedApplication(self.handlers, **self.tornado_settings)

    async def init_spawners(self) -> int:
        """Take up every session that the database knows: running, starting, or ending. Waits for none of them.

        Returns
        -------
        int
            How many there are.
        """
        self._resumer = Resumer(self)
        rows = (
            self.db.query(orm.Spawner)
            .filter(orm.Spawner.server_id.is_not(None))
            .options(selectinload(orm.Spawner.user), selectinload(orm.Spawner.user, orm.User._orm_spawners))
            .populate_existing()
        )
        found = list(rows)
        for row in found:
            user = self.users[row.user]
            self._resumer.take_up(user, user.spawners[row.name])
        return len(found)

    def init_internal_ssl(self) -> None:
        """Listen with our own certificates.

        JupyterHub's `internal_ssl` would make RSA keys for every start, while everybody waits. And what it calls to
        learn how to listen also trusts every authority of the internet; so it is given our answer instead.
        """
        super().init_internal_ssl()
        context = self.certificates.server_context()
        jupyterhub.app.make_ssl_context = lambda *_, **__: context

    async def start(self) -> None:
        """Start the hub, and what watches over its sessions, routes and database."""
        await super().start()
        if not hasattr(self, "_resumer"):
            return  # a command such as --generate-config
        REGISTRY.register(Sessions(self, self.site))
        if self.http_server:
            # Tornado has room for 128 that knock. Whoever comes to a full doorstep tries again after a second, and of a
            # class that presses Start together most would. Asked again, listen(2) only makes the room larger.
            for listening in self.http_server._sockets.values():
                listening.listen(_DOORSTEP)
        keepers = (
            Reconciler(self, self._resumer),
            RouteGuard(self),
            Doorkeeper(self, self.spawner_class.proof.broker),
            Checkpointer(self.db_url),
            Collector(busy=lambda: bool(self.users.count_active_users()["pending"])),
            IdleWatch(self),
        )
        # Kept, because the event loop alone holds tasks by weak references.
        self._keepers = [asyncio.create_task(keeper.run()) for keeper in keepers]

    async def shutdown_cancel_tasks(self, sig: signal.Signals | None = None) -> None:
        """End the hub, and be away for whoever comes before anything of it ends.

        JupyterHub goes on answering meanwhile: that all is well, and of each start that it leaves off, that it failed.
        A page that asks again at just that moment would show a failure that is none, and hear no more.
        """
        if self.http_server:
            self.http_server.stop()
            self.tornado_application.leaving = True
        await super().shutdown_cancel_tasks(sig)


def main(argv: list[str] | None = None) -> Any:
    """Run the hub until it is told to stop."""
    return DavideHub.launch_instance(argv)


if __name__ == "__main__":
    main()
