"""Attacks on what belongs to others on disks and nodes: secrets, logs, homes, private folders, GPUs."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from faults.hosts import CONTROLLER, HUB

from attacks.attack import Attack, Outcome
from attacks.neighbours import another_session
from attacks.scene import Running, Scene
from attacks.web import Person


def _read(scene: Scene, path: str, host: str = HUB) -> Outcome:
    """Let mallory read a file, and say how much of it there was: what is in it may be a secret."""
    done = scene.as_user(scene.mallory, f"wc --bytes < {shlex.quote(path)}", host)
    reached = done.returncode == 0 and int(done.stdout) > 0
    return Outcome(reached, f"{done.stdout.strip()} bytes" if reached else done.stderr.strip())


def _of(scene: Scene, evil: bool) -> tuple[Person, Running]:
    scene.session(scene.mallory)
    person = scene.victim if evil else scene.mallory
    return person, scene.session(person)


def secrets_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants another session's token and key from its file (sensitive data exposure)."""
    _, running = _of(scene, evil)
    return _read(scene, running.secrets)


def log_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to read what another's session has written (sensitive data exposure)."""
    _, running = _of(scene, evil)
    return _read(scene, running.secrets.replace("environment.json", "session.log"))


def key_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants another session's key from the folder where its server has it, on the node."""
    person, running = _of(scene, evil)
    return _read(scene, f"{_private(scene, person, running)}/session.key", running.node)


def runtime_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to see the kernels' sockets and connection files of another's session, on the node."""
    person, running = _of(scene, evil)
    return _list(scene, f"{_private(scene, person, running)}/runtime", running.node)


def home_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to look around in another user's home."""
    person, _ = _of(scene, evil)
    return _list(scene, f"/home/{person.name}", HUB)


def _private(scene: Scene, person: Person, running: Running) -> str:
    """Return the folder of a session on its node's disk: the newest, if more sessions are there."""
    asked = f"ls --directory --sort=time $(find /tmp -maxdepth 1 -name 'davide-*' -user {person.name}) | head -1"
    return scene.output(running.node, asked)


def _list(scene: Scene, folder: str, host: str) -> Outcome:
    done = scene.as_user(scene.mallory, f"ls --almost-all {shlex.quote(folder)}", host)
    return Outcome(done.returncode == 0, f"{len(done.stdout.split())} names" if not done.returncode else done.stderr)


def gpu_of_another(scene: Scene, evil: bool) -> Outcome:
    """Wants to compute on the GPU of another's session, from a job of the own on the same node."""
    with another_session(scene, scene.victim, "gpu", "one-gpu") as theirs:
        account = scene.site()["slurm"]["account"]
        asked = f"scontrol --details show job {theirs.job} | grep --only-matching 'IDX:[0-9]*'"
        shown = scene.output(CONTROLLER, asked)
        number = shown.splitlines()[0].removeprefix("IDX:") if evil else "$SLURM_STEP_GPUS"
        # Of the stand-ins, "No such device" is the answer to who was let through: they have no driver.
        look = f"(: < /dev/nvidia{number}) 2>&1 | sed 's/.*: //'"
        words = f"-A {account} -w {theirs.node} --gres=gpu:1 --immediate=20 --quiet"
        done = scene.as_user(scene.mallory, f"srun {words} bash -c {shlex.quote(look)}")
        return Outcome("No such device" in done.stdout, (done.stdout + done.stderr).strip())


def _row(name: str, attempt: Callable[[Scene, bool], Outcome], weakness: str) -> Attack:
    # No log line: the kernel refuses, and nothing of ours sees it.
    return Attack(name, "files", attempt, refused="Permission denied", weakness=weakness)


ROWS = (
    _row("the-secrets-of-anothers-session", secrets_of_another, "session/leaves-everything-open"),
    _row("the-log-of-anothers-session", log_of_another, "session/leaves-everything-open"),
    _row("the-key-of-anothers-session-on-the-node", key_of_another, "session/leaves-everything-open"),
    _row("the-runtime-folder-of-anothers-session", runtime_of_another, "session/leaves-everything-open"),
    _row("the-home-of-another", home_of_another, "host/homes-are-open"),
    Attack(  # The kernel refuses, by the job's control group.
        name="the-gpu-of-anothers-session",
        area="gpus",
        attempt=gpu_of_another,
        refused="Operation not permitted",
        weakness="host/jobs-open-any-device",
    ),
)
