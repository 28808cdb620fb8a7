#!/usr/bin/python
"""Ansible module: a service runs, and runs on the configuration there is."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: running_service
short_description: A service is enabled, runs, and was started after its configuration was last written
description:
  - Handlers forget - when a play is killed between writing a file and its end, the restart that was notified never
    comes, and the next play sees nothing to change. This module asks the facts instead, so any later play mends it.
  - A restart is the consequence of a change that another task reported, so it does not count as a change here;
    starting or enabling a service that was not does.
options:
  name:
    description: Unit name.
    required: true
    type: str
  config:
    description: Files, links and folders (with all in them) that the service reads when it starts.
    type: list
    elements: path
    default: []
  reload:
    description: Reload the service for a newer configuration, where it can; it is restarted otherwise.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Run slurmd
  running_service:
    name: slurmd
    config: [/etc/slurm]
"""

RETURN = """
did:
  description: What was done, in order - enabled, started, restarted, reloaded.
  type: list
  returned: always
"""


def systemctl(module: AnsibleModule, *arguments: str) -> None:
    """Run systemctl; end the module with the unit's last words if it fails."""
    status, out, error = module.run_command(["systemctl", *arguments])
    if status:
        unit = module.params["name"]
        journal = module.run_command(["journalctl", "-u", unit, "-n", "15", "--no-pager", "-o", "cat"])[1]
        module.fail_json(msg=f"systemctl {' '.join(arguments)} failed: {(error or out).strip()}\n{journal.strip()}")


def properties(module: AnsibleModule, unit: str) -> dict[str, str]:
    """Return what systemd knows of a unit."""
    wanted = (
        "ActiveState,UnitFileState,ActiveEnterTimestampMonotonic,NeedDaemonReload,FragmentPath,DropInPaths,LoadState"
    )
    shown = module.run_command(["systemctl", "show", unit, f"--property={wanted}"], check_rc=True)[1]
    return dict(row.split("=", 1) for row in shown.splitlines() if "=" in row)


def newest(paths: list[str]) -> float:
    """Return when the youngest of some files, links and folders was written, in seconds since the epoch."""
    times = [0.0]
    for path in map(Path, paths):
        for found in [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else [])]:
            if found.is_symlink() or found.exists():
                times.append(found.lstat().st_mtime)
            if found.is_file():
                times.append(found.stat().st_mtime)
    return max(times)


def started_at(facts: dict[str, str]) -> float:
    """Return when a unit became active, in seconds since the epoch."""
    return time.time() - time.monotonic() + int(facts.get("ActiveEnterTimestampMonotonic") or 0) / 1e6


def main() -> None:
    """Do what is needed and report it."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "config": {"type": "list", "elements": "path", "default": []},
            "reload": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    unit = module.params["name"]
    facts = properties(module, unit)
    unit_files = [path for path in (facts.get("FragmentPath", ""), *facts.get("DropInPaths", "").split()) if path]
    # Type=notify services and dependants may be on their way up or down: what counts is whether it is meant to run.
    runs = facts["ActiveState"] in ("active", "activating", "reloading")
    newer = {path: newest([path]) > started_at(facts) for path in [*module.params["config"], *unit_files]}
    stale = runs and any(newer.values())
    # Another unit file is not taken up by a reload.
    reload = module.params["reload"] and not any(newer[path] for path in unit_files)
    enabled = facts.get("UnitFileState") in (
        "enabled",
        "static",
        "generated",
        "alias",
        "indirect",
        "enabled-runtime",
    )
    did = [word for word, needed in (("enabled", not enabled), ("started", not runs), ("restarted", stale)) if needed]
    if not module.check_mode:
        if facts["NeedDaemonReload"] == "yes" or facts["LoadState"] == "not-found":
            systemctl(module, "daemon-reload")
        if not enabled:
            systemctl(module, "enable", unit)
        if not runs or stale:
            # A unit that failed too often in a row may not be started again until that is forgotten.
            subprocess.run(["systemctl", "reset-failed", unit], check=False, capture_output=True)
        if not runs:
            systemctl(module, "start", unit)
        elif stale:
            systemctl(module, "reload-or-restart" if reload else "restart", unit)
    module.exit_json(changed=not enabled or not runs, did=did)


if __name__ == "__main__":
    main()
