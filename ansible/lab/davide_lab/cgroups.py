"""The control groups of the hosts: one folder per host in the hierarchies that a host needs.

A host sees its own folder as the root. Hierarchies that a machine does not have are left out; none is mounted
or changed here. The version 1 *memory* hierarchy is left alone: limits set there by others must keep counting.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from davide_lab.place import PROCESSES_PER_HOST, Host
from davide_lab.say import Problem

ROOT = Path("/sys/fs/cgroup")
PARENT = "davide-lab"
VERSION_1 = ("devices", "cpuset", "freezer", "pids", "cpu")  # Slurm confines jobs with the first three
# On a cluster no host takes processor time from another. Here the many processes of a hundred jobs on two nodes would
# take nearly all of it: the hub would not answer in time, nor the controller the nodes, which then give up their jobs.
CPU_SHARES = {"hub": 4096, "controller": 4096}


def unified() -> Path:
    """Return the mount point of the version 2 hierarchy."""
    for candidate in (ROOT, ROOT / "unified"):
        if (candidate / "cgroup.procs").exists() and (candidate / "cgroup.controllers").exists():
            return candidate
    raise Problem(
        "no version 2 cgroup hierarchy is mounted below /sys/fs/cgroup; mount one: mount -t cgroup2 none /sys/fs/cgroup"
    )


def folders(host: Host) -> list[Path]:
    """Return a host's folder in each hierarchy; the version 2 one comes first."""
    roots = [unified(), *(ROOT / name for name in VERSION_1 if (ROOT / name / "tasks").exists())]
    return [root / PARENT / host.name for root in roots]


def enter(host: Host) -> None:
    """Make a host's folders and put the calling process into them."""
    for folder in folders(host):
        folder.mkdir(parents=True, exist_ok=True)
        if "cpuset" in folder.parts:
            # A new cpuset has no processors and no memory nodes, and nothing can run in it until it has.
            for level in (folder.parent, folder):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (level / name).write_text((level.parent / name).read_text())
        if "cpu" in folder.parts:
            (folder / "cpu.shares").write_text(str(CPU_SHARES.get(host.role, 1024)))
            (folder.parent / "cpu.shares").write_text(str(max(CPU_SHARES.values())))
        if "pids" in folder.parts:
            (folder / "pids.max").write_text(str(PROCESSES_PER_HOST))
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def processes(host: Host) -> set[int]:
    """Return the process ids of everything that runs in a host."""
    found: set[int] = set()
    for folder in folders(host):
        # Not glob: it fails on a folder that vanishes while it looks, as they do when a host goes down.
        for inner, _, _ in os.walk(folder):
            found |= {int(word) for word in _read(Path(inner, "cgroup.procs")).split()}
    return found


def first_process(host: Host) -> int | None:
    """Return the id, on this machine, of the process that is number 1 inside a host; None if there is none."""
    for pid in processes(host):
        status = _read(Path(f"/proc/{pid}/status"))
        row = next((text for text in status.splitlines() if text.startswith("NSpid:")), "")
        # The supervisor of the host has one number only; inside a further namespace a job could be number 1 too.
        if len(row.split()) == 3 and row.split()[2] == "1":
            return pid
    return None


def freeze(host: Host, *, frozen: bool) -> None:
    """Stop every process of a host where it stands, or let them go on."""
    folder = folders(host)[0]
    (folder / "cgroup.freeze").write_text("1" if frozen else "0")
    _wait_for(
        lambda: f"frozen {int(frozen)}" in _read(folder / "cgroup.events"),
        f"{host.name} to {'freeze' if frozen else 'thaw'}",
    )


def is_frozen(host: Host) -> bool:
    """Say whether a host is frozen."""
    return _read(folders(host)[0] / "cgroup.freeze").strip() == "1"


def remove(host: Host) -> None:
    """End what is left of a host, and remove its folders."""
    if is_frozen(host):
        freeze(host, frozen=False)
    for pid in processes(host):
        _kill(pid)
    _wait_for(lambda: not processes(host), f"the processes of {host.name} to end")
    for folder in folders(host):
        for inner in sorted(folder.glob("**/"), reverse=True):
            _remove_folder(inner)
        _remove_folder(folder.parent)


def _wait_for(done: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise Problem(f"waited {seconds:.0f} s in vain for {what}; look at `ps` and run `./davide down`")
        time.sleep(0.05)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError, OSError):
        return ""  # it has ended in the meantime


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _remove_folder(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # still in use by another host
