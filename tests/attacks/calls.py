"""Calling the hub from a host as sessions do: at its own address, with a session's certificate."""

from __future__ import annotations

import json
import shlex

from attacks.scene import Scene
from attacks.web import Person

# Run on a host as a user. Spaces after the body are made there: megabytes fit on no command line.
_CALL = """
import http.client, json, ssl, sys, tempfile
environment, address, port, method, path, token, headers, body, spaces = sys.argv[1:]
given = json.load(open(environment))
with tempfile.NamedTemporaryFile("w") as pair, tempfile.NamedTemporaryFile("w") as known:
    pair.write(given["JUPYTERHUB_TLS_KEY"] + given["JUPYTERHUB_TLS_CERTIFICATE"]); pair.flush()
    known.write(given["JUPYTERHUB_TLS_AUTHORITY"]); known.flush()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(pair.name)
    context.load_verify_locations(known.name)
hub = http.client.HTTPSConnection(address, int(port), timeout=15, context=context)
proof = {"Authorization": "token " + (token or given["JUPYTERHUB_API_TOKEN"]), "Content-Type": "application/json"}
try:
    hub.request(method, path, body + " " * int(spaces), proof | json.loads(headers))
    reply = hub.getresponse()
    print(reply.status, " ".join(reply.read().decode().split())[:300])
except OSError as error:
    print("hung up:", error)
"""


def call(
    scene: Scene,
    caller: Person,
    secrets: str,
    path: str,
    body: object,
    *,
    host: str,
    method: str = "POST",
    token: str = "",
    headers: dict[str, str] | None = None,
    spaces: int = 0,
) -> str:
    """Return what the hub answers to a person's call from a host.

    Parameters
    ----------
    secrets
        The file with what a session was given: its certificate, and the token if `token` is empty.
    path, body, method, headers
        The request.
    spaces
        How many follow the body.
    """
    hub = scene.site()["hub"]
    words = [secrets, hub["address"], str(hub["api_port"]), method, path, token]
    words += [json.dumps(headers or {}), json.dumps(body), str(spaces)]
    done = scene.as_user(caller, f"python3 -I -c {shlex.quote(_CALL)} {shlex.join(words)}", host)
    return done.stdout.strip() or done.stderr.strip()[-300:]
