"""JupyterHub's handlers, where ours answer better."""

from __future__ import annotations

from jupyterhub.apihandlers import default_handlers
from jupyterhub.apihandlers.users import UserServerAPIHandler


class SessionHandler(UserServerAPIHandler):  # type: ignore[misc]
    """Starts and ends a session."""

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


def use_ours() -> None:
    """Put our handlers in the places of JupyterHub's."""
    ours = {UserServerAPIHandler: SessionHandler}
    default_handlers[:] = [(path, ours.get(handler, handler), *more) for path, handler, *more in default_handlers]
