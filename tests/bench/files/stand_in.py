"""A tiny server in place of JupyterLab, for loads that this machine could not carry with real ones.

It does what a session's server does for the hub: it calls home when it listens, answers `/api`, and echoes on
websockets. Two protocols: `stand_in.py environment.json` speaks ours, with mutual TLS if the hub sent keys;
`stand_in.py` alone speaks batchspawner's. Only the standard library, and little of it: hundreds start at once.
"""

import json
import os
import socket
import sys
import threading
import time

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


def main():
    """Listen, call home, and serve until the job is cancelled."""
    if len(sys.argv) > 1 and sys.argv[1].endswith(".json"):
        with open(sys.argv[1]) as file:  # noqa: PTH123 - pathlib costs a third of this program's start
            environ = json.load(file)
        path = "/davide/call-home"
    else:
        environ, path = os.environ, "/batchspawner"
    listening, calling = contexts(environ)
    listener = socket.create_server(("", 0), backlog=64)
    port = listener.getsockname()[1]
    called = (environ["JUPYTERHUB_API_URL"] + path, environ["JUPYTERHUB_API_TOKEN"], port, calling)
    threading.Thread(target=call_home, args=called, daemon=True).start()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, listening), daemon=True).start()


def contexts(environ):
    """Return how to listen and how to call with TLS; twice None if the hub sent no keys."""
    if "JUPYTERHUB_TLS_KEY" not in environ:
        return None, None
    import ssl  # here: it takes as long as the rest of this program

    files = {}
    for name in ("KEY", "CERTIFICATE", "AUTHORITY"):
        files[name] = os.memfd_create(name)  # the module takes nothing but files
        os.write(files[name], environ[f"JUPYTERHUB_TLS_{name}"].encode())
    made = []
    for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(purpose)
        context.load_cert_chain(f"/proc/self/fd/{files['CERTIFICATE']}", f"/proc/self/fd/{files['KEY']}")
        context.load_verify_locations(f"/proc/self/fd/{files['AUTHORITY']}")
        context.verify_mode = ssl.CERT_REQUIRED
        made.append(context)
    return made


def call_home(url, token, port, context):
    """Tell the hub the port, until it has taken note."""
    host, _, path = url.partition("://")[2].partition("/")
    address, _, hub_port = host.partition(":")
    body = json.dumps({"port": port})
    request = (
        f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
    pause = 0.1
    while True:
        try:
            with socket.create_connection((address, int(hub_port or 80)), timeout=30) as plain:
                connection = context.wrap_socket(plain, server_hostname=address) if context else plain
                connection.sendall(request)
                if connection.recv(4096).startswith(b"HTTP/1.1 2"):
                    return
        except OSError as error:
            print(f"bench: the hub has not heard: {error}", flush=True)
        time.sleep(pause)
        pause = min(2 * pause, 10)


def serve(connection, context):
    """Answer requests on one connection."""
    try:
        answer(context.wrap_socket(connection, server_side=True) if context else connection)
    except OSError:
        connection.close()  # the other side went away, or is not one that may talk to us


def answer(connection):
    """Answer requests until the other side has no more."""
    with connection, connection.makefile("rb") as stream:
        while request := read_head(stream):
            if "sec-websocket-key" in request:
                connection.sendall(handshake(request["sec-websocket-key"]))
                echo(connection, stream)
                return
            body = b'{"version": "2.21.0"}'
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)


def read_head(stream):
    """Return the header fields of the next request in small letters; empty at the connection's end."""
    fields = {}
    while (line := stream.readline().strip()) or not fields:
        if not line:
            return {}
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.lower()] = value.strip()
    return fields


def handshake(key):
    """Return the answer that opens a websocket."""
    import base64  # here: most of these servers see no websocket, and start sooner without
    import hashlib

    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 says so
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def echo(connection, stream):
    """Send every short frame back, unmasked, until the other side closes."""
    while len(head := stream.read(2)) == 2:
        length = head[1] & 127
        if length > 125:
            return
        mask, data = stream.read(4), stream.read(length)
        plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        connection.sendall(bytes([head[0], length]) + plain)
        if head[0] & 15 == 8:
            return


if __name__ == "__main__":
    main()
