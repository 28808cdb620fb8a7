"""Attacks on other people's sessions and on ports, from the browser and from a node."""

from __future__ import annotations

import json
import shlex
from typing import Any

from faults.hosts import HUB

from attacks.attack import Attack, Outcome
from attacks.neighbours import (
    SessionLog,
    close_terminal,
    hub_port,
    new_terminal,
    on_node,
    serving,
    type_into,
)
from attacks.scene import HUB_PYTHON, Scene
from attacks.web import SECONDS, copy_of, heard

# Run as root on the hub's host, who knows the token of the proxy's API.
_ASK_PROXY = """
import os, sys, urllib.request as u
method, url, body = sys.argv[1:]
headers = {"Authorization": "token " + os.environ["CONFIGPROXY_AUTH_TOKEN"]}
print(u.urlopen(u.Request(url, body.encode() or None, headers, method=method), timeout=10).read().decode())
"""
# Run by anybody on that host.
_LIST_ROUTES = """
import os, sys, urllib.error, urllib.request as u
headers = {"Authorization": "token " + os.environ.get("CONFIGPROXY_AUTH_TOKEN", "guessed")}
try:
    print(u.urlopen(u.Request(sys.argv[1], None, headers), timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.reason)
except OSError as error:
    print("refused:", error)
"""


def with_cookies(scene: Scene, evil: bool) -> Outcome:
    """Wants to look into another user's session, logged in as somebody else (broken access control)."""
    scene.session(scene.mallory)
    scene.session(scene.victim)
    owner = scene.victim if evil else scene.mallory
    page = copy_of(scene.mallory.web).get(owner.at("/lab"), timeout=SECONDS)
    return Outcome(page.status_code == 200 and f'"hubServerUser": "{owner.name}"' in page.text, heard(page))


def with_token(scene: Scene, evil: bool) -> Outcome:
    """Wants to read another user's files by the session's API (insecure direct object reference)."""
    scene.session(scene.mallory)
    log = SessionLog(scene, scene.session(scene.victim))
    owner = scene.victim if evil else scene.mallory
    reply = scene.web(scene.mallory, "GET", owner.at("/api/contents"))
    said = f"; its log: {log.line('Not allowing user')}" if reply.status_code == 403 else ""
    return Outcome(reply.status_code == 200 and "content" in reply.json(), f"{reply.status_code}{said}")


def by_websocket(scene: Scene, evil: bool) -> Outcome:
    """Wants to type into a terminal that another user has open (unauthenticated websocket)."""
    owner = scene.victim if evil else scene.mallory
    log = SessionLog(scene, scene.session(owner))
    address = new_terminal(owner)
    try:
        shown = type_into(address, "echo by-$(id --user --name)", f"by-{owner.name}", scene.mallory.token_header)
        said = f"; its log: {log.line('Not allowing user')}" if shown == "403" else ""
        return Outcome(f"by-{owner.name}" in shown, f"{shown}{said}")
    finally:
        close_terminal(owner, address)


def neighbours_certificate(scene: Scene, evil: bool) -> Outcome:
    """Wants to enter a session on its node, past the proxy, with a valid certificate of the own session."""
    own, theirs = scene.session(scene.mallory), scene.session(scene.victim)
    log = SessionLog(scene, theirs)
    whom: dict[str, Any] = hub_port(scene) | {"name": hub_port(scene)["address"], "path": "/hub/api"}
    if evil:
        whom = {"address": theirs.node, "port": theirs.port, "name": "", "path": f"/user/{theirs.owner}/api"}
    answer = on_node(scene, scene.mallory, own.node, "hear", environment=own.secrets, **whom)
    said = f"; its log: {log.line('SSL Error')}" if evil and answer.startswith("refused") else ""
    return Outcome(answer.startswith("HTTP/1.1 "), answer + said)


# -- ports


def proxy_api(scene: Scene, method: str, path: str = "", body: str = "") -> str:
    """Return what the proxy's API answers root on the hub's host."""
    url = f"http://127.0.0.1:{scene.site()['hub']['proxy_api_port']}/api/routes{path}"
    ask = f"{HUB_PYTHON} -I -c {shlex.quote(_ASK_PROXY)} {method} {shlex.quote(url)} {shlex.quote(body)}"
    return scene.output(HUB, f"set -a; . /etc/davide-hub/proxy.env; {ask}")


