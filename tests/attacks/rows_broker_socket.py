"""Attacks on the broker's socket: who may ask at all, and what is not a request."""

from __future__ import annotations

import json
import shlex

from faults.hosts import HUB

from attacks import desk
from attacks.attack import Attack, Outcome
from attacks.desk import STATE, told
from attacks.scene import HUB_ACCOUNT, Scene


def student_asks(scene: Scene, evil: bool) -> Outcome:
    """Wants to ask the broker from a student's shell on the hub's host (missing authentication)."""
    command = desk.ask_line(json.dumps({"verb": "sessions"}))
    done = scene.as_user(scene.mallory, command) if evil else scene.as_hub(command)
    return Outcome('"ok":true' in done.stdout, desk.last_word(done.stderr) or done.stdout[:80])


def group_asks(scene: Scene, evil: bool) -> Outcome:
    """Wants to be heard for being in the hub's group, as a service of the hub's might be (confused deputy)."""
    who = scene.mallory.name if evil else HUB_ACCOUNT
    command = desk.ask_line(json.dumps({"verb": "sessions"}))
    reply = json.loads(scene.output(HUB, f"setpriv --reuid {who} --regid {HUB_ACCOUNT} --clear-groups {command}"))
    return Outcome(reply["ok"], told(reply))


def endless_line(scene: Scene, evil: bool) -> Outcome:
    """Wants the broker to read more than any request has (resource exhaustion)."""
    blanks = " " * (70_000 if evil else 7_000)
    reply = scene.broker_line(f'{{"verb": "ticket", "user": "{scene.victim.name}"{blanks}}}')
    return Outcome(reply["ok"], told(reply))


def method_as_verb(scene: Scene, evil: bool) -> Outcome:
    """Wants what is a method of the broker's own to be a verb: a ticket without a log-in (exposed dangerous method)."""
    name = desk.stranger(scene).name
    request = {"verb": "give", "user": name, "uid": 0} if evil else {"verb": "ticket", "user": name}
    reply = scene.broker_line(json.dumps(request))
    given = desk.is_there(scene, f"{STATE}/tickets/{name}")
    scene.output(HUB, f"rm -f {STATE}/tickets/{name}")
    return Outcome(given if evil else reply["ok"], told(reply))


def roots_order(scene: Scene, evil: bool) -> Outcome:
    """Wants to give one of root's orders as the hub: to lock somebody out (privilege escalation)."""
    name = desk.stranger(scene).name
    command = desk.ask_line(json.dumps({"verb": "ban", "user": name, "reason": "attack"}))
    done = scene.as_hub(command) if evil else scene.run(HUB, command)
    banned = desk.is_there(scene, f"{STATE}/bans/{name}")
    scene.output(HUB, f"rm -f {STATE}/bans/{name}")
    return Outcome(banned, told(json.loads(done.stdout)))


def foreign_variable(scene: Scene, evil: bool) -> Outcome:
    """Wants code of its own in a user's job, by variables that loader and shell obey (environment injection)."""
    person = desk.guest(scene)
    names = ("LD_PRELOAD", "PATH") if evil else ("JUPYTERHUB_PRELOAD", "JUPYTERHUB_PATH")
    with desk.order(scene, person) as order:
        reply = order.submit(dict.fromkeys(names, "/tmp/attack"))
        return Outcome(order.gives(f'"{names[0]}": "/tmp/attack"'), told(reply))


def value_with_nul(scene: Scene, evil: bool) -> Outcome:
    """Wants a value that ends earlier for C than for Python (null byte injection)."""
    with desk.order(scene, desk.guest(scene)) as order:
        reply = order.submit({"JUPYTERHUB_ATTACK": "begin\0end" if evil else "begin end"})
        return Outcome(order.gives("begin\\u0000end" if evil else "begin end"), told(reply))


def thousand_variables(scene: Scene, evil: bool) -> Outcome:
    """Wants to fill a user's home, and the job's environment, with variables (resource exhaustion)."""
    letters = "ABCDEFGHIJ"
    many = [f"JUPYTERHUB_{a}{b}{c}" for a in letters for b in letters for c in letters][: 1000 if evil else 30]
    with desk.order(scene, desk.guest(scene)) as order:
        reply = order.submit(dict.fromkeys(many, ""))
        return Outcome(order.gives(many[-1]), told(reply))


def own_script(scene: Scene, evil: bool) -> Outcome:
    """Wants a script of its own to run as the user, by a field that no request has (mass assignment)."""
    script = f"#!/bin/bash\n#SBATCH --account={scene.site()['slurm']['account']}\n# the hub's own script\nsleep 60\n"
    more = {"script": script} if evil else {}
    person = desk.guest(scene)
    with desk.order(scene, person) as order:
        reply = order.submit(**more)
        if not reply["ok"]:
            return Outcome(False, told(reply))
        runs = scene.as_user(person, f"scontrol write batch_script {shlex.quote(reply['value'])} -").stdout
        return Outcome(("the hub's own script" in runs) is evil and runs != "", told(reply))


