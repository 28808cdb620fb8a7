"""Attacks on the call home, by which a session tells the hub where it listens: who calls, from where, and what is said.

All but the last play with a session that has called home already, as every session has that somebody uses. The hub
takes the same call again, so a twin calls with what is true.
"""

from __future__ import annotations

from typing import Any

from faults.hosts import NODES
from faults.waiting import wait_for

from attacks.attack import Attack, Outcome
from attacks.calls import call
from attacks.rows_rest import GOOD, NAME
from attacks.scene import FOLDER, Running, Scene
from attacks.web import Person, heard

PATH = "/hub/api/davide/call-home"
FORGED_PORT = 45678


def call_home(scene: Scene, caller: Person, secrets: str, body: dict[str, Any], **more: Any) -> str:
    """Return what the hub answers to a call home."""
    return call(scene, caller, secrets, PATH, body, **more)


def _put_right(scene: Scene, person: Person, running: Running) -> None:
    """Let the session say again what is true, where a forged call has gone through."""
    if scene.look(person) != running:
        call_home(scene, person, running.secrets, {"port": running.port}, host=running.node)
        assert scene.look(person) == running, f"{person.name}'s session is not as it was: {scene.look(person)}"


def second_port(scene: Scene, evil: bool) -> Outcome:
    """Wants to move a session's address to another port of the node later (replay with a change)."""
    running = scene.session(scene.mallory)
    port = FORGED_PORT if evil else running.port
    answer = call_home(scene, scene.mallory, running.secrets, {"port": port}, host=running.node)
    reached = answer.startswith("204") and scene.look(scene.mallory).port == port
    _put_right(scene, scene.mallory, running)
    return Outcome(reached, answer)


def port_of_the_system(scene: Scene, evil: bool) -> Outcome:
    """Wants the proxy to call a service of the node's system, such as its ssh (server-side request forgery)."""
    running = scene.session(scene.mallory)
    port = 22 if evil else running.port
    answer = call_home(scene, scene.mallory, running.secrets, {"port": port}, host=running.node)
    reached = answer.startswith("204") and scene.look(scene.mallory).port == port
    _put_right(scene, scene.mallory, running)
    return Outcome(reached, answer)


def node_in_the_body(scene: Scene, evil: bool) -> Outcome:
    """Wants the proxy to call another host, named beside the port (server-side request forgery, mass assignment)."""
    running = scene.session(scene.mallory)
    body = {"port": running.port} | ({"node": "ctl01"} if evil else {})
    answer = call_home(scene, scene.mallory, running.secrets, body, host=running.node)
    node = "ctl01" if evil else running.node
    reached = answer.startswith("204") and scene.look(scene.mallory).node == node
    _put_right(scene, scene.mallory, running)
    return Outcome(reached, answer)


def address_in_a_header(scene: Scene, evil: bool) -> Outcome:
    """Wants a call from elsewhere to move a session there, or to where a header says (spoofed X-Forwarded-For)."""
    running = scene.session(scene.mallory)
    other = next(node for node in NODES if node != running.node)
    lie = scene.hosts.by_name["ctl01"].address
    headers = {"X-Forwarded-For": lie, "X-Real-IP": lie} if evil else {}
    host = other if evil else running.node
    answer = call_home(scene, scene.mallory, running.secrets, {"port": running.port}, host=host, headers=headers)
    reached = answer.startswith("204") and (scene.look(scene.mallory).node != running.node) is evil
    _put_right(scene, scene.mallory, running)
    return Outcome(reached, answer)


def ordinary_token(scene: Scene, evil: bool) -> Outcome:
    """Wants to move a session with any token of its owner, such as one that lies in a script (confused deputy)."""
    running = scene.session(scene.mallory)
    port = FORGED_PORT if evil else running.port
    token = scene.mallory.token if evil else ""
    answer = call_home(scene, scene.mallory, running.secrets, {"port": port}, host=running.node, token=token)
    reached = answer.startswith("204") and scene.look(scene.mallory).port == port
    _put_right(scene, scene.mallory, running)
    return Outcome(reached, answer)


