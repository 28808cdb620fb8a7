"""Attacks on what a start may be told, past the form: by the REST API, by saved options, under another's name."""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor

from faults.hosts import HUB
from faults.waiting import wait_for

from attacks.attack import Attack, Outcome
from attacks.scene import DATABASE, HUB_ACCOUNT, Scene
from attacks.web import heard

# A named server that nothing but these rows uses.
NAME = "attack"
GOOD = {"profile": "no-gpu"}
BAD = {"profile": "no-gpu", "partition": "root"}
NO_OPTION = r"no option 'partition'"

_SAVE = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
changed = base.execute("update spawners set user_options = ? where name = ? and user_id = "
                       "(select id from users where name = ?)", sys.argv[2:])
assert changed.rowcount == 1
base.commit()
"""


def option_by_put(scene: Scene, evil: bool) -> Outcome:
    """Wants an option that the form does not have to be kept for the next start (mass assignment)."""
    options = BAD if evil else GOOD
    try:
        reply = scene.web(scene.mallory, "PUT", scene.mallory.server_path(NAME), json={"user_options": options})
        return Outcome(scene.kept_of(scene.mallory, NAME)[1] == options, heard(reply))
    finally:
        scene.end(scene.mallory, NAME)


def options_as_body(scene: Scene, evil: bool) -> Outcome:
    """Wants to start with invented options, sent as the body itself as old programs did (mass assignment)."""
    options = BAD if evil else GOOD
    with scene.closed_queue():
        try:
            reply = scene.web(scene.mallory, "POST", scene.mallory.server_path(NAME), json=options)
            started = bool(scene.mallory.server(NAME)) and scene.kept_of(scene.mallory, NAME)[1] == options
            return Outcome(started, heard(reply))
        finally:
            scene.end(scene.mallory, NAME)


def option_by_patch(scene: Scene, evil: bool) -> Outcome:
    """Wants to change the options of a server afterwards to what a start would refuse (mass assignment)."""
    options = BAD if evil else GOOD
    path = scene.mallory.server_path(NAME)
    try:
        scene.web(scene.mallory, "PUT", path, json={"user_options": {"profile": "one-gpu"}}).raise_for_status()
        reply = scene.web(scene.mallory, "PATCH", path, json={"user_options": options})
        return Outcome(scene.kept_of(scene.mallory, NAME)[1] == options, heard(reply))
    finally:
        scene.end(scene.mallory, NAME)


def state_by_patch(scene: Scene, evil: bool) -> Outcome:
    """Wants the own server's state to name another's job, which Stop would then end (mass assignment)."""
    job = scene.session(scene.victim).job
    path = scene.mallory.server_path(NAME)
    body = {"state": {"job_id": job}} if evil else {"display_name": "of mine"}
    try:
        scene.web(scene.mallory, "PUT", path, json={"user_options": GOOD}).raise_for_status()
        reply = scene.web(scene.mallory, "PATCH", path, json=body)
        if not evil:
            return Outcome(scene.mallory.servers()[NAME].get("display_name") == "of mine", heard(reply))
        return Outcome(scene.kept_of(scene.mallory, NAME)[0].get("job_id") == job, heard(reply))
    finally:
        scene.end(scene.mallory, NAME)


def option_by_form(scene: Scene, evil: bool) -> Outcome:
    """Wants a start with a field that the form does not show (parameter tampering)."""
    fields = BAD if evil else GOOD
    with scene.closed_queue():
        try:
            path = f"/hub/spawn/{scene.mallory.name}/{NAME}"
            form = {**fields, "_xsrf": scene.mallory.crumb()}
            reply = scene.web(scene.mallory, "POST", path, by="cookies", data=form)
            started = bool(scene.mallory.server(NAME)) and scene.kept_of(scene.mallory, NAME)[1] == fields
            return Outcome(started, heard(reply))
        finally:
            scene.end(scene.mallory, NAME)


def options_from_old_database(scene: Scene, evil: bool) -> Outcome:
    """Wants a start without options to use what an old database has kept, and nobody has looked at (second order)."""
    options = '{"profile": "no-gpu", "partition": "root"}' if evil else '{"profile": "no-gpu"}'
    path = scene.mallory.server_path(NAME)
    save = f"python3 -I -c {shlex.quote(_SAVE)} {DATABASE} {shlex.quote(options)} {NAME} {scene.mallory.name}"
    with scene.closed_queue():
        try:
            scene.web(scene.mallory, "PUT", path, json={"user_options": {"profile": "one-gpu"}}).raise_for_status()
            with scene.hosts.stopped(HUB, "jupyterhub"):
                scene.output(HUB, f"runuser -u {HUB_ACCOUNT} -- {save}")
            wait_for(scene.hub_answers, "the hub to answer", 60)
            reply = scene.web(scene.mallory, "POST", path)
            return Outcome(bool(scene.mallory.server(NAME)), heard(reply))
        finally:
            scene.end(scene.mallory, NAME)


def start_for_another(scene: Scene, evil: bool) -> Outcome:
    """Wants a session to start on another's account and bill (insecure direct object reference)."""
    owner = scene.victim if evil else scene.mallory
    with scene.closed_queue():
        try:
            reply = scene.web(scene.mallory, "POST", owner.server_path(NAME), json=GOOD)
            return Outcome(bool(owner.server(NAME)), heard(reply))
        finally:
            scene.end(owner, NAME)


