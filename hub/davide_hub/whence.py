"""Where a browser is: what our own front says, never what a request says of itself."""

from __future__ import annotations

from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.netutil import is_valid_ip


def caller_address(request: HTTPServerRequest) -> str:
    """Return the address that a request came from.

    Tornado believes X-Forwarded-For and X-Real-Ip of anybody. Here only the hub's own host is believed: the front
    writes X-Forwarded-For anew, and the proxy adds the front. Whoever calls the hub directly, as a session can, is
    where the connection comes from.
    """
    context: Any = request.connection.context  # type: ignore[union-attr]
    peer = _host(context.address)
    if peer != _host(request.connection.stream.socket.getsockname()):  # type: ignore[union-attr]
        return peer
    told = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",")]
    believed = [one for one in told if is_valid_ip(one) and one not in context.trusted_downstream]
    return believed[-1] if believed else peer


def _host(address: Any) -> str:
    return str(address[0]) if isinstance(address, tuple) else ""
