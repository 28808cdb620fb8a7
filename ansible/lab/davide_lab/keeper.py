"""The process beside each running host: lays its disk together, boots it, and boots it again when it reboots.

Run as `python -m davide_lab.keeper ROOT HOST` in a mount namespace of its own, so that no mount outlives it and
nothing of this machine's mounts changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from davide_lab import cgroups
from davide_lab.place import SHARED, STATE, Host, bundle_dir, hosts, read_json
from davide_lab.run import run

# Beyond what systemd-nspawn gives: the host's namespace is its own, and so is the firewall in it.
CAPABILITIES = "CAP_NET_ADMIN"
REBOOTED = 133  # systemd-nspawn with --keep-unit ends with this status when the host asked for a reboot


def keep(host: Host, base: Path, bundle: Path) -> int:
    """Boot a host and stay until it is off.

    Returns
    -------
    int
        Exit status of the last systemd-nspawn.
    """
    cgroups.enter(host)
    lay_disk(host, base)
    show_version_2_only()
    environ = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    while True:
        ended = subprocess.run(nspawn(host, bundle), env=environ, check=False, stdin=subprocess.DEVNULL)
        if ended.returncode != REBOOTED:
            return ended.returncode


def lay_disk(host: Host, base: Path) -> None:
    """Mount the host's own layer over the base system, and its devices' folder of GPU stand-ins."""
    layers = f"lowerdir={base},upperdir={host.folder / 'upper'},workdir={host.folder / 'work'}"
    run(["mount", "-t", "overlay", f"davide-{host.name}", "-o", layers, host.folder / "root"])


def show_version_2_only() -> None:
    """Let systemd-nspawn see a version 2 hierarchy at /sys/fs/cgroup, in this mount namespace only.

    A parent without systemd mounts version 1 hierarchies there, which systemd inside the host refuses to manage.
    """
    if cgroups.unified() != cgroups.ROOT:
        run(["umount", "--recursive", "--lazy", cgroups.ROOT])
        run(["mount", "-t", "cgroup2", "none", cgroups.ROOT])


def nspawn(host: Host, bundle: Path) -> list[str]:
    """Return the command that boots a host."""
    shared = [f"--bind={STATE / name}:/{name}" for name in SHARED]
    return [
        "systemd-nspawn",
        "--boot",
        "--quiet",
        f"--directory={host.folder / 'root'}",
        f"--machine={host.name}",
        "--register=no",
        "--keep-unit",
        f"--network-namespace-path=/run/netns/{host.namespace}",
        f"--capability={CAPABILITIES}",
        "--console=pipe",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        *shared,
        f"--bind-ro={bundle}:/srv/davide-bundle",
    ]


def main() -> int:
    """Keep the host that the command line names."""
    root, name = Path(sys.argv[1]), sys.argv[2]
    host = next(found for found in hosts(root) if found.name == name)
    cluster = read_json(STATE / "cluster.json")
    return keep(host, Path(cluster["base"]), bundle_dir(cluster["release"]))


if __name__ == "__main__":
    sys.exit(main())
