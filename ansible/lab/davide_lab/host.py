"""Life of one host: boot, stop, crash, reboot, freeze, destroy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from davide_lab import cgroups, network
from davide_lab.place import RUNTIME, STATE, Host, read_json, remove_tree, write_atomically
from davide_lab.run import run, succeeds
from davide_lab.say import Problem

SSH_KEY = STATE / "ssh" / "id_ed25519"
KNOWN_HOSTS = STATE / "ssh" / "known_hosts"


def make_disk(host: Host, base: Path) -> None:
    """Give a host a disk of its own unless it has one: an empty layer over the base, with its name and keys."""
    if (host.folder / "disk.json").exists():
        return
    remove_tree(host.folder)
    for name in ("upper", "work", "root"):
        (host.folder / name).mkdir(parents=True)
    upper = host.folder / "upper"
    write_atomically(upper / "etc/hostname", f"{host.name}\n")
    (upper / "etc/ssh").mkdir(exist_ok=True)
    run(
        [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            host.name,
            "-f",
            upper / "etc/ssh/ssh_host_ed25519_key",
        ]
    )
    write_atomically(upper / "root/.ssh/authorized_keys", SSH_KEY.with_suffix(".pub").read_text(), 0o600)
    for folder in ("root", "root/.ssh"):
        (upper / folder).chmod(0o700)
    # Without these modes the overlay would show the parent's umask.
    for folder in ("", "etc", "etc/ssh"):
        (upper / folder).chmod(0o755)
    write_atomically(host.folder / "disk.json", json.dumps({"base": str(base)}))


def make_ssh_key() -> None:
    """Make the key by which this machine enters its hosts, unless it is there."""
    if not SSH_KEY.exists():
        remove_tree(SSH_KEY.parent)
        SSH_KEY.parent.mkdir(parents=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "davide-lab", "-f", SSH_KEY])


def write_known_hosts(hosts: tuple[Host, ...]) -> None:
    """Write down which key each host shows, so that ssh never has to trust an unknown one."""
    rows = []
    for host in hosts:
        key = (host.folder / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        rows.append(f"{host.address},{host.name} {key[0]} {key[1]}\n")
    write_atomically(KNOWN_HOSTS, "".join(rows), 0o600)


def boot(root: Path, host: Host) -> None:
    """Start a host that is off. Returns at once; `wait_until_up` waits for it."""
    RUNTIME.mkdir(mode=0o755, exist_ok=True)
    with (RUNTIME / f"{host.name}.log").open("ab") as log:
        keeper = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                sys.executable,
                "-m",
                "davide_lab.keeper",
                root,
                host.name,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    write_atomically(RUNTIME / f"{host.name}.json", json.dumps({"pid": keeper.pid, "started": start_time(keeper.pid)}))


def wait_until_up(host: Host, seconds: float = 60) -> None:
    """Wait until a host's systemd has started what it should.

    Raises
    ------
    Problem
        If it ends or does not come up in time; holds the end of its console.
    """

    def up() -> bool:
        if not is_running(host):
            raise Problem(f"{host.name} ended while it booted; its console said:\n{console(host)}")
        return ssh_answers(host)

    wait_for(up, f"{host.name} to boot", seconds, lambda: console(host))


def ssh_answers(host: Host) -> bool:
    """Say whether a host lets us in."""
    return succeeds([*ssh(host), "-o", "ConnectTimeout=2", "true"])


def stop(host: Host) -> None:
    """Shut a host down in an orderly way; end it the hard way if it takes too long."""
    if not is_running(host):
        return
    cgroups.freeze(host, frozen=False)
    first = cgroups.first_process(host)
    if first is not None:
        os.kill(first, signal.SIGRTMIN + 4)  # systemd: power off
    try:
        wait_for(lambda: not is_running(host), f"{host.name} to shut down", 25)
    except Problem:
        crash(host)


def crash(host: Host) -> None:
    """Take a host's power away: everything in it ends at once, its disk stays."""
    if cgroups.is_frozen(host):
        cgroups.freeze(host, frozen=False)
    first = cgroups.first_process(host)
    if first is not None:
        os.kill(first, signal.SIGKILL)
    wait_for(lambda: not is_running(host), f"{host.name} to end", 20)


def reboot(host: Host) -> None:
    """Reboot a host in an orderly way, and wait until it is up again.

    Raises
    ------
    Problem
        If it does not come back.
    """
    first = cgroups.first_process(host)
    if first is None:
        raise Problem(f"{host.name} has no first process; its console said:\n{console(host)}")
    os.kill(first, signal.SIGRTMIN + 5)  # systemd: reboot
    wait_for(lambda: cgroups.first_process(host) not in (first, None), f"{host.name} to start again", 60)
    wait_until_up(host)


def destroy(host: Host) -> None:
    """End a host and remove its disk."""
    crash(host)
    cgroups.remove(host)
    remove_tree(host.folder)


def is_running(host: Host) -> bool:
    """Say whether a host's keeper lives. A process id that now belongs to another program doesn't count."""
    noted = read_json(RUNTIME / f"{host.name}.json")
    return bool(noted) and start_time(noted["pid"]) == noted["started"]


def state(host: Host) -> str:
    """Return what a host is: off, frozen, cut (from the network) or running."""
    if not is_running(host):
        return "off"
    if cgroups.is_frozen(host):
        return "frozen"
    return "cut" if network.is_cut(host) else "running"


def console(host: Host, rows: int = 15) -> str:
    """Return the end of what a host said on its console."""
    try:
        return "\n".join((RUNTIME / f"{host.name}.log").read_text(errors="replace").splitlines()[-rows:])
    except FileNotFoundError:
        return "(no console output)"


def ssh(host: Host) -> list[str]:
    """Return the ssh command for a host, to be followed by a command for it."""
    return [
        "ssh",
        "-F",
        "none",
        "-i",
        str(SSH_KEY),
        "-o",
        f"UserKnownHostsFile={KNOWN_HOSTS}",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "BatchMode=yes",
        f"root@{host.address}",
    ]


def start_time(pid: int) -> str | None:
    """Return when a process started, in the kernel's clock ticks; None for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def wait_for(done: Callable[[], bool], what: str, seconds: float, more: Callable[[], str] = lambda: "") -> None:
    """Wait until something is so.

    Raises
    ------
    Problem
        If it isn't so in time.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise Problem(f"waited {seconds:.0f} s in vain for {what}. {more()}".rstrip())
        time.sleep(0.1)


def remove_runtime() -> None:
    """Remove the notes about processes that have ended."""
    shutil.rmtree(RUNTIME, ignore_errors=True)
