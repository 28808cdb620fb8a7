"""Attacks of a taken hub on people who are not logged in, and on sessions by somebody else's name, key or job."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from faults.hosts import CONTROLLER, HUB

from attacks import desk
from attacks.attack import Attack, Outcome
from attacks.desk import STATE, Order, asked, told
from attacks.scene import Scene


def _submitted(order: Order) -> Outcome:
    reply = order.submit()
    return Outcome(order.has_job(), told(reply))


def submit_without_ticket(scene: Scene, evil: bool) -> Outcome:
    """Wants a job in the name of somebody who never logged in (missing authentication)."""
    with desk.order(scene, desk.stranger(scene) if evil else desk.guest(scene)) as order:
        return _submitted(order)


def old_ticket(scene: Scene, evil: bool) -> Outcome:
    """Wants a job in the name of somebody whose log-in is too long ago (expired session)."""
    with desk.order(scene, desk.guest(scene)) as order:
        if evil:
            _change_ticket(order, 's/"expires": [0-9.]*/"expires": \'$(($(date +%s) - 1))\'/')
        return _submitted(order)


def former_owner(scene: Scene, evil: bool) -> Outcome:
    """Wants a job of somebody new by the ticket of who had that name before (reused identity)."""
    with desk.order(scene, desk.guest(scene)) as order:
        if evil:
            _change_ticket(order, 's/"uid": [0-9]*/"uid": 54321/')
        return _submitted(order)


def _change_ticket(order: Order, sed: str) -> None:
    ticket = f"{STATE}/tickets/{order.user}"
    changed = f"cp {ticket} /run/attack-ticket; sed -i '{sed}' {ticket}; ! cmp -s {ticket} /run/attack-ticket"
    order.scene.output(HUB, f"{changed}; code=$?; rm -f /run/attack-ticket; exit $code")


def cancel_without_ticket(scene: Scene, evil: bool) -> Outcome:
    """Wants to end jobs of somebody who never logged in, which are no sessions (missing authorisation)."""
    person = desk.stranger(scene) if evil else desk.guest(scene)
    with desk.order(scene, person) as order:
        if evil:
            account = scene.site()["slurm"]["account"]
            command = f"sbatch --parsable --account={account} --output=/dev/null --wrap='sleep 60'"
            job = scene.as_user(person, command).stdout.strip()
        else:
            job = order.submitted()
        assert job.isdigit()
        reply = scene.broker("cancel", user=order.user, session_key=order.key)
        return Outcome(job not in {one.number for one in scene.slurm.jobs()}, told(reply))


@contextmanager
def _ended(scene: Scene) -> Iterator[Order]:
    """Yield a session that has ended, with a log of its user's."""
    person = desk.guest(scene)
    with desk.order(scene, person) as order:
        job = order.submitted()
        scene.as_user(person, f"echo words of the session > {order.folder}/session.log")
        scene.broker("cancel", user=order.user, session_key=order.key)
        scene.slurm.wait_for_end(job)
        scene.broker("cancel", user=order.user, session_key=order.key)
        yield order


def log_of_the_absent(scene: Scene, evil: bool) -> Outcome:
    """Wants to read what a session wrote that is over, whose user is not logged in (information disclosure)."""
    with _ended(scene) as order:
        if evil:
            scene.output(HUB, f"rm {STATE}/tickets/{order.user}")
        reply = scene.broker("log", user=order.user, session_key=order.key)
        return Outcome("words of the session" in told(reply), told(reply))


def secrets_of_the_ended(scene: Scene, evil: bool) -> Outcome:
    """Wants the token of a session that is over (replay)."""
    person = desk.guest(scene)
    with desk.order(scene, person) as order:
        order.submitted()
        if evil:
            scene.broker("cancel", user=order.user, session_key=order.key)
        reply = scene.broker("recall", user=order.user, session_key=order.key)
        return Outcome(reply["ok"] and json.loads(reply["value"])["token"] != "", told(reply))


def key_of_the_ended(scene: Scene, evil: bool) -> Outcome:
    """Wants to start a session by a key that was used up (replay)."""
    with desk.order(scene, desk.guest(scene)) as order:
        if evil:
            job = order.submitted()
            scene.broker("cancel", user=order.user, session_key=order.key)
            scene.slurm.wait_for_end(job)
        return _submitted(order)


def recall_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants another user's token, by the key of that user's session (insecure direct object reference)."""
    whose = scene.mallory if evil else scene.victim
    return asked(scene, "recall", user=whose.name, session_key=scene.session(scene.victim).key)


def look_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to know of another user's job, by the key of that user's session (insecure direct object reference)."""
    whose = scene.mallory if evil else scene.victim
    return asked(scene, "look", user=whose.name, session_key=scene.session(scene.victim).key)


def log_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to read another user's log, by the key of that user's session (insecure direct object reference)."""
    whose = scene.mallory if evil else scene.victim
    return asked(scene, "log", user=whose.name, session_key=scene.session(scene.victim).key)


def cancel_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to end another user's session, by its key (insecure direct object reference)."""
    with desk.order(scene, desk.guest(scene)) as order:
        order.submitted()
        reply = scene.broker("cancel", user=scene.mallory.name if evil else order.user, session_key=order.key)
        return Outcome(not order.has_job(), told(reply))


@contextmanager
def _forgotten(scene: Scene) -> Iterator[tuple[Order, str]]:
    """Yield a session of which the ledger knows nothing, with its job's number: as on a new host of the hub."""
    with desk.order(scene, desk.guest(scene)) as order:
        job = order.submitted()
        scene.output(HUB, f"rm {order.entry}")
        yield order, job


