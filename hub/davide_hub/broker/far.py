"""The broker for a hub on another host: the same requests, over TLS, from whom a certificate calls the hub.

Anybody on the network may connect. So nobody is waited for: a certificate is shown within seconds, by each connection
in its own thread, and when all places are taken, whoever has been longest at showing one makes room.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from ssl import SSLContext, SSLSocket
from typing import Any

from davide_hub.broker.server import Connection
from davide_hub.broker.tls import HUB_NAME, broker_context
from davide_hub.broker.verbs import Caller, Verbs

_log = logging.getLogger("davide-broker")

_HANDSHAKE_SECONDS = 5
# A class of students pressing Start together, each of whom holds a place until sbatch has answered.
_PLACES = 512
# How long the next one waits for somebody who was sent away to be gone.
_LEAVING_SECONDS = 1
# Strangers must not fill the journal.
_LINE_EVERY_SECONDS = 5


@contextmanager
def serving(listen: str, certificates: Path, verbs: Verbs) -> Iterator[FarServer]:
    """Serve hubs on other hosts while the block runs; its end waits for the requests that are under way.

    Parameters
    ----------
    listen
        HOST:PORT.
    certificates
        The folder of `davide_hub.certificates.prepare_broker`.
    verbs
        What is done for a request.
    """
    host, _, port = listen.rpartition(":")
    try:
        server = FarServer(host, int(port), broker_context(certificates), verbs)
    except (OSError, ValueError) as error:
        problem = f"can't listen on {listen} with {certificates}: {error}; see site.broker, and run the plays"
        raise SystemExit(problem) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class FarServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread per connection, and no more of them than there are places.

    Parameters
    ----------
    host, port
        Where to listen.
    context
        Which certificates are believed.
    verbs
        What is done for a request.
    places
        How many connections there may be at once.
    """

    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = _PLACES

    def __init__(self, host: str, port: int, context: SSLContext, verbs: Verbs, places: int = _PLACES) -> None:
        self.verbs = verbs
        self._context = context
        self._places = _Places(places)
        self._journal = _Journal()
        address: Any
        self.address_family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__(address, Connection)

    def caller(self, connection: socket.socket) -> tuple[Caller, bool]:
        """Return whom the certificate names, with the address, and whether that is the hub."""
        assert isinstance(connection, SSLSocket)  # noqa: S101 - get_request made it so
        shown: Any = connection.getpeercert() or {}
        is_hub = shown.get("subjectAltName") == (("DNS", HUB_NAME),)
        return f"{'hub' if is_hub else 'stranger'}@{connection.getpeername()[0]}", is_hub

    def get_request(self) -> tuple[SSLSocket, Any]:
        """Accept a connection; nothing is read from it here."""
        connection, address = super().get_request()
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a place and a thread."""
        if not self._places.enter(request):
            self._journal.refused(client_address[0], "all places are taken")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Do everything for a connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.leave(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Hear only who shows a certificate in time."""
        request.settimeout(_HANDSHAKE_SECONDS)  # for all of the handshake together
        try:
            request.do_handshake()
        except OSError as error:
            self._journal.refused(client_address[0], getattr(error, "reason", None) or str(error))
            return
        if self._places.shown(request):
            super().finish_request(request, client_address)


class _Places:
    """Counts connections. Those that have not shown a certificate yet are told apart: they can be sent away."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._strangers: dict[SSLSocket, None] = {}
        self._changed = threading.Condition()

    def enter(self, connection: SSLSocket) -> bool:
        """Take a place, if need be that of the stranger who has been here longest; return whether there was one."""
        with self._changed:
            if not self._free and self._strangers:
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                _hang_up(oldest)
                self._changed.wait_for(lambda: self._free, _LEAVING_SECONDS)
            if not self._free:
                return False
            self._free -= 1
            self._strangers[connection] = None
            return True

    def shown(self, connection: SSLSocket) -> bool:
        """Note that a connection has shown a good certificate; return False if it was sent away meanwhile."""
        with self._changed:
            return self._strangers.pop(connection, connection) is None

    def leave(self, connection: SSLSocket) -> None:
        """Give a place back."""
        with self._changed:
            self._strangers.pop(connection, None)
            self._free += 1
            self._changed.notify_all()


def _hang_up(connection: SSLSocket) -> None:
    # Not SSLSocket's own shutdown: after that its thread would go on reading without TLS.
    with suppress(OSError):  # gone by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Journal:
    """Writes a line about who was not let in, now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0
        self._untold = 0

    def refused(self, address: str, why: str) -> None:
        """Note that somebody was not let in."""
        with self._lock:
            self._untold += 1
            if time.monotonic() < self._next:
                return
            line = {"caller": f"stranger@{address}", "refused": "tls", "why": why, "since_the_last_line": self._untold}
            self._next, self._untold = time.monotonic() + _LINE_EVERY_SECONDS, 0
        _log.warning("%s", json.dumps(line))
