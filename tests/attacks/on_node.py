"""What rows run on a node as a user, with the Python that the node has: calls of the hub's and of sessions' ports.

`python3 -I -c THIS ORDER`: the order is a JSON object with the name of a function here, and what it takes. Who the
caller is, comes from the file that a session of the user was given; where that is empty, nobody in particular calls.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 10


def hear(environment: str, address: str, port: int, name: str, path: str) -> str:
    """Return the first line of the answer to a request, or what stood in the way."""
    try:
        with _called(environment, address, port, name) as secure:
            secure.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return _first_line(secure)
    except OSError as error:
        return f"refused: {error}"


def reach(address: str, port: int) -> str:
    """Return whether anything listens."""
    try:
        with socket.create_connection((address, port), timeout=5):
            return "connected"
    except OSError as error:
        return f"refused: {error}"


def post(environment: str, address: str, port: int, path: str, header: int, pieces: int, pause: float) -> str:
    """Send a session's sign of activity, in pieces; return the first line of the answer, or what stood in the way.

    Parameters
    ----------
    environment, address, port, path
        Who calls, and where.
    header
        How many bytes stand in a header without any meaning.
    pieces, pause
        In how many pieces the body goes out, at most one for each byte, and how many seconds lie between two.
    """
    given = _given(environment)
    body = json.dumps({"last_activity": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\nX-Long: {'x' * header}\r\n"
        f"Authorization: token {given['JUPYTERHUB_API_TOKEN']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        with _called(environment, address, port, address) as secure:
            secure.sendall(head.encode())
            size = -(-len(body) // pieces)
            for begin in range(0, len(body), size):
                secure.sendall(body[begin : begin + size])
                time.sleep(pause)
            return _first_line(secure)
    except OSError as error:
        return f"refused: {error}"


def hold(environment: str, address: str, port: int, number: int) -> str:
    """Open connections, and return how many of them the other side holds."""
    held = []
    for _ in range(number):
        with contextlib.suppress(OSError):
            held.append(_called(environment, address, port, address))
    alive = sum(_is_open(secure) for secure in held)
    return f"held {alive} of {number}"


def serve(environment: str, word: str) -> str:
    """Listen under the name of a session, say on which port, and answer one request with a word."""

    class Word(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(word.encode())

    server = http.server.HTTPServer(("", 0), Word)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _show(context, _given(environment))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.timeout = 20
    server.handle_request()
    return "done"


def _given(environment: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(Path(environment).read_text())
    return found


def _show(context: ssl.SSLContext, given: dict[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w") as pair:
        pair.write(given["JUPYTERHUB_TLS_KEY"] + given["JUPYTERHUB_TLS_CERTIFICATE"])
        pair.flush()
        context.load_cert_chain(pair.name)


def _context(environment: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if environment:
        given = _given(environment)
        _show(context, given)
        context.load_verify_locations(cadata=given["JUPYTERHUB_TLS_AUTHORITY"])
    return context


def _called(environment: str, address: str, port: int, name: str) -> ssl.SSLSocket:
    """Return a connection; the other side must show `name`, or may be whoever it is."""
    context = _context(environment)
    if not environment or not name:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((address, port), timeout=SECONDS)
    plain.settimeout(2 * SECONDS)
    return context.wrap_socket(plain, server_hostname=name or None)


def _is_open(secure: ssl.SSLSocket) -> bool:
    secure.setblocking(False)
    try:
        return secure.recv(1) != b""
    except ssl.SSLWantReadError:
        return True  # nothing was said, and nobody hung up
    except OSError:
        return False


def _first_line(secure: ssl.SSLSocket) -> str:
    heard = secure.recv(2000)
    return heard.split(b"\r\n")[0].decode(errors="replace") if heard else "refused: closed without an answer"


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    print(globals()[order.pop("do")](**order))