def job_of_a_stranger(scene: Scene, evil: bool) -> Outcome:
    """Wants to have another user's job as a session of one's own, by its number (insecure direct object reference)."""
    with _forgotten(scene) as (order, job):
        whose = scene.mallory.name if evil else order.user
        reply = scene.broker("claim", user=whose, session_key=order.key, job=job)
        return Outcome(desk.is_there(scene, order.entry), told(reply))


def forged_mark(scene: Scene, evil: bool) -> Outcome:
    """Wants a job of one's own to be taken for a session, by a mark that its owner wrote (forged signature)."""
    with _forgotten(scene) as (order, job):
        if evil:
            mark = f"davide-hub:{_hub(scene, job)}:{order.key}:{secrets.token_hex(16)}"
            scene.output(CONTROLLER, f"runuser -u {order.user} -- scontrol update JobId={job} Comment={mark}")
        reply = scene.broker("claim", user=order.user, session_key=order.key, job=job)
        return Outcome(desk.is_there(scene, order.entry), told(reply))


def _hub(scene: Scene, job: str) -> str:
    """Return the hub's name, which stands in every mark for all to see."""
    return scene.output(CONTROLLER, f"squeue --noheader --job={job} --format=%k").split(":")[1]


_NOBODYS = r"^unknown_session student03 has no session"
_NOBODYS_LINE = r'"verb": "{}", "user": "student03".*"refused": "unknown_session"'

ROWS = (
    Attack(
        name="a-job-of-who-never-logged-in",
        area="tickets",
        attempt=submit_without_ticket,
        refused=r"^no_ticket ",
        logged=r'"verb": "submit", "user": "student06".*"refused": "no_ticket"',
        unit="davide-broker",
        weakness="broker/asks-for-no-ticket",
    ),
    Attack(
        name="a-job-with-an-old-ticket",
        area="tickets",
        attempt=old_ticket,
        refused=r"^no_ticket .*24 hours",
        logged=r'"verb": "submit", "user": "student05".*"refused": "no_ticket"',
        unit="davide-broker",
        weakness="broker/tickets-without-an-end",
    ),
    Attack(
        name="a-job-with-the-ticket-of-a-former-owner",
        area="tickets",
        attempt=former_owner,
        refused=r"^no_ticket ",
        logged=r'"verb": "submit", "user": "student05".*"refused": "no_ticket"',
        unit="davide-broker",
        weakness="broker/tickets-for-a-name",
    ),
    Attack(
        name="cancelling-for-who-never-logged-in",
        area="tickets",
        attempt=cancel_without_ticket,
        refused=r"^no_ticket student06 has no session",
        logged=r'"verb": "cancel", "user": "student06".*"refused": "no_ticket"',
        unit="davide-broker",
        weakness="broker/cancels-without-a-session",
    ),
    Attack(
        name="the-log-of-an-ended-session-without-a-ticket",
        area="tickets",
        attempt=log_of_the_absent,
        refused=r"^ended This session has ended",
        logged=r'"verb": "log", "user": "student05".*"refused": "ended"',
        unit="davide-broker",
        weakness="broker/asks-for-no-ticket",
    ),
    Attack(
        name="the-token-of-an-ended-session",
        area="tickets",
        attempt=secrets_of_the_ended,
        refused=r"^ended ",
        logged=r'"verb": "recall", "user": "student05".*"refused": "ended"',
        unit="davide-broker",
        weakness="broker/recalls-what-lies-there",
    ),
    Attack(
        name="a-start-with-the-key-of-an-ended-session",
        area="tickets",
        attempt=key_of_the_ended,
        refused=r"^ended This session was ended already",
        logged=r'"verb": "submit", "user": "student05".*"refused": "ended"',
        unit="davide-broker",
        weakness="broker/starts-what-has-ended",
    ),
    Attack(
        name="the-token-of-another-user-s-session",
        area="tickets",
        attempt=recall_of_another,
        refused=_NOBODYS,
        logged=_NOBODYS_LINE.format("recall"),
        unit="davide-broker",
        weakness="broker/sessions-are-anybodys",
    ),
    Attack(
        name="a-look-at-another-user-s-job",
        area="tickets",
        attempt=look_of_another,
        refused=_NOBODYS,
        logged=_NOBODYS_LINE.format("look"),
        unit="davide-broker",
        weakness="broker/sessions-are-anybodys",
    ),
    Attack(
        name="the-log-of-another-user-s-session",
        area="tickets",
        attempt=log_of_another,
        refused=_NOBODYS,
        logged=_NOBODYS_LINE.format("log"),
        unit="davide-broker",
        weakness="broker/sessions-are-anybodys",
    ),
    Attack(
        name="the-end-of-another-user-s-session",
        area="tickets",
        attempt=cancel_of_another,
        refused=_NOBODYS,
        logged=_NOBODYS_LINE.format("cancel"),
        unit="davide-broker",
        weakness="broker/sessions-are-anybodys",
    ),
    Attack(
        name="claiming-a-stranger-s-job",
        area="tickets",
        attempt=job_of_a_stranger,
        refused=r"^unknown_session Job \d+ does not carry the mark",
        logged=r'"verb": "claim", "user": "student03".*"refused": "unknown_session"',
        unit="davide-broker",
        weakness="broker/claims-without-a-mark",
    ),
    Attack(
        name="a-forged-mark-on-a-job",
        area="tickets",
        attempt=forged_mark,
        refused=r"^unknown_session Job \d+ does not carry the mark",
        logged=r'"verb": "claim", "user": "student05".*"refused": "unknown_session"',
        unit="davide-broker",
        weakness="broker/claims-without-a-mark",
    ),
)
