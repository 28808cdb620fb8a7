"""Memory and processor time of the session's own job, from the cgroup that Slurm keeps it in (version 1 or 2)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Without a limit, version 1 shows the largest number of pages: more than any machine has.
_NO_LIMIT = 1 << 60
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class JobUse:
    """What the job uses. None where nothing tells it.

    Attributes
    ----------
    memory_bytes, memory_limit_bytes
        Without files that the kernel keeps only as long as nobody needs the room.
    cpu_seconds
        Processor time since the job began; only differences mean anything.
    """

    memory_bytes: int | None
    memory_limit_bytes: int | None
    cpu_seconds: float | None


class JobCgroup:
    """The job's cgroup, found once.

    Parameters
    ----------
    job
        Slurm's number of the job.
    proc
        Where processes are.
    environment
        The job's variables: its memory stands there also where no cgroup bounds it.
    """

    def __init__(self, job: str, proc: Path = Path("/proc"), environment: Mapping[str, str] = os.environ) -> None:
        self._proc = proc
        self._folders = dict(_job_folders(job, proc)) if job else {}
        megabytes = environment.get("SLURM_MEM_PER_NODE", "")
        self._ordered = int(megabytes) * 2**20 if megabytes.isdecimal() and int(megabytes) else None

    def use(self) -> JobUse:
        """Return what the job uses now."""
        used, limit = self._memory()
        return JobUse(used, limit or self._ordered, self._cpu_seconds())

    def _memory(self) -> tuple[int | None, int | None]:
        v2, v1 = self._folders.get(""), self._folders.get("memory")
        if v1 and (used := _number(v1 / "memory.usage_in_bytes")) is not None:
            limit = _number(v1 / "memory.limit_in_bytes")
            idle = _field(v1 / "memory.stat", "total_inactive_file")
            return max(0, used - idle), limit if limit and limit < _NO_LIMIT else None
        if v2 and (used := _number(v2 / "memory.current")) is not None:
            idle = _field(v2 / "memory.stat", "inactive_file")
            return max(0, used - idle), _number(v2 / "memory.max")
        # Sites that bound devices alone give jobs no cgroup of memory: then the job's processes, without shared pages.
        pages = [resident - shared for _, resident, shared in self._each("statm", 0, 1, 2)]
        return (sum(pages) * _PAGE_BYTES if pages else None), None

    def _cpu_seconds(self) -> float | None:
        v2, v1 = self._folders.get(""), self._folders.get("cpuacct")
        if v1 and (nanoseconds := _number(v1 / "cpuacct.usage")) is not None:
            return nanoseconds / 1e9
        if v2 and (microseconds := _field(v2 / "cpu.stat", "usage_usec")):
            return microseconds / 1e6
        # proc(5): own time in user and in system mode, and that of children that have ended.
        ticks = [sum(times) for times in self._each("stat", 11, 12, 13, 14)]
        return sum(ticks) / _TICKS if ticks else None

    def _each(self, file: str, *fields: int) -> Iterator[list[int]]:
        for process in self._processes():
            try:
                # After the name, which may hold spaces and brackets.
                words = (self._proc / process / file).read_text().rpartition(")")[2].split()
                yield [int(words[field]) for field in fields]
            except (OSError, IndexError, ValueError):
                continue  # it has just ended

    def _processes(self) -> set[str]:
        # A job is in the same place in every hierarchy that Slurm uses; one of them is enough.
        for folder in self._folders.values():
            found: set[str] = set()
            for file in folder.rglob("cgroup.procs"):
                try:
                    found.update(file.read_text().split())
                except OSError:
                    continue
            if found:
                return found
        return set()


def _job_folders(job: str, proc: Path) -> Iterator[tuple[str, Path]]:
    """Yield the job's folder for each controller; version 2 has one for all, under the name ""."""
    try:
        memberships = (proc / "self/cgroup").read_text().splitlines()
        mounts = list(_mounts((proc / "self/mountinfo").read_text()))
    except OSError:
        return
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        # The job's own part, and not that of the step or the task in it.
        part = re.match(rf".*/job_{job}(?=/|$)", path)
        if not part:
            continue
        for controller in controllers.split(","):
            for root, point in _mounts_of(mounts, controller):
                inside = part[0].removeprefix("" if root == "/" else root)
                if (folder := Path(point + inside)).is_dir():
                    yield controller, folder
                    break


def _mounts_of(mounts: list[tuple[str, str, set[str]]], controller: str) -> Iterator[tuple[str, str]]:
    """Yield root and place of the mounts that show a controller."""
    return ((root, point) for root, point, controllers in mounts if controller in controllers)


def _mounts(text: str) -> Iterator[tuple[str, str, set[str]]]:
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        (root, point), (kind, _, options) = before.split()[3:5], after.split(" ", 2)
        if kind == "cgroup2":
            yield root, point, {""}
        elif kind == "cgroup":
            yield root, point, set(options.split(","))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # "max" too: no limit


def _field(file: Path, name: str) -> int:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        return next(int(words[1]) for words in lines if words[0] == name)
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
