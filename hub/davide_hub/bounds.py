"""How much a single request, or a single host, may ask of the hub: far more than it needs, far less than hurts.

Compute nodes reach the hub without a proxy in between, and whoever has a session can call from there. Tornado would
wait for bodies without end, and hold as many connections as there are files.
"""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("jupyterhub.davide.bounds")

# A request is read into memory before anybody asks whose it is. Forms and orders are some hundred bytes; files and
# notebooks go to sessions, past the hub. Tornado would read 100 MB.
BODY_BYTES = 1024 * 1024
BODY_SECONDS = 10
# A session keeps one or two open.
CONNECTIONS_OF_A_HOST = 256


class Bounds:
    """Bounds every request's body, and how many connections each other host holds."""

    def __init__(self) -> None:
        self._streams: dict[str, list[Any]] = {}

    def apply(self, server_connection: Any, request_connection: Any) -> None:
        """Set the bounds of a request that is about to be read; close the connection if its host has too many.

        Parameters
        ----------
        server_connection, request_connection
            Tornado's: the connection, and what reads this one request from it.
        """
        request_connection.set_max_body_size(BODY_BYTES)
        request_connection.set_body_timeout(BODY_SECONDS)
        if is_from_here(server_connection):
            return  # the proxy, which speaks for everybody
        # Not the address that a header tells: here it is about who holds the connection.
        if not self._has_room(server_connection.stream, str(server_connection.context.address[0])):
            server_connection.stream.close()

    def _has_room(self, stream: Any, address: str) -> bool:
        if stream.closed():
            return True  # it costs nothing any more
        held = [one for one in self._streams.get(address, ()) if not one.closed()]
        self._streams[address] = held
        if stream in held:
            return True
        if len(held) >= CONNECTIONS_OF_A_HOST:
            _log.warning("closing a connection from %s, which holds %d", address, len(held))
            return False
        held.append(stream)
        return True


def is_from_here(server_connection: Any) -> bool:
    """Return whether a connection comes from this host itself."""
    stream = server_connection.stream
    return not stream.closed() and stream.socket.getsockname()[0] == server_connection.context.address[0]