def taken_port(scene: Scene, evil: bool) -> Outcome:
    """Wants the traffic of a session whose port became free, by listening there (port squatting)."""
    own, theirs = scene.session(scene.mallory), scene.session(scene.victim)
    path = scene.victim.at("/api/status")
    if not evil:
        reply = scene.web(scene.victim, "GET", path)
        return Outcome("kernels" in reply.text, heard(reply))
    routes = json.loads(proxy_api(scene, "GET"))
    route = next(one for one, kept in routes.items() if f".{theirs.key}." in kept["target"])
    kept = {name: value for name, value in routes[route].items() if name != "last_activity"}
    with serving(scene, scene.mallory, own, "mine now") as port:
        target = f"https://{own.node}.{theirs.key}.sessions.internal:{port}"
        try:
            proxy_api(scene, "POST", route, json.dumps(kept | {"target": target}))
            reply = scene.web(scene.victim, "GET", path)
        finally:
            proxy_api(scene, "POST", route, json.dumps(kept))
    return Outcome("mine now" in reply.text, heard(reply))


def proxy_from_a_node(scene: Scene, evil: bool) -> Outcome:
    """Wants to talk to the proxy's API from a node, where routes could be bent."""
    own, hub = scene.session(scene.mallory), scene.site()["hub"]
    port = hub["proxy_api_port"] if evil else hub["api_port"]
    answer = on_node(scene, scene.mallory, own.node, "reach", address=hub["address"], port=port)
    return Outcome(answer == "connected", answer)


def proxy_without_token(scene: Scene, evil: bool) -> Outcome:
    """Wants the proxy's routes from a shell on the hub's host, without the token of its API."""
    url = f"http://127.0.0.1:{scene.site()['hub']['proxy_api_port']}/api/routes"
    ask = f"python3 -I -c {shlex.quote(_LIST_ROUTES)} {url}"
    if evil:
        done = scene.as_hub(ask)
    else:  # the hub has it from its unit
        done = scene.run(HUB, f"set -a; . /etc/davide-hub/proxy.env; setpriv --reuid davide-hub --clear-groups {ask}")
    return Outcome('"target"' in done.stdout, (done.stdout + done.stderr).strip()[:200])


def without_certificate(scene: Scene, evil: bool) -> Outcome:
    """Wants to be heard by the hub's port for nodes without being the proxy or a session."""
    own = scene.session(scene.mallory)
    call = hub_port(scene) | {"name": hub_port(scene)["address"], "path": "/hub/api"}
    answer = on_node(scene, scene.mallory, own.node, "hear", environment="" if evil else own.secrets, **call)
    return Outcome(answer.startswith("HTTP/1.1 200"), answer)


ROWS = (
    Attack(
        name="anothers-session-with-ones-own-cookies",
        area="servers",
        attempt=with_cookies,
        refused=r"403 .*permission to access",
        logged=r"student03.* not allowed to access Server at /user/student04/",
        weakness="hub/everybody-enters-every-server",
    ),
    Attack(  # The session refuses, in its own log: the hub is only asked whose token it is.
        name="anothers-session-with-ones-own-token",
        area="servers",
        attempt=with_token,
        refused=r"403; its log: .*Not allowing user student03",
        weakness="hub/everybody-enters-every-server",
    ),
    Attack(  # As above.
        name="a-websocket-to-anothers-terminal",
        area="servers",
        attempt=by_websocket,
        refused=r"403; its log: .*Not allowing user student03",
        weakness="hub/everybody-enters-every-server",
    ),
    Attack(  # As above.
        name="a-neighbour-with-a-valid-certificate",
        area="servers",
        attempt=neighbours_certificate,
        refused=r"refused: .*; its log: .*SSL Error",
        weakness="hub/sessions-hear-each-other",
    ),
    Attack(
        name="a-neighbour-at-a-port-that-became-free",
        area="ports",
        attempt=taken_port,
        refused=r"503 ",
        logged=r"503 GET /user/student04/api/status .*ERR_TLS_CERT_ALTNAME_INVALID",
        unit="jupyterhub-proxy",
        weakness="host/the-proxy-checks-no-names",
    ),
    Attack(  # The kernel refuses, and says so in its own log: `davide-hub refused`.
        name="the-proxys-api-from-a-node",
        area="ports",
        attempt=proxy_from_a_node,
        refused=r"refused: ",
        weakness="host/the-proxys-api-hears-everybody",
    ),
    Attack(
        name="the-proxys-api-without-its-token",
        area="ports",
        attempt=proxy_without_token,
        refused=r"403 ",
        logged=r"403 GET /api/routes",
        unit="jupyterhub-proxy",
        weakness="host/the-proxys-api-wants-no-token",
    ),
    Attack(
        name="the-hubs-port-for-nodes-without-a-certificate",
        area="ports",
        attempt=without_certificate,
        refused=r"refused: ",
        logged=r"SSL Error .*PEER_DID_NOT_RETURN_A_CERTIFICATE",
        weakness="hub/hears-whoever-calls",
    ),
)
