"""Where the local cluster keeps what it has, and which hosts it consists of."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from davide_lab.toolbox import cache_dir

STATE = Path("/var/lib/davide-lab")  # lives until `./davide down --purge`: disks, homes, software, passwords
RUNTIME = Path("/run/davide-lab")  # lives until the machine is switched off
RELEASES = {"bookworm": "py311", "trixie": "py313"}  # Debian release -> tag of the locks for its Python
BRIDGE = "davide0"
PARENT_ADDRESS = "10.77.0.1/24"
AUTHORITY = STATE / "authority.crt"  # vouches for the certificate that the local cluster's hub shows to browsers
SHARED = ("home", "software")  # one file system for all hosts, as GPFS or NFS is on a cluster
PROCESSES_PER_HOST = 4000


@dataclass(frozen=True)
class Host:
    """One host of the local cluster, as the inventory names it."""

    name: str
    address: str
    role: str

    @property
    def folder(self) -> Path:
        """Return the folder of this host's own disk."""
        return STATE / "hosts" / self.name

    @property
    def namespace(self) -> str:
        """Return the name of this host's network namespace."""
        return f"davide-{self.name}"

    @property
    def cable(self) -> str:
        """Return the name of our end of this host's network cable (at most 15 characters)."""
        return f"dv-{self.name}"[:15]


def inventory(root: Path) -> Path:
    """Return the folder of the local cluster's inventory."""
    return root / "ansible" / "inventory" / "local"


@cache
def hosts(root: Path) -> tuple[Host, ...]:
    """Return the hosts of the inventory, in its order."""
    listed = yaml.safe_load((inventory(root) / "hosts.yml").read_text())["all"]["hosts"]
    return tuple(Host(name, facts["ansible_host"], facts["lab_role"]) for name, facts in listed.items())


def site_facts(root: Path, site: Path | None = None) -> dict[str, Any]:
    """Return the site facts of an inventory, the local cluster's by default, as plain data."""
    folder = site or inventory(root)
    facts: dict[str, Any] = yaml.safe_load((folder / "group_vars" / "all" / "site.yml").read_text())["site"]
    return facts


def release() -> str:
    """Return the Debian release of the hosts there are, or the default."""
    return str(read_json(STATE / "cluster.json").get("release", "bookworm"))


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file, or an empty one where there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a crash at any instant leaves the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.chmod(mode)
    unfinished.replace(path)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it; a folder that isn't there is fine."""
    shutil.rmtree(path, ignore_errors=not path.exists())


def bundle_dir(of_release: str) -> Path:
    """Return the folder of the offline bundle for a release."""
    return cache_dir() / f"bundle-{of_release}"
