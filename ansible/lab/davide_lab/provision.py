"""Running the plays of production against the local cluster, and telling what they changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from davide_lab import cgroups
from davide_lab.host import KNOWN_HOSTS, SSH_KEY
from davide_lab.place import STATE, bundle_dir, inventory
from davide_lab.run import held
from davide_lab.say import Problem, step


@dataclass(frozen=True)
class Change:
    """One thing that a play found other than it should be, and mended."""

    host: str
    task: str
    item: str

    def __str__(self) -> str:
        return f"{self.host}: {self.task}" + (f" ({self.item})" if self.item else "")


def ansible_environ(root: Path, release: str) -> dict[str, str]:
    """Return the variables that ansible runs with."""
    return {
        "ANSIBLE_CONFIG": str(root / "ansible" / "ansible.cfg"),
        "ANSIBLE_PRIVATE_KEY_FILE": str(SSH_KEY),
        "ANSIBLE_SSH_COMMON_ARGS": f"-F none -o UserKnownHostsFile={KNOWN_HOSTS}",
        "DAVIDE_BUNDLE": str(bundle_dir(release)),
        "DAVIDE_ACCOUNTS": str(STATE / "accounts.json"),
        "DAVIDE_STATE": str(STATE),
        "DAVIDE_CGROUP_PLUGIN": "cgroup/v1" if (cgroups.ROOT / "devices").exists() else "cgroup/v2",
    }


def validate(root: Path) -> None:
    """Refuse a bad inventory before any host is touched.

    Raises
    ------
    Problem
        With the sentences that name file, key and fix.
    """
    facts = inventory(root) / "group_vars" / "all" / "site.yml"
    checked = subprocess.run(
        [sys.executable, "-m", "davide_hub.cli", "check", facts], capture_output=True, text=True, check=False
    )
    if checked.returncode:
        raise Problem(
            f"the site facts are not right, no host was touched:\n{(checked.stderr or checked.stdout).rstrip()}"
        )


def provision(root: Path, release: str, verbose: bool = False) -> list[Change]:
    """Run all plays and return what they changed.

    Raises
    ------
    Problem
        If a play fails.
    """
    with tempfile.TemporaryDirectory(prefix="davide-play-") as scratch:
        report = Path(scratch) / "changes.json"
        environ = {**os.environ, **ansible_environ(root, release), "DAVIDE_CHANGES": str(report)}
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(inventory(root)),
            "deploy.yml",
        ]
        played = subprocess.run(
            [*command, *(["-vvv"] if verbose else [])],
            env=environ,
            cwd=root / "ansible",
            check=False,
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(held),
        )
        changes = [Change(**row) for row in json.loads(report.read_text())] if report.exists() else []
    if played.returncode:
        raise Problem(
            "the plays failed, see the lines above; mend the cause and run ./davide up again, it continues where it can"
        )
    return changes


def tell_changes(changes: list[Change], host_names: list[str]) -> None:
    """Print what was changed: every change on a line where they are few, and a count per host."""
    if len(changes) <= 40:
        for change in changes:
            step(f"changed: {change}")
    counts = Counter(change.host for change in changes)
    step("  ".join(f"{name}: changed={counts[name]}" for name in host_names))
