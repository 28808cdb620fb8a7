"""Names under .localhost lead to this machine, and the local cluster's authority is believed: as in a browser.

Browsers take every such name for this machine (RFC 6761, 6.3); the C library asks the network for it instead.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from davide_lab.place import AUTHORITY

_ask = socket.getaddrinfo


def lead_localhost_here() -> None:
    """Let this process find every name under .localhost at 127.0.0.1."""
    socket.getaddrinfo = _getaddrinfo


def _getaddrinfo(host: Any, *more: Any, **options: Any) -> Any:
    here = isinstance(host, str) and host.endswith(".localhost")
    return _ask("127.0.0.1" if here else host, *more, **options)


def context() -> ssl.SSLContext:
    """Return what believes the local cluster's authority alone; without a cluster, those of this machine."""
    return ssl.create_default_context(cafile=str(AUTHORITY) if AUTHORITY.exists() else None)
