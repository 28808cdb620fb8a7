"""Taking our defences away, all at once, and giving them back: what lies in `weak/`, one file per defence.

`weak/hub/*.py` are drop-ins of the hub's configuration. `weak/broker/*.py` run in the broker's process before it
begins. `weak/session/*.py` run in every Python of the session environment. `weak/host/*.sh` are shell scripts for
root, called with `apply` and with `undo`. Comments at their top say on which hosts they run (`# on: hub01 gpu01`),
which files they change (`# keeps: PATH PATH`; these are put back before `undo` is called), and which commands must
print the same before and after (`# same: COMMAND`). `undo` must do no harm where `apply` has not run.

A run that was killed is cleaned up by the next: taking away begins with giving back.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.hosts import HUB
from faults.waiting import wait_for
from support.connections import through

from attacks.scene import HUB_PYTHON, Scene

WEAK = Path(__file__).parent / "weak"
KINDS = {"hub": ".py", "broker": ".py", "session": ".py", "host": ".sh"}
# Code that others than root read; and what root keeps in order to give it back.
CODE, KEPT = "/opt/davide-weak", "/var/lib/davide-weak"
DROP_INS = "/etc/davide-hub/jupyterhub_config.d"
BROKER_UNIT = "/etc/systemd/system/davide-broker.service.d"

_GIVE_BACK = f"""
[ -d {KEPT} ] || exit 0
[ ! -e {KEPT}/files.tar ] || tar -C / -xpf {KEPT}/files.tar
[ ! -e {KEPT}/absent ] || xargs --no-run-if-empty --arg-file={KEPT}/absent rm -f --
for script in {KEPT}/host/*.sh; do [ ! -e $script ] || bash $script undo || failed=yes; done
xargs --no-run-if-empty --arg-file={KEPT}/own rm -rf --
systemctl daemon-reload
rm -rf {CODE}
[ -n "$failed" ] || rm -rf {KEPT}
echo given back
[ -z "$failed" ]
"""


@dataclass(frozen=True)
class HostScript:
    """A file of `weak/host`, with what its head says."""

    stem: str
    text: str
    hosts: tuple[str, ...]
    keeps: tuple[str, ...]
    same: tuple[str, ...]


def weaknesses() -> dict[str, Path]:
    """Return every weakness by its name, such as `hub/takes-any-option`."""
    return {
        f"{kind}/{path.stem}": path
        for kind, ending in KINDS.items()
        for path in sorted((WEAK / kind).glob(f"*{ending}"))
    }


def read_script(path: Path) -> HostScript:
    """Return what a file of `weak/host` says of itself."""
    text = path.read_text()
    said = {word: re.findall(rf"^# {word}: (.+)$", text, re.MULTILINE) for word in ("on", "keeps", "same")}
    return HostScript(
        path.stem,
        text,
        tuple(" ".join(said["on"]).split()),
        tuple(" ".join(said["keeps"]).split()),
        tuple(said["same"]),
    )


def host_scripts() -> list[HostScript]:
    """Return all files of `weak/host`."""
    return [read_script(path) for path in sorted((WEAK / "host").glob("*.sh"))]


@contextmanager
def weakened(scene: Scene) -> Iterator[None]:
    """Take all our defences away; everything is afterwards as it was before, or this fails."""
    give_back(scene)
    scene.end_all()
    before = fingerprint(scene)
    try:
        take_away(scene)
        scene.is_weak = True
        scene.log_in()
        yield
        scene.end_all()
    finally:
        scene.is_weak = False
        give_back(scene)
    scene.log_in()
    after = fingerprint(scene)
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    assert not changed, f"not as before: {changed}\n" + "\n".join(after.get(key, "") for key in changed)


def take_away(scene: Scene) -> None:
    """Install every weakness, and restart what reads them."""
    for host in scene.hosts.by_name:
        scripts = [one for one in host_scripts() if host in one.hosts]
        files = {f"{KEPT}/host/{one.stem}.sh": one.text for one in scripts}
        own = _own_files(scene) if host == HUB else {}
        if files or own:
            _install(scene, host, files, own, [path for one in scripts for path in one.keeps])
    for host in scene.hosts.by_name:
        if any(host in one.hosts for one in host_scripts()):
            scene.output(host, f"for script in {KEPT}/host/*.sh; do bash $script apply || exit 1; done", 120)
    restart(scene)


def give_back(scene: Scene) -> None:
    """Undo what `take_away` has done, also in a run that was killed; where nothing is to be undone, nothing is done."""
    done = {host: scene.run(host, _GIVE_BACK, 120) for host in scene.hosts.by_name}
    if any(one.stdout for one in done.values()):
        restart(scene)
    failed = {host: one.stderr for host, one in done.items() if one.returncode}
    assert not failed, f"can't be undone: {failed}"


def restart(scene: Scene) -> None:
    """Restart broker and hub, and wait until the hub answers."""
    scene.output(HUB, "systemctl daemon-reload && systemctl restart davide-broker jupyterhub", 120)
    try:
        wait_for(scene.hub_answers, "the hub to answer", 60)
    except AssertionError as error:
        # A weakness that can't be loaded, most likely.
        told = scene.output(HUB, "journalctl --quiet --output=cat -n 30 -u davide-broker -u jupyterhub")
        raise AssertionError(f"{error}\n{told}") from None


def fingerprint(scene: Scene) -> dict[str, str]:
    """Return what must be the same before and after, by host and command."""
    # Files, not folders: a hub that never had settings of its own has no folder for them, and an empty one is none.
    asked = {(HUB, f"systemctl cat davide-broker jupyterhub; ls -d {DROP_INS}/* {_site_packages(scene)}/*")}
    for script in host_scripts():
        for host in script.hosts:
            asked |= {(host, command) for command in script.same}
            for path in script.keeps:
                look = f"stat --format='%n %F %a %U:%G' {path}; [ ! -f {path} ] || sha256sum {path}"
                asked.add((host, look))
    return {f"{host}: {command}": scene.run(host, command).stdout for host, command in sorted(asked)}


def _own_files(scene: Scene) -> dict[str, str]:
    """Return the files of ours that stand where there were none, with what is in them."""
    patches = {
        kind: {path.name: path.read_text() for path in sorted((WEAK / kind).glob("*.py"))}
        for kind in ("hub", "broker", "session")
    }
    files = {f"{DROP_INS}/weak-{name}": text for name, text in patches["hub"].items()}
    if patches["broker"]:
        files |= {f"{CODE}/broker/{name}": text for name, text in patches["broker"].items()}
        files[f"{CODE}/run_broker.py"] = (WEAK / "run_broker.py").read_text()
        command = f"{HUB_PYTHON} -I {CODE}/run_broker.py"
        files[f"{BROKER_UNIT}/weak.conf"] = f"[Service]\nExecStart=\nExecStart={command}\n"
    if patches["session"]:
        place = _site_packages(scene)
        files |= {f"{place}/davide_weak/{name}": text for name, text in patches["session"].items()}
        files[f"{place}/davide_weak/__init__.py"] = (WEAK / "in_session.py").read_text()
        files[f"{place}/davide_weak.pth"] = "import davide_weak\n"
    return files


def _site_packages(scene: Scene) -> str:
    software = scene.site()["paths"]["software"]
    return scene.output(HUB, f"cd -P {software}/envs/session/lib/python3*/site-packages && pwd")


