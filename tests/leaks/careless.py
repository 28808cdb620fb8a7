"""Somebody who writes a token into addresses, as programs do that can't set a header, and all that goes wrong then."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from support.cluster import Cluster
from support.proxy import proxy_api
from support.visitor import Visitor
from support.web import request

# Nobody listens there.
_NOWHERE = {"target": "https://gpu01.0123456789abcdef.sessions.internal:1"}


def write_into_addresses(cluster: Cluster, visitor: Visitor, ended: Visitor) -> None:
    """Let a token stand in addresses of the hub, of a session, and of what is not there: programs log those.

    Parameters
    ----------
    cluster, visitor
        Where; whose token.
    ended
        Somebody whose session has ended.
    """
    of_the_hub, of_sessions = (f"{visitor.hub}/home", f"{visitor.hub}/api/user"), (visitor.address(), ended.address())
    for address in (*of_the_hub, *of_sessions, f"{visitor.address()}api/status"):
        _get(f"{address}?token={visitor.token}")
    host = urlsplit(cluster.hub_url).hostname
    proxy_api(cluster, "POST", f"/{host}/nowhere", json.dumps(_NOWHERE))
    try:
        assert _get(f"{cluster.hub_url}/nowhere/?token={visitor.token}") == 503, "the hub makes the proxy's page"
    finally:
        proxy_api(cluster, "DELETE", f"/{host}/nowhere")
    try:
        cluster.output("hub01", "systemctl stop jupyterhub-proxy")
        assert _get(f"{visitor.address()}api/status?token={visitor.token}") == 502, "the front makes its own"
    finally:
        cluster.output("hub01", "systemctl start jupyterhub-proxy")


def _get(address: str) -> int:
    return request("GET", address, timeout=60).status_code
