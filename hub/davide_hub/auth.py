"""Log-in with the cluster's accounts, as the broker checks them. The hub never sees /etc/shadow."""

from __future__ import annotations

from collections.abc import Awaitable
from ipaddress import ip_address
from typing import Any

from jupyterhub import orm
from jupyterhub.auth import Authenticator
from jupyterhub.handlers.login import LogoutHandler
from oauthenticator.oauth2 import OAuthenticator, OAuthLogoutHandler
from tornado import web
from traitlets import Instance

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.turnstile import is_start, turn

_STATUS = {"busy": 503, "failed": 503, "too_many": 429}


class Leave(LogoutHandler):  # type: ignore[misc]
    """Logs out for good: JupyterHub's own only asks the browser to forget the cookie, of which there may be copies."""

    def _backend_logout_cleanup(self, name: str) -> None:
        user = self.current_user
        super()._backend_logout_cleanup(name)
        # The log-in cookie holds this, in every browser of the user.
        user.orm_user.cookie_id = orm.new_token()
        self.db.commit()


class OidcLeave(Leave, OAuthLogoutHandler):  # type: ignore[misc]
    """The same, where a provider logs in."""


class Door(Authenticator):  # type: ignore[misc]
    """What every way to log in has in common: the broker lets in, and says who still is."""

    broker = Instance(BrokerClient, config=True, help="Who checks passwords and groups.")

    async def ask(self, question: Awaitable[str]) -> dict[str, Any] | None:
        """Return who logged in, or None if name or password is wrong.

        Raises
        ------
        tornado.web.HTTPError
            With a sentence for the log-in page: the account may not use this service, or nobody can tell now.
        """
        try:
            return {"name": await question}
        except BrokerRefused as refusal:
            if refusal.kind == "wrong_password":
                return None
            raise web.HTTPError(_STATUS.get(refusal.kind, 403), str(refusal)) from refusal
        except BrokerUnreachable as error:
            raise web.HTTPError(503, str(error)) from error

    async def refresh_user(self, user: Any, handler: web.RequestHandler | None = None) -> bool:
        """Return whether the user's log-in still counts. Without a ticket, it is asked for again."""
        try:
            holds = bool(await self.broker.holds_ticket(user.name))
        except BrokerRefused:
            holds = False
        except BrokerUnreachable:
            holds = True  # not known is no reason to throw anybody out
        # A class is told so in one moment, and what follows in each request is most of its work.
        await turn(start=handler is not None and is_start(handler.request))
        return holds


class BrokerAuthenticator(Door):
    """Hands the password on to the broker, and keeps nothing of it."""

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """Return the pages of log-in and log-out, which go before JupyterHub's."""
        return [*super().get_handlers(app), (r"/logout", Leave)]

    async def authenticate(self, handler: web.RequestHandler | None, data: dict[str, str]) -> dict[str, Any] | None:
        """Return who logged in, or None if name or password is wrong; see `Door.ask`."""
        # Unix accounts are in small letters; phones like to begin with a capital.
        name, password = data.get("username", "").strip().lower(), data.get("password", "")
        return await self.ask(self.broker.login(name, password, address_of(handler)))


class OidcAuthenticator(Door, OAuthenticator):  # type: ignore[misc]
    """Sends people to the provider, and hands the ID token that comes back on to the broker.

    OAuthenticator does the browser's part (state, PKCE, code for token). It would trust the token because of where
    it comes from; here the broker verifies its signature, so that a hub that was taken can't say who logs in.
    """

    logout_handler = OidcLeave

    async def authenticate(
        self, handler: web.RequestHandler, data: dict[str, str] | None = None, **_more: Any
    ) -> dict[str, Any] | None:
        """Return who logged in; see `Door.ask`."""
        parameters = self.build_access_tokens_request_params(handler, data)
        told = await self.get_token_info(handler, parameters)
        if not isinstance(told.get("id_token"), str):
            raise web.HTTPError(502, f"{self.login_service} sent no ID token. Tell the site's support.")
        return await self.ask(self.broker.identify(told["id_token"], address_of(handler)))


def address_of(handler: web.RequestHandler | None) -> str:
    """Return where the browser is, for the audit trail; empty if what the request says of it is no address."""
    try:
        return str(ip_address(handler.request.remote_ip or "")) if handler is not None else ""
    except ValueError:
        return ""
