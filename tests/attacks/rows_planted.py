"""Attacks by files that a user has put where the broker writes or reads, and where a session's server might look."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from faults.hosts import HUB
from faults.waiting import wait_for
from support.web import request

from attacks import desk
from attacks.attack import Attack, Outcome
from attacks.desk import STATE, told
from attacks.scene import FOLDER, Scene
from attacks.web import heard

# Whoever runs one of these leaves a file of that name in the home.
MARKS = {"bashrc": ".attack-bashrc", "settings": ".attack-settings", "packages": ".attack-packages"}
_SITE = "$(python3 -c 'import sys; print(\".local/lib/python%d.%d/site-packages\" % sys.version_info[:2])')"


def link_in_the_home(scene: Scene, evil: bool) -> Outcome:
    """Wants the broker to write where only root may, by a link in one's own home (symlink attack)."""
    person = desk.guest(scene)
    target = STATE if evil else f"/home/{person.name}/attack-elsewhere"
    kept = f"{FOLDER}.kept"
    scene.as_user(person, f"mkdir -p {FOLDER} attack-elsewhere; mv {FOLDER} {kept}; ln -s {target} {FOLDER}")
    try:
        with desk.order(scene, person) as order:
            reply = order.submit()
            return Outcome(desk.is_there(scene, f"{target}/{order.key}/environment.json"), told(reply))
    finally:
        scene.as_user(person, f"rm {FOLDER}; mv {kept} {FOLDER}; rm -rf attack-elsewhere")


def link_for_a_log(scene: Scene, evil: bool) -> Outcome:
    """Wants to be shown a file that is root's, as the log of one's own session (symlink attack)."""
    person = desk.guest(scene)
    with desk.order(scene, person) as order:
        order.submitted()
        make = "ln -s /etc/shadow" if evil else "echo root: the words of a log >"
        scene.as_user(person, f"{make} {order.folder}/session.log")
        reply = scene.broker("log", user=order.user, session_key=order.key)
        return Outcome("root:" in told(reply), told(reply))


@contextmanager
def _changed(scene: Scene, path: str, content: dict[str, object]) -> Iterator[None]:
    """Put something else into a file of the attacker's own session; it is as it was afterwards."""
    kept = scene.output(HUB, f"cat {path}")
    write = "umask 077; printf %s {} > {}"
    scene.as_user(scene.mallory, write.format(shlex.quote(json.dumps(content)), path))
    try:
        yield
    finally:
        scene.as_user(scene.mallory, write.format(shlex.quote(kept), path))


