"""Attacks on what administrators read: lines that nobody of ours wrote, and addresses that are none."""

from __future__ import annotations

import json
import secrets
import shlex
from typing import Any
from urllib.parse import quote

from faults.hosts import HUB

from attacks import desk
from attacks.attack import Attack, Outcome
from attacks.desk import TRAIL, told
from attacks.scene import Scene
from attacks.web import heard

_ELSEWHERE = "192.0.2.77"
# Run on a node as a user: log in at the hub's own address, past front and proxy, as a session can.
_LOG_IN = """
import http.client, json, re, ssl, sys, tempfile, urllib.parse
environment, address, port, headers, name, password = sys.argv[1:]
given = json.load(open(environment))
with tempfile.NamedTemporaryFile("w") as pair, tempfile.NamedTemporaryFile("w") as known:
    pair.write(given["JUPYTERHUB_TLS_KEY"] + given["JUPYTERHUB_TLS_CERTIFICATE"]); pair.flush()
    known.write(given["JUPYTERHUB_TLS_AUTHORITY"]); known.flush()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(pair.name)
    context.load_verify_locations(known.name)
hub = http.client.HTTPSConnection(address, int(port), timeout=15, context=context)
hub.request("GET", "/hub/login", headers=json.loads(headers))
page = hub.getresponse()
cookies = "; ".join(cookie.split(";")[0] for cookie in page.headers.get_all("Set-Cookie"))
crumb = re.search(r'name="_xsrf" value="([^"]+)"', page.read().decode())[1]
form = urllib.parse.urlencode({"username": name, "password": password, "_xsrf": crumb})
kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies}
hub.request("POST", "/hub/login", form, kind | json.loads(headers))
reply = hub.getresponse()
print(reply.status, reply.read().decode()[-300:])
"""


def _begins_a_line(scene: Scene, unit: str, since: float, before: str, words: str) -> bool:
    """Say whether some words begin a line of a unit's journal, or of the audit trail, as a reader sees lines.

    `before` matches what arrives in the journal in any case.
    """
    assert scene.wait_for_line(unit, since, before), f"no line of {unit} matches {before}"
    read = f"journalctl --quiet --all --output=cat --unit={unit} --since=@{since:.6f}; cat {TRAIL}/*"
    text = scene.output(HUB, read)
    # What was forged while our defences were away does not stay in the trail.
    scene.output(HUB, f"grep -l {words.split()[-1]} {TRAIL}/* | xargs --no-run-if-empty sed -i /{words.split()[-1]}/d")
    return any(line.strip().startswith(words) for line in text.splitlines())


def _at_the_broker(scene: Scene, evil: bool, request: dict[str, Any], field: str, separator: str) -> Outcome:
    """Ask as root, who may all that the hub may, with a text that goes on behind a separator."""
    forged = f'{{"caller": 0, "verb": "login"}} {secrets.token_hex(4)}'
    more = f"{separator}{forged}" if evil else ""
    since = scene.now()
    done = scene.run(HUB, desk.ask_line(json.dumps(request | {field: f"{request[field]}{more}"})))
    reply = json.loads(done.stdout)
    if not evil:
        return Outcome(reply["ok"], told(reply))
    return Outcome(_begins_a_line(scene, "davide-broker", since, '"caller": 0, "seconds"', forged), told(reply))


def user_name(scene: Scene, evil: bool) -> Outcome:
    """Wants a line of a log-in in the journal that never was, by a line break in a user's name (log injection)."""
    request = {"verb": "login", "user": scene.victim.name, "password": scene.victim.password}
    return _at_the_broker(scene, evil, request, "user", "\n")


def server_name(scene: Scene, evil: bool) -> Outcome:
    """Wants a line in journal and trail, by a line separator (U+2028) in a server's name (log injection)."""
    with desk.order(scene, desk.guest(scene)) as order:
        return _at_the_broker(scene, evil, order.request(), "server", "\u2028")


def reason(scene: Scene, evil: bool) -> Outcome:
    """Wants a line in journal and trail, by a reason for a ban that somebody else suggested (log injection)."""
    name = desk.stranger(scene).name
    try:
        return _at_the_broker(scene, evil, {"verb": "ban", "user": name, "reason": "attack"}, "reason", "\r\n")
    finally:
        scene.output(HUB, f"rm -f {desk.STATE}/bans/{name}")


