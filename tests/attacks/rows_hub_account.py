"""Attacks of whoever has taken the hub's account, as a shell on its host.

What the unit of the hub would also forbid (`NoNewPrivileges`, a read-only system) is not asked here: the account itself
must be worth nothing. Where the kernel refuses, nothing of ours sees it, and there is no line to look for.
"""

from __future__ import annotations

import shlex

from faults.hosts import HUB

from attacks import desk
from attacks.attack import Attack, Outcome
from attacks.desk import STATE, TRAIL
from attacks.scene import Scene

OWN = "/var/lib/davide-hub"
# Stands in every line that an attack writes, and in no line of ours.
_WORD = "attack-was-here"


def _read(scene: Scene, path: str) -> Outcome:
    done = scene.as_hub(f"sha256sum < {path}")
    true = scene.output(HUB, f"sha256sum < {path}")
    return Outcome(done.stdout.strip() == true, done.stderr.strip() or "read")


def _write(scene: Scene, path: str, line: str = f"# {_WORD}") -> Outcome:
    """Add a line to a file as the hub's account; it is as before afterwards."""
    there = desk.is_there(scene, path)
    done = scene.as_hub(f"printf '%s\\n' {shlex.quote(line)} >> {path}")
    reached = scene.run(HUB, f"grep -qxF {shlex.quote(line)} {path}").returncode == 0
    if reached:
        scene.output(HUB, f"sed -i /{_WORD}/d {path}" if there else f"rm {path}")
    return Outcome(reached, done.stderr.strip() or "written")


def sudo(scene: Scene, evil: bool) -> Outcome:
    """Wants root's powers by sudo (privilege escalation)."""
    done = scene.as_hub(f"{'sudo ' if evil else ''}cat /etc/{'shadow' if evil else 'passwd'} < /dev/null")
    return Outcome("root:" in done.stdout, done.stderr.strip() or "read")


def become_user(scene: Scene, evil: bool) -> Outcome:
    """Wants to be a user without the user's password (impersonation)."""
    password = "" if evil else scene.victim.password
    become = f"printf '%s\\n' {shlex.quote(password)} | su {scene.victim.name} -s /bin/sh -c 'id -un'"
    done = scene.as_hub(become)
    return Outcome(done.stdout.strip() == scene.victim.name, desk.last_word(done.stderr) or "became the user")


def shadow(scene: Scene, evil: bool) -> Outcome:
    """Wants the hashes of the passwords, to guess them at leisure (credential access)."""
    return _read(scene, "/etc/shadow" if evil else "/etc/passwd")


def munge_key(scene: Scene, evil: bool) -> Outcome:
    """Wants the key with which Slurm's messages can be signed in anybody's name (credential access)."""
    return _read(scene, "/etc/munge/munge.key" if evil else f"{OWN}/jupyterhub_cookie_secret")


def mark_key(scene: Scene, evil: bool) -> Outcome:
    """Wants the broker's key, to make marks for jobs that no session is (credential access)."""
    return _read(scene, f"{STATE}/mark.json" if evil else f"{OWN}/jupyterhub_cookie_secret")


def ledger(scene: Scene, evil: bool) -> Outcome:
    """Wants to read in the broker's ledger who has which session (information disclosure)."""
    key = scene.session(scene.victim).key
    return _read(scene, f"{STATE}/ledger/{key}" if evil else f"{OWN}/jupyterhub_cookie_secret")


def home(scene: Scene, evil: bool) -> Outcome:
    """Wants to read a file in a user's home (information disclosure)."""
    note = f"/home/{scene.victim.name}/attack-note"
    scene.as_user(scene.victim, f"umask 022; echo private > {note}")
    try:
        return _read(scene, note if evil else f"{OWN}/jupyterhub_cookie_secret")
    finally:
        scene.output(HUB, f"rm -f {note}")


def ticket_file(scene: Scene, evil: bool) -> Outcome:
    """Wants a ticket for somebody who never logged in, by writing one (forged credential)."""
    name = desk.stranger(scene).name
    return _write(scene, f"{STATE}/tickets/{name}" if evil else f"{OWN}/attack-{name}")


def batch_script(scene: Scene, evil: bool) -> Outcome:
    """Wants a line of its own in every user's batch script (tampering)."""
    return _write(scene, "/etc/davide-hub/spawner_templates/session.sbatch.j2" if evil else f"{OWN}/session.sbatch.j2")


