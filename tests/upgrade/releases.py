"""Releases of the project as checkouts of their own: this one, an older one, and broken ones.

All are for a site with a class of people, and with sessions so small that each of them has one at the same time.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from support.cluster import ROOT

# The latest of the 5.x series; its database has another schema than that of 6.1.
OLD = """jupyterhub==5.5.4 \\
    --hash=sha256:1d987cbe96390e1877ae37b33e0f2936cac72d3abff93496551c58c1df1f533d \\
    --hash=sha256:de63fc7bdc00a81b554cd849b4ced9e55fdee55a0645dfe357740dcdb988ab27
"""
# All that our code takes from JupyterHub 6 and JupyterHub 5 does not have.
SPAWN_EXCEPTION = '''from tornado import web


class SpawnException(web.HTTPError):
    """Why a session did not start, as JupyterHub 6 has it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(400, message, reason=reason)


'''
ACCOUNTS = "ansible/inventory/local/group_vars/all/accounts.yml"
SITE = "ansible/inventory/local/group_vars/all/site.yml"
CLASS = tuple(f"class{number:02}" for number in range(1, 13))
_FIRST_UID = 6101


def checkout(to: Path) -> Path:
    """Make a copy of this checkout, with what is not committed yet."""
    to.mkdir()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    # Files that are removed and not committed so are no part of it.
    there = b"\0".join(name for name in names.split(b"\0") if name and (ROOT / name.decode()).exists())
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=ROOT, input=there, capture_output=True, check=True
    )
    subprocess.run(["tar", "--extract"], cwd=to, input=packed.stdout, check=True)
    make_room(to)
    return to


def make_room(made: Path) -> None:
    """Add the class to a checkout's accounts, and make a session without GPU as small as can be."""
    with (made / ACCOUNTS).open("a") as file:
        file.writelines(f"  - {{name: {name}, uid: {_FIRST_UID + n}, role: student}}\n" for n, name in enumerate(CLASS))
    site = made / SITE
    site.write_text(_replaced(site, "      cores: 2\n      memory_gb: 4\n", "      cores: 1\n      memory_gb: 2\n"))


def older(to: Path) -> Path:
    """Make a checkout whose hub is locked to JupyterHub 5.5."""
    made = checkout(to)
    for lock in (made / "hub/locks").glob("hub.py*.lock"):
        changed, times = re.subn(r"^jupyterhub==.*(?:\n    --hash=.*)+\n", OLD, lock.read_text(), flags=re.MULTILINE)
        assert times == 1, lock
        lock.write_text(changed)
    options = made / "hub/davide_hub/options.py"
    options.write_text(_replaced(options, "from jupyterhub.spawner import SpawnException\n\n", SPAWN_EXCEPTION))
    handlers = made / "hub/davide_hub/handlers.py"
    # JupyterHub 5 reads the body of a start by another method, and takes the whole of it for options.
    handlers.write_text(_replaced(handlers, "UserServerAPIHandler: SessionHandler, ", ""))
    return made


def dead(to: Path) -> Path:
    """Make a checkout whose hub ends as soon as it has begun: a play waits for it in vain."""
    made = checkout(to)
    app = made / "hub/davide_hub/app.py"
    app.write_text(_replaced(app, "        await super().start()\n", "        raise SystemExit(3)\n"))
    return made


def deaf(to: Path) -> Path:
    """Make a checkout whose plays go well, and whose hub hears no node: only a job can tell."""
    made = checkout(to)
    rules = made / "ansible/roles/firewall/templates/firewall.nft.j2"
    rules.write_text(_replaced(rules, "saddr {{ address }} accept", "saddr {{ address }} goto refused"))
    return made


def _replaced(file: Path, old: str, new: str) -> str:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    return text.replace(old, new)
