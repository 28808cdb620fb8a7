"""The base system that every host starts from: debootstrap once per release, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

from davide_lab.place import remove_tree, write_atomically
from davide_lab.run import run
from davide_lab.say import Problem, step
from davide_lab.toolbox import cache_dir

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "python3",
    "python3-apt",
    "openssh-server",
    "iproute2",
    "procps",
    "ca-certificates",
)
MASKED = (
    "systemd-udevd.service",
    "systemd-timesyncd.service",
    "systemd-networkd.service",
    "getty.target",
    "console-getty.service",
    "systemd-resolved.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "logrotate.timer",
    "systemd-networkd-wait-online.service",
)
FILES = {
    # A job that is running would delay a reboot by systemd's 90 s.
    "etc/systemd/system.conf.d/davide-lab.conf": "[Manager]\nDefaultTimeoutStopSec=10s\n",
    # The overlay is thrown away after a crash of the machine, so waiting for the disk buys nothing.
    "etc/dpkg/dpkg.cfg.d/davide-lab": "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"
    "path-exclude=/usr/share/locale/*\n",
    "etc/ssh/sshd_config.d/davide-lab.conf": "UseDNS no\nPasswordAuthentication no\n",
    # Indexes come from the bundle, which is read in an instant: keep no translations, no compressed copies.
    "etc/apt/apt.conf.d/davide-lab": 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n',
    "etc/locale.conf": "LANG=C.UTF-8\n",
    "etc/default/locale": "LANG=C.UTF-8\n",
}


def base_dir(release: str) -> Path:
    """Return the folder of the base system for a release; its name changes when what goes into it changes."""
    recipe = repr((PACKAGES, MASKED, sorted(FILES.items()), release))
    return cache_dir() / f"base-{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def make_base(release: str) -> Path:
    """Make the base system for a release unless it is there, and return its folder.

    Raises
    ------
    Problem
        If debootstrap fails, for example because the mirror is out of reach.
    """
    final = base_dir(release)
    if final.exists():
        step(f"base system: Debian {release}, from the cache")
        return final
    unfinished = final.with_name(f"{final.name}.unfinished")
    remove_tree(unfinished)
    unfinished.mkdir(parents=True)
    step(f"base system: Debian {release} by debootstrap (one to two minutes)")
    mirror = configured_mirror()
    try:
        run(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                release,
                unfinished,
                mirror,
            ],
            hint="If the mirror was out of reach, check the network and run ./davide up again",
        )
        settle(unfinished)
    except BaseException:
        remove_tree(unfinished)
        raise
    unfinished.rename(final)
    return final


def settle(root: Path) -> None:
    """Turn a fresh debootstrap into what a host can start from."""
    for path, text in FILES.items():
        write_atomically(root / path, text)
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (root / "etc/systemd/system/default.target").unlink(missing_ok=True)
    (root / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")
    write_atomically(root / "etc/machine-id", "")  # each host gets one of its own at its first boot
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for folder in (
        "var/cache/apt/archives",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
    ):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_atomically(root / "etc/davide-base-id", f"{uuid.uuid4()}\n")
    # The hosts install from the bundle alone.
    write_atomically(root / "etc/apt/sources.list", "")
    subprocess.run(["sync", "-f", root], check=False)


def configured_mirror() -> str:
    """Return the Debian mirror that apt uses on this machine."""
    sources = Path("/etc/apt/sources.list.d").glob("*.sources")
    texts = [path.read_text() for path in sources]
    texts += [path.read_text() for path in (Path("/etc/apt/sources.list"),) if path.exists()]
    for text in texts:
        found = re.search(r"^(?:URIs:|deb)\s.*?(\S+://\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
        if found:
            return found.group(1)
    raise Problem("found no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d/*.sources; add one")


def require_room(path: Path, gigabytes: float) -> None:
    """Refuse to go on where a disk has too little room.

    Raises
    ------
    Problem
        If less than `gigabytes` are free on the file system of `path`.
    """
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free / 1e9
    if free < gigabytes:
        raise Problem(
            f"{path} has {free:.1f} GB free and {gigabytes:g} GB are needed; "
            "make room, or set XDG_CACHE_HOME to a larger disk"
        )


def is_root() -> bool:
    """Say whether this process may do what booting hosts needs."""
    return os.geteuid() == 0
