"""Watching that the proxy has its routes: one that was restarted has forgotten them all."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import ClientResponseError

from davide_hub.facts import Site

_log = logging.getLogger("jupyterhub.davide.routes")

# A request for one small answer. Until it is noticed, a session behind a new proxy is out of reach.
_LOOK_SECONDS = 2


def sentinel(site: Site) -> str:
    """Return a route that the proxy has exactly as long as it has those of the sessions. No browser comes by it."""
    host = "davide-hub.invalid" if site.origins == "per-user" else ""
    return f"{host}/davide-hub-routes/"


class RouteGuard:
    """Gives a proxy that lost its routes all of them back.

    JupyterHub compares all routes every `last_activity_interval` (5 minutes). This one asks for a single route
    that is always there, and has them compared when it is missing.

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
                if not await self._has_sentinel():
                    _log.warning("The proxy has lost its routes: giving them back")
                    await self.app.proxy.check_routes(self.app.users, self.app._service_map)
            except Exception as error:  # noqa: BLE001 - the proxy is away; the next look comes soon
                _log.debug("The proxy does not answer: %s", error)

    async def _has_sentinel(self) -> bool:
        try:
            (route,) = self.app.proxy.extra_routes
            await self.app.proxy.api_request("/" + route.strip("/"))
        except ClientResponseError as error:
            if error.status == 404:
                return False
            raise
        return True
