"""Watching that the proxy has its routes: one that was restarted has none, one that was away lacks some."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import ClientError, ClientResponseError
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.user import User

from davide_hub.facts import Site

_log = logging.getLogger("jupyterhub.davide.routes")

# A request for one small answer. Until it is noticed, a session behind a new proxy is out of reach.
_LOOK_SECONDS = 2


def sentinel(site: Site) -> str:
    """Return a route that the proxy has exactly as long as it has those of the sessions. No browser comes by it."""
    host = "davide-hub.invalid" if site.origins == "per-user" else ""
    return f"{host}/davide-hub-routes/"


class LatentProxy(ConfigurableHTTPProxy):  # type: ignore[misc]
    """A proxy whose routes may be put in or taken out later.

    JupyterHub ends a session whose start meets a proxy that is away, and drops an order to stop one. A route is no
    reason for either: who can't reach the proxy can't reach a session, and it gets its routes when it is back.

    Attributes
    ----------
    behind
        Whether it may lack a route, or have one too many.
    """

    behind = False

    async def add_user(self, user: User, server_name: str = "") -> None:
        """Let a session's user in, now or later."""
        try:
            await super().add_user(user, server_name)
        except (ClientError, TimeoutError) as error:
            self._later(user, server_name, error)

    async def delete_user(self, user: User, server_name: str = "") -> None:
        """Let nobody into a session any more, now or later."""
        try:
            await super().delete_user(user, server_name)
        except (ClientError, TimeoutError) as error:
            self._later(user, server_name, error)

    def _later(self, user: User, server_name: str, error: Exception) -> None:
        self.behind = True
        _log.warning("The route of %s:%s waits for the proxy: %s", user.name, server_name, error)


class RouteGuard:
    """Gives a proxy that lost its routes all of them back.

    JupyterHub compares all routes every `last_activity_interval` (5 minutes). This one asks for a single route
    that is always there, and has them compared when it is missing, or when the proxy is behind (`LatentProxy`).

    Parameters
    ----------
    app
        The hub.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def run(self) -> None:
        """Look again and again, for as long as the hub runs."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - the proxy is away; the next look comes soon
                _log.debug("The proxy does not answer: %s", error)

    async def _look(self) -> None:
        proxy = self.app.proxy
        has_sentinel = await self._has_sentinel()
        if has_sentinel and not proxy.behind:
            return
        _log.warning("The proxy has %s: giving it all that belong there", "old routes" if has_sentinel else "no routes")
        # Not after it: meanwhile there may be news that it does not know.
        proxy.behind = False
        try:
            await proxy.check_routes(self.app.users, self.app._service_map)
        except Exception:
            proxy.behind = True
            raise

    async def _has_sentinel(self) -> bool:
        try:
            (route,) = self.app.proxy.extra_routes
            await self.app.proxy.api_request("/" + route.strip("/"))
        except ClientResponseError as error:
            if error.status == 404:
                return False
            raise
        return True
