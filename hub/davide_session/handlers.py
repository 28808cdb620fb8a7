"""What pages ask of their session: facts, "I am here", "keep it", its end. For whom the server lets in at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from davide_session.watch import Watch


class _SessionHandler(APIHandler):  # type: ignore[misc]
    auth_resource = "server"

    def initialize(
        self,
        watch: Watch,
        report: Callable[[], None],
        end: Callable[[], Awaitable[None]],
        keep: Callable[[str], Awaitable[bool]],
    ) -> None:
        super().initialize()
        self.watch, self.report, self.end, self.keep = watch, report, end, keep


class FactsHandler(_SessionHandler):
    """What the status bar shows."""

    @web.authenticated
    @authorized  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Return the session's facts."""
        self.set_header("Cache-Control", "no-store")
        self.finish(await self.watch.facts())


class HereHandler(_SessionHandler):
    """Somebody pressed "I am here"."""

    @web.authenticated
    @authorized  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Count as activity, and tell the hub at once."""
        self.watch.activity.here()
        self.report()
        self.finish(await self.watch.facts())


class KeepHandler(_SessionHandler):
    """Somebody wants to keep a kernel whose job is about to end for lack of use."""

    @web.authenticated
    @authorized  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Tell the kernel's job, and count as activity of the session, too."""
        kernel = (self.get_json_body() or {}).get("kernel", "")
        if not isinstance(kernel, str) or not await self.keep(kernel):
            raise web.HTTPError(404, "There is no such kernel with a job of its own any more.")
        self.watch.activity.here()
        self.finish(await self.watch.facts())


class EndHandler(_SessionHandler):
    """Somebody wants the session to end."""

    @web.authenticated
    @authorized  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Ask the hub to end the session."""
        try:
            await self.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, the session goes on
            self.log.warning("The hub did not end this session: %s: %s", type(error).__name__, error)
            problem = "The hub could not end the session just now. Try again in a moment, or press Stop on its page."
            raise web.HTTPError(503, problem) from None
        self.set_status(202)
        self.finish({})


def routes(prefix: str, **parts: Any) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """Return where these are, below the server's base address."""
    named = {"facts": FactsHandler, "here": HereHandler, "keep": KeepHandler, "end": EndHandler}
    return [(f"{prefix}davide/{name}", handler, parts) for name, handler in named.items()]