def more_sessions(scene: Scene, evil: bool) -> Outcome:
    """Wants more sessions than the site allows, one after the other (quota bypass)."""
    limit = scene.site()["session"]["per_user"]
    names = [f"{NAME}-{letter}" for letter in "abcdefgh"[: limit + evil]]
    scene.end(scene.mallory)
    with scene.closed_queue():
        try:
            for name in names:
                reply = scene.web(scene.mallory, "POST", scene.mallory.server_path(name), json=GOOD)
            reached = scene.soon(evil, lambda: len(scene.slurm.jobs_of(scene.mallory.name)) == len(names))
            return Outcome(reached, heard(reply))
        finally:
            for name in names:
                scene.end(scene.mallory, name)


def sessions_at_once(scene: Scene, evil: bool) -> Outcome:
    """Wants more sessions than the site allows, by asking for all in the same instant (race condition)."""
    limit = scene.site()["session"]["per_user"]
    names = [f"{NAME}-{letter}" for letter in "abcdefgh"[: limit + 3 if evil else limit]]
    scene.end(scene.mallory)

    def start(name: str) -> str:
        return heard(scene.web(scene.mallory, "POST", scene.mallory.server_path(name), json=GOOD))

    def has_reached() -> bool:
        jobs = scene.slurm.jobs_of(scene.mallory.name)
        return len(jobs) > limit if evil else len(jobs) == limit

    with scene.closed_queue():
        try:
            with ThreadPoolExecutor(len(names)) as pool:
                answers = sorted(pool.map(start, names))
            return Outcome(scene.soon(evil, has_reached), " / ".join(answers))
        finally:
            for name in names:
                scene.end(scene.mallory, name)


def add_account(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub to have an account `root`, by the administrators' API (privilege escalation)."""
    if not evil:
        reply = scene.web(scene.mallory, "GET", f"/hub/api/users/{scene.mallory.name}")
        return Outcome(reply.status_code == 200 and reply.json()["name"] == scene.mallory.name, heard(reply))
    reply = scene.web(scene.mallory, "POST", "/hub/api/users/root")
    reached = scene.web(scene.mallory, "GET", "/hub/api/users/root").status_code == 200
    if reached:
        scene.web(scene.mallory, "DELETE", "/hub/api/users/root").raise_for_status()
    return Outcome(reached, heard(reply))


def read_routes(scene: Scene, evil: bool) -> Outcome:
    """Wants to learn where everybody's sessions listen, from the administrators' API (missing authorization)."""
    running = scene.session(scene.victim)
    if not evil:
        reply = scene.web(scene.mallory, "GET", "/hub/api/user")
        return Outcome(reply.json().get("name") == scene.mallory.name, heard(reply))
    reply = scene.web(scene.mallory, "GET", "/hub/api/proxy")
    return Outcome(reply.status_code == 200 and running.key in reply.text, heard(reply))


ROWS = (
    Attack(
        name="an-option-that-the-form-does-not-have",
        area="rest-bypass",
        attempt=option_by_put,
        refused=rf"400 .*{NO_OPTION}",
        logged=rf"400 PUT .*{NO_OPTION}",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="options-as-the-body-itself",
        area="rest-bypass",
        attempt=options_as_body,
        refused=rf"400 .*{NO_OPTION}",
        logged=rf"400 POST .*{NO_OPTION}",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="options-changed-afterwards",
        area="rest-bypass",
        attempt=option_by_patch,
        refused=rf"400 .*{NO_OPTION}",
        logged=rf"400 PATCH .*{NO_OPTION}",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="the-state-of-a-server-in-a-change-of-its-name",
        area="rest-bypass",
        attempt=state_by_patch,
        refused=r"400 .*There is no field 'state'",
        logged=r"400 PATCH .*There is no field 'state'",
        weakness="hub/sets-any-field",
    ),
    Attack(
        name="a-field-that-the-form-does-not-show",
        area="rest-bypass",
        attempt=option_by_form,
        refused=rf"400 .*{NO_OPTION}",
        logged=NO_OPTION,
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="options-from-an-old-database",
        area="rest-bypass",
        attempt=options_from_old_database,
        refused=rf"400 .*{NO_OPTION}",
        logged=rf"400 POST .*{NO_OPTION}",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="a-start-on-another-account",
        area="rest-bypass",
        attempt=start_for_another,
        refused=r"40[34] ",
        logged=r"Not authorizing access to /hub/api/users/\w+/servers/attack|40[34] POST /hub/api/users/",
        weakness="hub/everybody-is-an-administrator",
    ),
    Attack(
        name="more-sessions-than-allowed",
        area="rest-bypass",
        attempt=more_sessions,
        refused=r"400 .*this site allows",
        logged=r"this site allows",
        weakness="hub/any-number-of-sessions",
    ),
    Attack(
        name="more-sessions-in-the-same-instant",
        area="rest-bypass",
        attempt=sessions_at_once,
        refused=r"400 .*this site allows",
        logged=r"this site allows",
        weakness="hub/any-number-of-sessions",
    ),
    Attack(
        name="an-account-added-by-a-student",
        area="rest-bypass",
        attempt=add_account,
        refused=r"403 .*not authorized with current scopes",
        logged=r"Not authorizing access to /hub/api/users/",
        weakness="hub/everybody-is-an-administrator",
    ),
    Attack(
        name="the-routes-of-everybody",
        area="rest-bypass",
        attempt=read_routes,
        refused=r"403 .*not authorized with current scopes",
        logged=r"Not authorizing access to /hub/api/proxy",
        weakness="hub/everybody-is-an-administrator",
    ),
)
