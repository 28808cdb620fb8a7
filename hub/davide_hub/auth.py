"""Log-in with the cluster's accounts, as the broker checks them. The hub never sees /etc/shadow."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from jupyterhub.auth import Authenticator
from tornado import web
from traitlets import Instance

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable

_STATUS = {"busy": 503, "failed": 503, "too_many": 429}


class BrokerAuthenticator(Authenticator):  # type: ignore[misc]
    """Hands the password on to the broker, and keeps nothing of it."""

    broker = Instance(BrokerClient, config=True, help="Who checks passwords and groups.")

    async def authenticate(self, handler: web.RequestHandler | None, data: dict[str, str]) -> dict[str, Any] | None:
        """Return who logged in, or None if name or password is wrong.

        Raises
        ------
        tornado.web.HTTPError
            With a sentence for the log-in page: the account may not use this service, or nobody can tell now.
        """
        # Unix accounts are in small letters; phones like to begin with a capital.
        name, password = data.get("username", "").strip().lower(), data.get("password", "")
        try:
            return {"name": await self.broker.login(name, password, address_of(handler))}
        except BrokerRefused as refusal:
            if refusal.kind == "wrong_password":
                return None
            raise web.HTTPError(_STATUS.get(refusal.kind, 403), str(refusal)) from refusal
        except BrokerUnreachable as error:
            raise web.HTTPError(503, str(error)) from error

    async def refresh_user(self, user: Any, _handler: web.RequestHandler | None = None) -> bool:
        """Return whether the user's log-in still counts. Without a ticket, the password is asked for again."""
        try:
            return bool(await self.broker.holds_ticket(user.name))
        except BrokerRefused:
            return False
        except BrokerUnreachable:
            return True  # not known is no reason to throw anybody out


def address_of(handler: web.RequestHandler | None) -> str:
    """Return where the browser is, for the audit trail; empty if what the request says of it is no address."""
    try:
        return str(ip_address(handler.request.remote_ip or "")) if handler is not None else ""
    except ValueError:
        return ""