def key_with_a_path(scene: Scene, evil: bool) -> Outcome:
    """Wants the broker to write outside its ledger, where root writes (path traversal)."""
    name = f"attack-{desk.stranger(scene).name}"
    key = f"../{name}" if evil else name
    place = f"{STATE}/{name}" if evil else f"{STATE}/ledger/{name}"
    person = desk.guest(scene)
    scene.output(HUB, desk.log_in(person))
    try:
        reply = scene.broker("cancel", user=person.name, session_key=key)
        return Outcome(desk.is_there(scene, place), told(reply))
    finally:
        scene.output(HUB, f"rm -f {STATE}/{name} {STATE}/ledger/{name} {STATE}/tickets/{person.name}")


def password_with_nul(scene: Scene, evil: bool) -> Outcome:
    """Wants a password that is not the password to be right, where C stops reading it (null byte injection)."""
    password = scene.victim.password + ("\0attack" if evil else "")
    return desk.asked(scene, "login", user=scene.victim.name, password=password)


ROWS = (
    # The kernel refuses: the socket is the hub's group's alone.
    Attack(
        name="a-student-asks-the-broker",
        area="broker-socket",
        attempt=student_asks,
        refused=r"PermissionError: .*Permission denied",
        weakness="broker/socket-for-everybody",
    ),
    Attack(
        name="the-hub-s-group-asks-the-broker",
        area="broker-socket",
        attempt=group_asks,
        refused=r"^not_allowed Only the hub may ask",
        logged=r'"refused": "not_allowed", "why": "Only the hub may ask',
        unit="davide-broker",
        weakness="broker/hears-every-caller",
    ),
    Attack(
        name="a-request-without-end",
        area="broker-socket",
        attempt=endless_line,
        refused=r"^bad_request .*longer than \d+ bytes",
        logged=r'"refused": "bad_request", "why": ".*longer than',
        unit="davide-broker",
        weakness="broker/reads-lines-of-any-length",
    ),
    Attack(
        name="a-verb-that-is-none",
        area="broker-socket",
        attempt=method_as_verb,
        refused=r"^bad_request .*union_tag_invalid",
        logged=r'"refused": "bad_request", "why": ".*union_tag_invalid',
        unit="davide-broker",
        weakness="broker/takes-methods-for-verbs",
    ),
    Attack(
        name="the-hub-gives-root-s-order",
        area="broker-socket",
        attempt=roots_order,
        refused=r"^not_allowed Only root may give this order",
        logged=r'"verb": "ban".*"refused": "not_allowed"',
        unit="davide-broker",
        weakness="broker/takes-roots-orders-from-the-hub",
    ),
    Attack(
        name="a-session-with-ld-preload-and-path",
        area="broker-socket",
        attempt=foreign_variable,
        refused=r"^bad_request .*LD_PRELOAD.*string_pattern_mismatch",
        logged=r'"refused": "bad_request", "why": ".*LD_PRELOAD',
        unit="davide-broker",
        weakness="broker/takes-any-variable",
    ),
    Attack(
        name="a-variable-with-a-null-byte",
        area="broker-socket",
        attempt=value_with_nul,
        refused=r"^bad_request .*JUPYTERHUB_ATTACK.*string_pattern_mismatch",
        logged=r'"refused": "bad_request", "why": ".*JUPYTERHUB_ATTACK',
        unit="davide-broker",
        weakness="broker/takes-any-value",
    ),
    Attack(
        name="a-thousand-variables",
        area="broker-socket",
        attempt=thousand_variables,
        refused=r"^bad_request .*environment.*too_long",
        logged=r'"refused": "bad_request", "why": ".*too_long',
        unit="davide-broker",
        weakness="broker/takes-any-number-of-variables",
    ),
    Attack(
        name="a-script-of-the-hub-s-own",
        area="broker-socket",
        attempt=own_script,
        refused=r"^bad_request .*script.*extra_forbidden",
        logged=r'"refused": "bad_request", "why": ".*extra_forbidden',
        unit="davide-broker",
        weakness="broker/runs-the-hubs-script",
    ),
    Attack(
        name="a-session-key-with-a-path",
        area="broker-socket",
        attempt=key_with_a_path,
        refused=r"^bad_request .*session_key.*string_pattern_mismatch",
        logged=r'"refused": "bad_request", "why": ".*session_key',
        unit="davide-broker",
        weakness="broker/takes-any-session-key",
    ),
    Attack(
        name="a-password-with-a-null-byte",
        area="broker-socket",
        attempt=password_with_nul,
        refused=r"^wrong_password ",
        logged=r'"verb": "login".*"refused": "wrong_password"',
        unit="davide-broker",
        weakness="broker/cuts-passwords-as-c-does",
    ),
)
