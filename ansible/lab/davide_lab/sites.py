"""`./davide check SITE` and `./davide preflight SITE`: whether inventory and hosts are ready, before any role runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from davide_lab.parts import tool
from davide_lab.place import release
from davide_lab.provision import ansible_environ
from davide_lab.say import Problem, line, step

# What the inventories in the project mark where a fact is not published.
_MARK = "# reconstructed"
_FACTS = "site facts"


def inventory_of(root: Path, site: str) -> Path:
    """Return the folder of a site's inventory.

    Parameters
    ----------
    root
        The project's top folder.
    site
        A folder of ansible/inventory, or the path of any other.

    Raises
    ------
    Problem
        If there is none.
    """
    home = root / "ansible" / "inventory"
    folder = Path(site).resolve() if "/" in site else home / site
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in home.iterdir() if path.is_dir()))
        raise Problem(f"no site '{site}'; there are {known}; to begin one: cp -r {home / 'leonardo'} {home / 'NAME'}")
    if not facts_of(folder).is_file():
        raise Problem(f"{facts_of(folder)} is missing; copy it from {home / 'leonardo'} and edit it")
    return folder


def facts_of(folder: Path) -> Path:
    """Return the one file that people edit."""
    return folder / "group_vars" / "all" / "site.yml"


def check_site(root: Path, site: str) -> int:
    """Check a site's facts, then all that is made from them; return 0 if all is right."""
    folder = inventory_of(root, site)
    line(f"Checking {folder}")
    if not _right(_FACTS, _facts(root, folder)):
        return 1  # all else would only say the same in other words
    with tempfile.TemporaryDirectory(prefix="davide-site-") as scratch:
        checks: dict[str, Callable[[], subprocess.CompletedProcess[str]]] = {
            "every file that the hosts would get": lambda: _render(root, folder, Path(scratch)),
            "hosts and groups": lambda: _play(root, folder, "validate.yml", "--skip-tags", "secrets"),
            "the plays with this inventory": lambda: _play(root, folder, "deploy.yml", "--syntax-check"),
            "ansible-lint of the inventory": lambda: _lint(root, folder),
        }
        good = [_right(name, check()) for name, check in checks.items()]
        if good[0]:
            step(
                f"{sum(path.is_file() for path in Path(scratch).rglob('*'))} files; "
                f"to look at them: ./davide render --site {site} --out DIR"
            )
    for note in _notes(folder):
        line(f"note: {note}")
    line(f"check {site}: {'all right' if all(good) else 'not right, see above'}")
    return int(not all(good))


def _right(name: str, done: subprocess.CompletedProcess[str]) -> bool:
    line(f"{name}: {'all right' if done.returncode == 0 else 'not right'}")
    if done.returncode or name == _FACTS:  # which also warn
        for text in (done.stdout + done.stderr).rstrip().splitlines():
            step(text.strip())
    return done.returncode == 0


def _facts(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-m", "davide_hub.cli", "check", str(facts_of(folder))], root)


def _render(root: Path, folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    site = str(facts_of(folder))
    return _run([sys.executable, "-m", "davide_hub.cli", "render", "--site", site, "--out", str(out)], root)


def _play(root: Path, folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return _run([tool("ansible-playbook"), "-i", str(folder), *words], root / "ansible", environ)


def _lint(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return _run(
        [tool("ansible-lint"), "--offline", "--strict", "-q", "-c", ".ansible-lint", str(folder)], root / "ansible"
    )


def _run(
    command: list[str], cwd: Path, more: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    root = cwd.parent if cwd.name == "ansible" else cwd
    environ = {
        **os.environ,
        "PYTHONPATH": str(root / "hub"),
        "ANSIBLE_CONFIG": str(root / "ansible" / "ansible.cfg"),
        # Groups of the local cluster are empty elsewhere; and ansible tells each time that localhost is implicit.
        "ANSIBLE_HOST_PATTERN_MISMATCH": "ignore",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        **more,
    }
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def _notes(folder: Path) -> list[str]:
    """Return what is no mistake and still to be done."""
    text = facts_of(folder).read_text(encoding="utf-8")
    marked = [number for number, row in enumerate(text.splitlines(), 1) if _MARK in row]
    notes = []
    if marked:
        lines = ", ".join(map(str, marked))
        notes.append(f'{facts_of(folder)}: made up, not yours, is what lines {lines} mark "{_MARK.lstrip("# ")}"')
    needed = {
        "jupyterhub_oidc_client_secret": "kind: oidc" in text,
        "jupyterhub_database_password": "\n  database:" in text,
    }
    names = [name for name, is_needed in needed.items() if is_needed]
    if names and not (folder / "group_vars/all/secrets.yml").exists():
        notes.append(
            f"{folder}/group_vars/all/secrets.yml is missing: before the first play, write "
            f"{' and '.join(names)} there and encrypt it with ansible-vault"
        )
    return notes


def preflight(root: Path, site: str, *, as_json: bool) -> int:
    """Look at the hosts of a site before anything is installed there; return 0 if nothing must be mended.

    Raises
    ------
    Problem
        If the plays did not get as far as a verdict.
    """
    folder = inventory_of(root, site)
    local = ansible_environ(root, release()) if folder.name == "local" else {}
    with tempfile.TemporaryDirectory(prefix="davide-preflight-") as scratch:
        verdict = Path(scratch) / "verdict.json"
        played = _play(root, folder, "validate.yml", "preflight.yml", **local, DAVIDE_PREFLIGHT=str(verdict))
        if not verdict.exists():
            raise Problem(f"the preflight came to no verdict:\n{(played.stdout + played.stderr).rstrip()[-3000:]}")
        found = json.loads(verdict.read_text())
    if as_json:
        line(json.dumps(found, indent=2))
    else:
        for one in found["findings"]:
            line(f"{one['level']}: {one['sentence']}")
        line(f"preflight {site}: {'nothing in the way' if found['ok'] else 'mend the problems above first'}")
    return int(not found["ok"])