def escape_in_a_path(scene: Scene, evil: bool) -> Outcome:
    """Wants to clear an administrator's screen and write on it, by a server's name in the log (terminal injection)."""
    forged = f"[I 2026-01-01 JupyterHub] all is well {secrets.token_hex(4)}"
    name = f"attack\x1b[2J\n{forged}" if evil else "attack"
    servers = f"/hub/api/users/{scene.mallory.name}/servers"
    try:
        scene.web(scene.mallory, "PUT", f"{servers}/attack", json={"user_options": {"profile": "no-gpu"}})
        since = scene.now()
        reply = scene.web(scene.mallory, "DELETE", f"{servers}/{quote(name)}", json={"remove": True})
        if not evil:
            return Outcome(reply.status_code == 204, heard(reply))
        before = f"404 DELETE {servers}/attack"
        return Outcome(_begins_a_line(scene, "jupyterhub", since, before, forged), heard(reply))
    finally:
        scene.end(scene.mallory, "attack")


def user_agent(scene: Scene, evil: bool) -> Outcome:
    """Wants the same by what a browser calls itself (terminal injection)."""
    word = secrets.token_hex(4)
    # The escape that HTTP lets through: one byte instead of two.
    name = f"attack\x9b2J{word}" if evil else f"attack {word}"
    since = scene.now()
    reply = scene.web(scene.mallory, "GET", f"/hub/api/users/{scene.mallory.name}", headers={"User-Agent": name})
    seen = scene.wait_for_line("jupyterhub", since, f"GET /hub/api/users/{scene.mallory.name} ")
    text = scene.output(HUB, f"journalctl --quiet --all --output=cat --unit=jupyterhub --since=@{since:.6f}")
    return Outcome("\x9b" in text if evil else bool(seen), f"{heard(reply)[:3]}, and the log says: {seen}")


def address(scene: Scene, evil: bool) -> Outcome:
    """Wants the audit trail to tell of another address than the attacker's, by a header (spoofed source)."""
    running = scene.session(scene.mallory)
    headers = {"X-Real-Ip": _ELSEWHERE, "X-Forwarded-For": _ELSEWHERE} if evil else {}
    hub = scene.site()["hub"]
    words = [running.secrets, hub["address"], str(hub["api_port"]), json.dumps(headers), scene.mallory.name]
    log_in = f"python3 -I -c {shlex.quote(_LOG_IN)} {shlex.join([*words, scene.mallory.password])}"
    done = scene.as_user(scene.mallory, log_in, running.node)
    assert done.stdout.startswith("302"), done.stdout + done.stderr
    login = f'"verb": "login", "user": "{scene.mallory.name}"'
    line = scene.output(HUB, f"cat {TRAIL}/* | grep {shlex.quote(login)} | tail -1")
    told_of = json.loads(line).get("address", "")
    true = scene.hosts.by_name[running.node].address
    return Outcome(told_of == (_ELSEWHERE if evil else true), f"302, and the trail says {told_of}")


ROWS = (
    Attack(
        name="a-user-s-name-with-a-line-break",
        area="log-injection",
        attempt=user_name,
        refused=r"^bad_request .*login.user.*string_pattern_mismatch",
        logged=r'"refused": "bad_request", "why": ".*login.user',
        unit="davide-broker",
        weakness="broker/writes-what-it-hears",
    ),
    Attack(
        name="a-server-s-name-with-a-line-separator",
        area="log-injection",
        attempt=server_name,
        refused=r"^bad_request .*submit.server.*string_pattern_mismatch",
        logged=r'"refused": "bad_request", "why": ".*submit.server',
        unit="davide-broker",
        weakness="broker/writes-what-it-hears",
    ),
    Attack(
        name="a-ban-s-reason-with-a-line-break",
        area="log-injection",
        attempt=reason,
        refused=r"^bad_request .*ban.reason.*string_pattern_mismatch",
        logged=r'"refused": "bad_request", "why": ".*ban.reason',
        unit="davide-broker",
        weakness="broker/writes-what-it-hears",
    ),
    Attack(
        name="a-server-s-name-with-an-escape",
        area="log-injection",
        attempt=escape_in_a_path,
        refused=r"^404 ",
        logged=r"has no server named 'attack\\x1b\[2J\\n\[I 2026",
        weakness="hub/logs-text-as-it-came",
    ),
    Attack(
        name="a-browser-s-name-with-an-escape",
        area="log-injection",
        attempt=user_agent,
        refused=r"^200, and the log says: .*GET /hub/api/users/student03 \(student03@[0-9.]+\) [0-9.]+ms$",
        logged=r"200 GET /hub/api/users/student03 ",
        weakness="hub/logs-what-browsers-say",
    ),
    Attack(
        name="a-log-in-from-another-address",
        area="log-injection",
        attempt=address,
        refused=r"the trail says (?!192\.0\.2\.)[0-9a-f.:]+$",
        logged=r"302 POST /hub/login.*@(?!192\.0\.2\.)[0-9a-f.:]+\)",
        weakness="hub/believes-x-real-ip",
    ),
)