def session_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants another's session to lead to a port of the attacker's, by naming it in the body (object reference)."""
    own, theirs = scene.session(scene.mallory), scene.session(scene.victim)
    if not evil:
        answer = call_home(scene, scene.mallory, own.secrets, {"port": own.port}, host=own.node)
        return Outcome(answer.startswith("204") and scene.look(scene.mallory) == own, answer)
    body = {"port": FORGED_PORT, "user": scene.victim.name}
    answer = call_home(scene, scene.mallory, own.secrets, body, host=own.node)
    reached = scene.look(scene.victim).port == FORGED_PORT
    _put_right(scene, scene.victim, theirs)
    return Outcome(reached, answer)


def cookie_instead(scene: Scene, evil: bool) -> Outcome:
    """Wants a page in the owner's browser to move the session, by its cookie alone (ambient authority)."""
    running = scene.session(scene.mallory)
    if not evil:
        answer = call_home(scene, scene.mallory, running.secrets, {"port": running.port}, host=running.node)
        return Outcome(answer.startswith("204") and scene.look(scene.mallory) == running, answer)
    reply = scene.web(scene.mallory, "POST", PATH, by="cookies", json={"port": FORGED_PORT})
    reached = reply.status_code == 204 and scene.look(scene.mallory).port == FORGED_PORT
    _put_right(scene, scene.mallory, running)
    return Outcome(reached, heard(reply))


def after_the_end(scene: Scene, evil: bool) -> Outcome:
    """Wants the token of a session to work when that has ended (insufficient session expiration)."""
    mallory, kept = scene.mallory, f"/home/{scene.mallory.name}/attack-kept.json"
    with scene.closed_queue():
        try:
            path = mallory.server_path(NAME)
            scene.web(mallory, "POST", path, json=GOOD).raise_for_status()
            wait_for(lambda: scene.look(mallory, NAME).job, "the session to be in the queue", 30)
            waiting = scene.look(mallory, NAME)
            scene.as_user(mallory, f"cp {FOLDER}/{waiting.key}/environment.json {kept}").check_returncode()
            if evil:
                scene.web(mallory, "DELETE", path).raise_for_status()
                wait_for(lambda: not mallory.server(NAME), "the session to end", 30)
            answer = call_home(scene, mallory, kept, {"port": FORGED_PORT}, host=NODES[0])
            return Outcome(answer.startswith("204") and scene.look(mallory, NAME).port == FORGED_PORT, answer)
        finally:
            scene.as_user(mallory, f"rm -f {kept}")
            scene.end(mallory, NAME)


NO_TOKEN = r"403 .*session's own token"
LOGGED_403 = r"403 POST /hub/api/davide/call-home"
LOGGED_400 = r"400 POST /hub/api/davide/call-home"
ROWS = (
    Attack(
        name="a-second-call-with-another-port",
        area="call-home",
        attempt=second_port,
        refused=r"409 .*called home already",
        logged=r"409 POST /hub/api/davide/call-home",
        weakness="hub/call-home-takes-a-second-port",
    ),
    Attack(
        name="a-port-of-the-system",
        area="call-home",
        attempt=port_of_the_system,
        refused=r"400 .*from 1024 to 65535",
        logged=LOGGED_400,
        weakness="hub/call-home-takes-any-body",
    ),
    Attack(
        name="a-node-in-the-body",
        area="call-home",
        attempt=node_in_the_body,
        refused=r"400 .*the body is to be",
        logged=LOGGED_400,
        weakness="hub/call-home-believes-the-caller",
    ),
    Attack(
        name="an-address-in-a-header",
        area="call-home",
        attempt=address_in_a_header,
        refused=r"503 .*not known on which node",
        logged=r"a call home from \S+, job \d+ runs on",
        weakness="hub/call-home-believes-the-caller",
    ),
    Attack(
        name="an-ordinary-token-of-the-owner",
        area="call-home",
        attempt=ordinary_token,
        refused=NO_TOKEN,
        logged=LOGGED_403,
        weakness="hub/call-home-takes-any-login",
    ),
    Attack(
        name="the-session-of-another-by-name",
        area="call-home",
        attempt=session_of_another,
        refused=r"400 .*the body is to be",
        logged=LOGGED_400,
        weakness="hub/call-home-takes-any-login",
    ),
    Attack(
        name="a-cookie-instead-of-the-token",
        area="call-home",
        attempt=cookie_instead,
        refused=NO_TOKEN,
        logged=LOGGED_403,
        weakness="hub/call-home-takes-any-login",
    ),
    Attack(
        name="a-call-after-the-end",
        area="call-home",
        attempt=after_the_end,
        refused=NO_TOKEN,
        logged=LOGGED_403,
        weakness="hub/call-home-hears-ended-sessions",
    ),
)