def planted_port(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub to take up a session at a port that is none, by the file where the session noted it (tampering)."""
    running = scene.session(scene.mallory)
    port = 100_000 + running.port if evil else running.port
    with _changed(scene, running.secrets.replace("environment", "listening"), {"port": port}):
        reply = scene.broker("recall", user=running.owner, session_key=running.key)
    return Outcome(f'"port": {port}' in told(reply), told(reply))


def planted_token(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub to let in a token that the attacker chose, when it takes up the session (session fixation)."""
    running = scene.session(scene.mallory)
    given = json.loads(scene.output(HUB, f"cat {running.secrets}"))
    token = "0" * 32 if evil else given["JUPYTERHUB_API_TOKEN"]
    with _changed(scene, running.secrets, given | {"JUPYTERHUB_API_TOKEN": token}):
        reply = scene.broker("recall", user=running.owner, session_key=running.key)
    return Outcome(reply["ok"] and json.loads(reply["value"])["token"] == token, told(reply))


def second_server(scene: Scene, evil: bool) -> Outcome:
    """Wants a second server under the token of one session, by running its script once more (resource exhaustion)."""
    running = scene.session(scene.mallory)
    folder = running.secrets.rpartition("/")[0]
    copy, log = f"{folder}-copy", f"{folder}/attack.log"
    # The twin runs the same script, on a copy of the folder that no job has claimed.
    scene.as_user(scene.mallory, f"cp -r {folder} {copy}; rm {copy}/claimed {copy}/listening.json")
    place = folder if evil else copy
    edit = f"s#{folder}/session.log#{log}#; s#{folder}/environment#{place}/environment#"
    start = f"scontrol write batch_script {running.job} - | sed '{edit}' | sbatch --parsable"
    before = scene.output(HUB, f"cat {folder}/listening.json")
    done = scene.as_user(scene.mallory, start)
    job = done.stdout.strip()
    assert job.isdigit(), done.stderr
    listening = f"{place}/listening.json"

    def runs() -> bool:
        return scene.run(HUB, f"cat {listening}").stdout.strip() not in ("", before)

    try:
        wait_for(lambda: runs() or job not in {one.number for one in scene.slurm.jobs()}, "the second job", 40)
        said = scene.run(HUB, f"cat {log}").stdout
        return Outcome(runs(), desk.last_word(said))
    finally:
        scene.slurm.cancel(job)
        put_back = f"rm -rf {copy} {log}; printf %s {shlex.quote(before)} > {folder}/listening.json"
        scene.as_user(scene.mallory, put_back)


# -- what a session's server must not run


def _plant(scene: Scene, *names: str) -> None:
    """Put files into the attacker's home that leave a mark when somebody runs them."""
    code = "open(__import__('os').path.expanduser('~/{}'), 'w')"
    config = code.format(MARKS["settings"])
    commands = {
        "bashrc": "for name in .bashrc .profile; do [ ! -e $name ] || mv $name $name.kept; "
        f"echo 'touch ~/{MARKS['bashrc']}' > $name; done",
        "settings": "mkdir -p .jupyter; for name in jupyter jupyter_server davide_session jupyter_davide_session; do "
        f"echo {shlex.quote(config)} | tee .jupyter/${{name}}_config.py > ${{name}}_config.py; done",
        "packages": f"mkdir -p {_SITE}; "
        f"echo {shlex.quote('import os; ' + code.format(MARKS['packages']))} > {_SITE}/attack.pth",
    }
    for name in names:
        done = scene.as_user(scene.mallory, commands[name])
        assert done.returncode == 0, done.stderr


def _uproot(scene: Scene) -> None:
    marks = " ".join(MARKS.values())
    files = f".jupyter/*_config.py jupyter*_config.py davide_session_config.py {_SITE}/attack.pth {marks}"
    put_back = "for name in .bashrc .profile; do rm -f $name; [ ! -e $name.kept ] || mv $name.kept $name; done"
    scene.as_user(scene.mallory, f"rm -rf {files}; {put_back}")


def _ran(scene: Scene, name: str) -> bool:
    return desk.is_there(scene, f"/home/{scene.mallory.name}/{MARKS[name]}")


# What a session that started among all of them has run, without our defences and with them: one start serves all rows.
_STARTED: dict[tuple[int, bool], set[str]] = {}


def _run_at_the_start(scene: Scene) -> set[str]:
    stage = (id(scene), scene.is_weak)
    if stage not in _STARTED:
        try:
            _plant(scene, *MARKS)
            scene.fresh(scene.mallory)
            _STARTED[stage] = {name for name in MARKS if _ran(scene, name)}
        finally:
            _uproot(scene)
    return _STARTED[stage]


def _at_the_start(scene: Scene, name: str) -> Outcome:
    ran = name in _run_at_the_start(scene)
    return Outcome(ran, f"JupyterLab is up, and {'ran it' if ran else 'it was not run'}")


def _ask_session(scene: Scene, method: str, path: str, **more: Any) -> requests.Response:
    """Ask the attacker's own session, as its owner."""
    scene.session(scene.mallory)
    headers = {"Authorization": f"token {scene.mallory.token}"}
    reply = request(method, f"{scene.mallory.session_url}{path}", headers=headers, timeout=30, **more)
    reply.raise_for_status()
    return reply


def bashrc(scene: Scene, evil: bool) -> Outcome:
    """Wants to run in the session before its server, by a start-up file of the user's shell (planted start-up file)."""
    if evil:
        return _at_the_start(scene, "bashrc")
    try:
        _plant(scene, "bashrc")
        reply = _ask_session(scene, "POST", "/api/terminals")
        wait_for(lambda: _ran(scene, "bashrc"), "the terminal's shell", 15)
        _ask_session(scene, "DELETE", f"/api/terminals/{reply.json()['name']}")
        return Outcome(True, heard(reply))
    finally:
        _uproot(scene)


def jupyter_settings(scene: Scene, evil: bool) -> Outcome:
    """Wants to run in the session's server, by a file of Jupyter's configuration (planted configuration)."""
    if evil:
        return _at_the_start(scene, "settings")
    # A user's settings of JupyterLab are data, and count.
    folder, name = ".jupyter/lab/user-settings/@jupyterlab/notebook-extension", "tracker.jupyterlab-settings"
    keep = f"mkdir -p {folder}; [ ! -e {folder}/{name} ] || mv {folder}/{name} {folder}/kept"
    scene.as_user(scene.mallory, f"{keep}; echo '{{\"recordTiming\": true}}' > {folder}/{name}")
    try:
        reply = _ask_session(scene, "GET", "/lab/api/settings/@jupyterlab/notebook-extension:tracker")
        return Outcome("recordTiming" in reply.json().get("raw", ""), heard(reply)[:80])
    finally:
        put_back = f"rm {folder}/{name}; [ ! -e {folder}/kept ] || mv {folder}/kept {folder}/{name}"
        scene.as_user(scene.mallory, put_back)


def user_packages(scene: Scene, evil: bool) -> Outcome:
    """Wants to run in the session's server, by a file among the user's own packages (planted code)."""
    if evil:
        return _at_the_start(scene, "packages")
    # A kernel of the user's own is code that the user asks for, and runs.
    folder = ".local/share/jupyter/kernels/attack"
    spec = _spec_of_the_site(scene)
    spec["argv"] = ["/bin/sh", "-c", f'touch ~/{MARKS["packages"]}; exec "$@"', "sh", *spec["argv"]]
    scene.as_user(scene.mallory, f"mkdir -p {folder}; echo {shlex.quote(json.dumps(spec))} > {folder}/kernel.json")
    try:
        reply = _ask_session(scene, "POST", "/api/kernels", json={"name": "attack"})
        # Not its state: the server learns of that with the first client only.
        wait_for(lambda: _ran(scene, "packages"), "the kernel of the user's own", 30)
        _ask_session(scene, "DELETE", f"/api/kernels/{reply.json()['id']}")
        return Outcome(True, heard(reply)[:80])
    finally:
        scene.as_user(scene.mallory, f"rm -rf {folder}")
        _uproot(scene)


def _spec_of_the_site(scene: Scene) -> dict[str, Any]:
    """Return the kernel that the site has installed."""
    facts = scene.site()
    folder = f"{facts['paths']['software']}/share/jupyter/kernels/{facts['session']['default_kernel']}"
    spec: dict[str, Any] = json.loads(scene.output(HUB, f"cat {folder}/kernel.json"))
    return spec | {"argv": [word.replace("{resource_dir}", folder) for word in spec["argv"]]}


_NOT_RUN = r"it was not run"

ROWS = (
    Attack(
        name="a-link-where-the-broker-writes",
        area="planted-files",
        attempt=link_in_the_home,
        refused=r"^home Your home folder could not be used: .*Permission denied",
        logged=r'"verb": "submit".*"refused": "home", "why": "Your home folder could not be used',
        unit="davide-broker",
        weakness="broker/writes-homes-as-root",
    ),
    Attack(
        name="a-link-for-the-session-s-log",
        area="planted-files",
        attempt=link_for_a_log,
        refused=r"^ok $",
        logged=r"the log of session [0-9a-f]+ of student05 can't be read: .*symbolic links",
        unit="davide-broker",
        weakness="broker/reads-logs-as-root",
    ),
    Attack(
        name="a-planted-port",
        area="planted-files",
        attempt=planted_port,
        refused=r"^not_allowed The session's secrets were changed",
        logged=r'"verb": "recall", "user": "student03".*"refused": "not_allowed"',
        unit="davide-broker",
        weakness="broker/believes-what-a-session-noted",
    ),
    Attack(
        name="a-planted-token",
        area="planted-files",
        attempt=planted_token,
        refused=r"^not_allowed The session's secrets were changed",
        logged=r'"verb": "recall", "user": "student03".*"refused": "not_allowed"',
        unit="davide-broker",
        weakness="broker/recalls-what-lies-there",
    ),
    # The session says so itself, in a log of its user's; no unit of ours hears of it.
    Attack(
        name="a-second-server-of-one-session",
        area="planted-files",
        attempt=second_server,
        refused=r"this session already runs as job \d+",
        weakness="session/claims-nothing",
    ),
    # What is not run leaves no line.
    Attack(
        name="a-planted-bashrc",
        area="planted-files",
        attempt=bashrc,
        refused=_NOT_RUN,
        weakness="broker/script-reads-bashrc",
    ),
    Attack(
        name="a-planted-configuration-of-jupyter",
        area="planted-files",
        attempt=jupyter_settings,
        refused=_NOT_RUN,
        weakness="session/reads-the-users-configuration",
    ),
    Attack(
        name="planted-packages-of-the-user-s-own",
        area="planted-files",
        attempt=user_packages,
        refused=_NOT_RUN,
        weakness="session/takes-the-users-packages",
    ),
)