def trail(scene: Scene, evil: bool) -> Outcome:
    """Wants a line in the audit trail that tells of a log-in of somebody else (repudiation)."""
    today = scene.output(HUB, "date -u +audit-%Y-%m-%d.jsonl")
    line = (
        f'{{"time": "2026-01-01T00:00:00+00:00", "verb": "login", "user": "{scene.victim.name}", "login": "{_WORD}"}}'
    )
    return _write(scene, f"{TRAIL}/{today}" if evil else f"{OWN}/{today}", line)


def cancel_directly(scene: Scene, evil: bool) -> Outcome:
    """Wants to end a user's job past the broker, by Slurm's own command (missing authorisation)."""
    account = scene.site()["slurm"]["account"]
    with scene.closed_queue():
        put = scene.as_user(scene.victim, f"sbatch --parsable --account={account} --output=/dev/null --wrap='sleep 60'")
        job = put.stdout.strip()
        assert job.isdigit(), put.stderr
        try:
            order = f"scancel {job}"
            done = scene.as_hub(order) if evil else scene.as_user(scene.victim, order)
            ended = job not in {one.number for one in scene.slurm.jobs()}
        finally:
            scene.slurm.cancel(job)
    return Outcome(ended, desk.last_word(done.stderr) or "cancelled")


def submit_directly(scene: Scene, evil: bool) -> Outcome:
    """Wants a job past the broker, to run what it likes on the nodes (missing authorisation)."""
    account = scene.site()["slurm"]["account"]
    order = f"sbatch --parsable --account={account} --output=/dev/null --chdir=/ --wrap='sleep 60'"
    with scene.closed_queue():
        done = scene.as_hub(order) if evil else scene.as_user(scene.victim, order)
        job = done.stdout.strip()
        there = job in {one.number for one in scene.slurm.jobs()}
        if there:
            scene.slurm.cancel(job)
    return Outcome(there, desk.last_word(done.stderr) or "submitted")


_DENIED = r"Permission denied"

ROWS = (
    Attack(
        name="the-hub-s-account-uses-sudo",
        area="hub-account",
        attempt=sudo,
        # A site's host has sudo and no rule for the hub; the local cluster's hosts have none.
        refused=r"sudo: .*(command not found|password|not allowed|not in the sudoers)",
        weakness="host/sudo-for-the-hub",
    ),
    # su's own line is in the system's journal; it is no unit of ours.
    Attack(
        name="the-hub-s-account-becomes-a-user",
        area="hub-account",
        attempt=become_user,
        refused=r"su: Authentication failure",
        weakness="host/su-without-a-password",
    ),
    Attack(
        name="the-hub-s-account-reads-the-password-hashes",
        area="hub-account",
        attempt=shadow,
        refused=_DENIED,
        weakness="host/hub-in-the-group-shadow",
    ),
    Attack(
        name="the-hub-s-account-reads-munge-s-key",
        area="hub-account",
        attempt=munge_key,
        refused=_DENIED,
        weakness="host/munge-key-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-reads-the-key-of-the-marks",
        area="hub-account",
        attempt=mark_key,
        refused=_DENIED,
        weakness="host/broker-state-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-reads-the-ledger",
        area="hub-account",
        attempt=ledger,
        refused=_DENIED,
        weakness="host/broker-state-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-writes-a-ticket",
        area="hub-account",
        attempt=ticket_file,
        refused=_DENIED,
        weakness="host/broker-state-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-writes-into-the-audit-trail",
        area="hub-account",
        attempt=trail,
        refused=_DENIED,
        weakness="host/broker-state-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-changes-the-batch-script",
        area="hub-account",
        attempt=batch_script,
        refused=_DENIED,
        weakness="host/batch-script-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-reads-a-user-s-home",
        area="hub-account",
        attempt=home,
        refused=_DENIED,
        weakness="host/homes-for-everybody",
    ),
    Attack(
        name="the-hub-s-account-cancels-a-user-s-job",
        area="hub-account",
        attempt=cancel_directly,
        refused=r"(?i)access/permission denied",
        weakness="host/hub-is-slurm-operator",
    ),
    Attack(
        name="the-hub-s-account-submits-a-job",
        area="hub-account",
        attempt=submit_directly,
        refused=r"(?i)invalid (account|user)",
        weakness="host/hub-is-slurm-operator",
    ),
)