def _install(scene: Scene, host: str, files: dict[str, str], own: dict[str, str], keeps: list[str]) -> None:
    """Keep what is changed, write down what is to be removed, and only then write files."""
    place = _site_packages(scene)
    remove = [path for path in own if not path.startswith((CODE, place))]
    remove += [f"{place}/davide_weak", f"{place}/davide_weak.pth"] if own else []
    notes = {f"{KEPT}/own": "".join(f"{path}\n" for path in remove)}
    keep = f"umask 077; mkdir -p {KEPT}; cd /; : > {KEPT}/absent; set --"
    for path in keeps:
        name = shlex.quote(path.lstrip("/"))
        keep += f'; if [ -e {name} ]; then set -- "$@" {name}; else echo /{name} >> {KEPT}/absent; fi'
    scene.output(
        host, f'{keep}; [ $# = 0 ] || {{ tar --no-recursion -cpf {KEPT}/new "$@" && mv {KEPT}/new {KEPT}/files.tar; }}'
    )
    put(scene, host, {**notes, **files})
    put(scene, host, own)


def put(scene: Scene, host: str, files: dict[str, str]) -> None:
    """Write files of root's on a host, which everybody may read where the folder lets them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    unpack = [*through(host), "umask 022; tar -C / --no-same-owner -xf -"]
    subprocess.run(unpack, input=packed.getvalue(), check=True, capture_output=True, timeout=60)
