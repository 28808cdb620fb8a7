"""Attacks with tokens: after their time, and beyond what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from faults.hosts import HUB

from attacks.attack import Attack, Outcome
from attacks.neighbours import DAVIDE_HUB, another_session, last_answer, new_key, secret_of, third, wait_until_ready
from attacks.scene import Scene
from attacks.web import Person, heard


def _use(person: Person, token: str, method: str = "GET", path: str = "/hub/api/user", **more: object) -> Outcome:
    """Use a token at the hub, and nothing else."""
    bearer = Person(person.name, "", person.url, token=token)
    reply = bearer.ask(method, path, **more)
    return Outcome(reply.status_code in (200, 201, 202), heard(reply))


def after_its_session(scene: Scene, evil: bool) -> Outcome:
    """Wants to go on with a session's token when the session has ended (insufficient session expiration)."""
    with another_session(scene, scene.mallory, "brief") as running:
        token = secret_of(scene, running)["JUPYTERHUB_API_TOKEN"]
        if evil:
            scene.end(scene.mallory, "brief")
        return _use(scene.mallory, token)


@contextmanager
def _adopted(scene: Scene, person: Person, server: str) -> Iterator[str]:
    """Start a session past the hub, as if it had forgotten it, and wait until it is taken up; yield its token."""
    given = {name: text for name, text in secret_of(scene, scene.session(person)).items() if name != "DAVIDE_PROFILE"}
    key, token = new_key(), new_key() + new_key()
    given |= {
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_SERVER_NAME": server,
        "JUPYTERHUB_SERVICE_PREFIX": f"{given['JUPYTERHUB_SERVICE_PREFIX']}{server}/",
    }
    who = {"user": person.name, "session_key": key}
    taken = scene.broker("submit", server=server, profile="no-gpu", environment=given, **who)
    assert taken["ok"], taken
    try:
        wait_until_ready(person, server)
        yield token
    finally:
        if person.server(server):
            scene.end(person, server)
        scene.broker("cancel", **who)


def after_an_adopted_session(scene: Scene, evil: bool) -> Outcome:
    """Wants the same with a session that the hub had forgotten and took up again with the token it has."""
    with _adopted(scene, scene.mallory, "adopted") as token:
        if evil:
            scene.end(scene.mallory, "adopted")
        return _use(scene.mallory, token)


def after_its_owner_revoked_it(scene: Scene, evil: bool) -> Outcome:
    """Wants to go on with a token that was found somewhere, and that its owner has revoked since."""
    tokens = f"/hub/api/users/{scene.victim.name}/tokens"
    made = scene.web(scene.victim, "POST", tokens, json={"note": "left in a notebook", "expires_in": 600})
    made.raise_for_status()
    revoked = f"{tokens}/{made.json()['id']}"
    if evil:
        scene.web(scene.victim, "DELETE", revoked).raise_for_status()
    try:
        return _use(scene.victim, made.json()["token"])
    finally:
        scene.web(scene.victim, "DELETE", revoked)


def after_root_revoked_all(scene: Scene, evil: bool) -> Outcome:
    """Wants to go on with a token after the administrators have revoked all that its user had."""
    person = third(scene)
    if evil:
        scene.output(HUB, f"{DAVIDE_HUB} revoke {person.name}")
    return last_answer(lambda: _use(person, person.token), evil)


def _of_the_session(scene: Scene) -> str:
    return secret_of(scene, scene.session(scene.mallory))["JUPYTERHUB_API_TOKEN"]


def list_of_users(scene: Scene, evil: bool) -> Outcome:
    """Wants the list of all users by a session's token (privilege escalation)."""
    path = "/hub/api/users" if evil else f"/hub/api/users/{scene.mallory.name}"
    return _use(scene.mallory, _of_the_session(scene), "GET", path)


def activity_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to tell the hub of another user's activity by a session's token (horizontal privilege escalation)."""
    person = scene.victim if evil else scene.mallory
    told = {"last_activity": datetime.now(UTC).isoformat()}
    path = f"/hub/api/users/{person.name}/activity"
    return _use(scene.mallory, _of_the_session(scene), "POST", path, json=told)


def start_by_a_session(scene: Scene, evil: bool) -> Outcome:
    """Wants to start more sessions by the token of a session, which anything in a notebook can read."""
    token = _of_the_session(scene) if evil else scene.mallory.token
    path = f"/hub/api/users/{scene.mallory.name}/servers/more"
    try:
        return _use(scene.mallory, token, "POST", path, json={"profile": "no-gpu"}, timeout=60)
    finally:
        if scene.mallory.server("more"):
            scene.end(scene.mallory, "more")


_VOID = r"403 GET /hub/api/user "

ROWS = (
    Attack(
        name="a-token-after-its-session",
        area="tokens",
        attempt=after_its_session,
        refused=r"403 ",
        logged=_VOID,
        weakness="hub/tokens-outlive-their-sessions",
    ),
    Attack(
        name="a-token-after-an-adopted-session",
        area="tokens",
        attempt=after_an_adopted_session,
        refused=r"403 ",
        logged=_VOID,
        weakness="hub/tokens-outlive-their-sessions",
    ),
    Attack(
        name="a-token-that-its-owner-has-revoked",
        area="tokens",
        attempt=after_its_owner_revoked_it,
        refused=r"403 ",
        logged=_VOID,
        weakness="hub/revoked-tokens-still-count",
    ),
    Attack(
        name="a-token-after-root-has-revoked-all",
        area="tokens",
        attempt=after_root_revoked_all,
        refused=r"403 ",
        logged=_VOID,
        weakness="hub/turns-nobody-out",
    ),
    Attack(
        name="the-list-of-users-by-a-sessions-token",
        area="tokens",
        attempt=list_of_users,
        refused=r"403 ",
        logged=r"403 GET /hub/api/users ",
        weakness="hub/session-tokens-may-everything",
    ),
    Attack(
        name="anothers-activity-by-a-sessions-token",
        area="tokens",
        attempt=activity_of_another,
        refused=r"40[34] ",
        logged=r"40[34] POST /hub/api/users/student04/activity",
        weakness="hub/session-tokens-may-everything",
    ),
    Attack(
        name="a-start-by-a-sessions-token",
        area="tokens",
        attempt=start_by_a_session,
        refused=r"40[34] ",
        logged=r"40[34] POST /hub/api/users/student03/servers/more",
        weakness="hub/session-tokens-may-everything",
    ),
)
