"""What a hub costs: requests to Slurm's controller, as `sdiag` counts them, and processor time from /proc."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from bench.hosts import Lab, on
from bench.systems import System

_ROW = re.compile(r"^\t(\S+)\s+\(\s*\d+\) count:(\d+)", re.MULTILINE)
# What Slurm's own daemons tell the controller, and the asking itself.
_NOT_OURS = {
    "ACCOUNTING_REGISTER_CTLD",
    "ACCOUNTING_UPDATE_MSG",
    "MESSAGE_EPILOG_COMPLETE",
    "MESSAGE_NODE_REGISTRATION_STATUS",
    "REQUEST_COMPLETE_BATCH_SCRIPT",
    "REQUEST_COMPLETE_JOB_ALLOCATION",
    "REQUEST_COMPLETE_PROLOG",
    "REQUEST_PING",
    "REQUEST_STATS_INFO",
    "REQUEST_STATS_RESET",
    "REQUEST_STEP_COMPLETE",
}
# What sacct asks of the accounting daemon.
_QUERY = "DBD_GET_JOBS_COND"
_TICKS = 100  # per second, for user space on every Linux (sysconf SC_CLK_TCK)


def by_type(told: str) -> dict[str, int]:
    """Return the number of requests of each kind."""
    section = told.partition("Remote Procedure Call statistics by message type")[2]
    section = section.partition("Remote Procedure Call statistics by user")[0]
    return {name: int(count) for name, count in _ROW.findall(section)}


@dataclass(frozen=True)
class Cost:
    """What happened in a time: requests to controller and accounting, and processor time of the hub.

    Attributes
    ----------
    seconds
        How long it was.
    kinds
        The controller's requests by kind.
    accounting
        Queries of the accounting.
    cpu
        Seconds of the hub's units and all that they started.
    """

    seconds: float
    kinds: dict[str, int]
    accounting: int
    cpu: float

    @property
    def requests_per_minute(self) -> float:
        """Return the requests of users and services to the controller in a minute."""
        return sum(count for name, count in self.kinds.items() if name not in _NOT_OURS) * 60 / self.seconds

    @property
    def accounting_per_minute(self) -> float:
        """Return the queries of the accounting in a minute."""
        return self.accounting * 60 / self.seconds

    @property
    def cpu_per_minute(self) -> float:
        """Return the seconds of processor time in a minute."""
        return self.cpu * 60 / self.seconds


class Meter:
    """Counts from one moment on, for one hub."""

    def __init__(self, lab: Lab, system: System) -> None:
        self._lab, self._system = lab, system
        on(lab.controller, "sdiag --reset")
        self._queries = _accounting_queries(lab)
        self._cpu = cpu_seconds(lab, system)
        self._since = time.monotonic()

    def read(self) -> Cost:
        """Return what has happened since the beginning."""
        told = on(self._lab.controller, "sdiag")
        return Cost(
            time.monotonic() - self._since,
            by_type(told),
            _accounting_queries(self._lab) - self._queries,
            cpu_seconds(self._lab, self._system) - self._cpu,
        )


def cpu_seconds(lab: Lab, system: System) -> float:
    """Return the processor time that a hub's units, and the processes that they have waited for, have used so far."""
    script = " ".join(f"cat /proc/$(systemctl show --property MainPID --value {unit})/stat;" for unit in system.units)
    return sum(used(line) for line in on(lab.hub, script).splitlines())


def used(stat: str) -> float:
    """Return the seconds that a line of /proc/PID/stat tells: user and system, its own and its children's (proc(5))."""
    # The name stands in brackets and may hold anything.
    fields = stat.rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def _accounting_queries(lab: Lab) -> int:
    return by_type(on(lab.controller, "sacctmgr show stats")).get(_QUERY, 0)
