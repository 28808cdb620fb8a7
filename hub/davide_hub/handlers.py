"""JupyterHub's handlers, where ours answer better."""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers import default_handlers
from jupyterhub.apihandlers.users import ActivityAPIHandler, UserServerAPIHandler
from jupyterhub.user import User
from tornado import web

from davide_hub.drain import Gate
from davide_hub.facts import Site
from davide_hub.idle import ActivityHandler
from davide_hub.options import SessionFailed, chosen_plan
from davide_hub.texts import text

# What a body may name, by the request's method. JupyterHub passes over what it does not know, and takes a body
# that has neither `display_name` nor `user_options` for options.
_START = frozenset({"display_name", "user_options"})
_FIELDS = {
    "POST": _START,
    "PUT": _START,
    "PATCH": _START | {"name"},
    "DELETE": frozenset({"remove"}),
}


class OwnersStart:
    """Of a handler: only its owner starts a session, whatever JupyterHub's scopes allow administrators.

    And nobody does while the hub is drained.
    """

    current_user: Any
    gate: Gate

    async def spawn_single_user(self, user: User, *arguments: Any, **options: Any) -> Any:
        """Start a session as JupyterHub does, for whoever asks for an own one."""
        self._require_owner(user)
        if drain := self.gate.drain():
            raise SessionFailed(drain.sentence, reason="drained")
        return await super().spawn_single_user(user, *arguments, **options)  # type: ignore[misc]

    def _require_owner(self, user: User) -> None:
        if self.current_user is None or self.current_user.name != user.name:
            raise web.HTTPError(403, text("overview.not_yours"))


class SessionHandler(OwnersStart, UserServerAPIHandler):  # type: ignore[misc]
    """Starts, changes and ends a session."""

    def get_server_json_body(self) -> dict[str, Any]:
        """Return the body of a start, with options that are good as the site is now; refuse it before anything begins.

        A start without options is one with those of the last time, which may come from an old database.
        """
        body: dict[str, Any] = super().get_server_json_body()
        self._require_known(body)
        options = body["user_options"]
        if options is None and self.request.method == "POST":
            options = self._saved_options()
        chosen_plan(self._site(), options)
        return body

    def get_json_body(self) -> Any:
        """Return the body of a change or an end (a start's has its own method)."""
        body = super().get_json_body()
        if body is None:
            return None
        if not isinstance(body, dict):
            raise web.HTTPError(400, "The body must be a JSON object.")
        self._require_known(body)
        for name in body.keys() & {"name", "display_name"}:
            if not isinstance(body[name], str):
                raise web.HTTPError(400, f"{name} must be a text.")
        if "user_options" in body:
            chosen_plan(self._site(), body["user_options"])
        return body

    def _require_known(self, body: dict[str, Any]) -> None:
        allowed = _FIELDS[self.request.method]
        if unknown := ", ".join(sorted(ascii(name) for name in body.keys() - allowed)):
            raise web.HTTPError(400, f"There is no field {unknown[:80]}; there is {', '.join(sorted(allowed))}.")

    def _site(self) -> Site:
        site: Site = self.config.DavideSpawner.site
        return site

    def _saved_options(self) -> Any:
        user = self.find_user(self.path_args[0])
        row = user.orm_spawners.get(self.path_args[1] if len(self.path_args) > 1 else "")
        return row.user_options if row is not None else None

    async def delete(self, user_name: str, server_name: str = "") -> None:
        """End a session in any stage; 202 while it is ending.

        JupyterHub cancels a start that is under way, waits a second, and answers 500 if the start has failed, or
        has been cancelled by another request, in that second. Either is what was asked for.
        """
        try:
            await super().delete(user_name, server_name)
        except (RuntimeError, KeyError) as error:
            self.log.info("the end of %s's session overtook its cancellation: %s", user_name, error)
            self.set_header("Content-Type", "text/plain")
            self.set_status(202)


def use_ours(gate: Gate) -> None:
    """Put our handlers in the places of JupyterHub's.

    Parameters
    ----------
    gate
        Where every new session comes through.
    """
    OwnersStart.gate = gate
    ours = {UserServerAPIHandler: SessionHandler, ActivityAPIHandler: ActivityHandler}
    default_handlers[:] = [(path, ours.get(handler, handler), *more) for path, handler, *more in default_handlers]
