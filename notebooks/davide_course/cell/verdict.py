"""What became of a job that failed: who was first, and the sentence that says so."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from davide_course.cell import hostlist
from davide_course.cell.screen import ranges

# "srun: error: gpu02: tasks 2-3: Killed"
_TASK = re.compile(r"srun: error: (\S+): tasks? ([\d,-]+): (.+)")
_LAUNCH = re.compile(r"srun: error: .*(?:launch|[Uu]nable to create step|create job step)")
ENDINGS = {
    "TIMEOUT": "reached its time limit of {minutes} minutes. Take a longer --time, or let the code save earlier",
    "CANCELLED": "was cancelled, by you elsewhere or by an administrator",
    "NODE_FAIL": "lost a node: it failed",
    "OUT_OF_MEMORY": "used more memory than it has. Ask for more with --memory",
    "PREEMPTED": "had to make room for another job",
    "BOOT_FAIL": "was given a node that did not come up",
    "DEADLINE": "could not end before its deadline",
}


class CellFailed(Exception):  # noqa: N818 - it is what the student reads
    """The job did not reach its end; the text says what was first, why, and what to do."""

    def _render_traceback_(self) -> list[str]:
        # Read by IPython: the way through our code would hide the sentence.
        return [str(self)]


@dataclass
class Member:
    """One process of the job, as far as the notebook has heard of it.

    Attributes
    ----------
    port
        Where it listens; None before it has started.
    failed
        What it told of its end, if that was none that it should have.
    alone
        Whether it ended because it saw no notebook any more.
    heard
        When something of it was last heard.
    """

    rank: int
    host: str = ""
    port: int | None = None
    step: dict[str, Any] = field(default_factory=dict)
    done: bool = False
    assigned: bool | None = None
    failed: dict[str, Any] | None = None
    bye: bool = False
    alone: bool = False
    beat: str = ""
    heard: float = field(default_factory=time.monotonic)


def complains(said: Sequence[str]) -> bool:
    """Return whether srun, in the job's own output, speaks of a process that failed or could not be started."""
    return any(_TASK.search(line) or _LAUNCH.search(line) for line in said)


def first(members: Sequence[Member], said: Sequence[str]) -> Member | None:
    """Return the process that failed first; None where none did by itself.

    Parameters
    ----------
    said
        The job's own output. A process that was killed with the one that watches it is named by srun only.
    """
    own = [one for one in members if one.failed and not one.failed.get("told")]
    if own:
        return min(own, key=_order)
    if any(one.alone for one in members):
        return None
    # What srun says after the first is what became of the others.
    for found in filter(None, map(_TASK.search, said)):
        one = members[int(hostlist.expand(f"[{found[2]}]")[0])]
        if not one.failed:
            one.failed, one.host = {"text": found[3]}, one.host or found[1]
            return one
    return None


def how(failed: dict[str, Any]) -> tuple[str, str]:
    """Return what happened to a process, and what may be behind it ("" if that is not known)."""
    killed = "If nobody killed it, it used more memory than the job has: ask for more with --memory."
    if failed.get("text"):
        text = str(failed["text"])
        return f"failed ({text})", killed if "Killed" in text else ""
    status = int(failed.get("status") or 0)
    if status >= 0:
        return f"failed (status {status})", ""
    name = signal.Signals(-status).name if -status in signal.valid_signals() else "?"
    return f"was killed (signal {-status}, {name})", killed if -status == signal.SIGKILL else ""


def names(members: Sequence[Member]) -> str:
    """Return processes by their numbers and nodes: "ranks 0-1 on gpu01 and rank 2 on gpu02"."""
    by_host: dict[str, list[int]] = {}
    for one in members:
        by_host.setdefault(one.host, []).append(one.rank)
    return " and ".join(
        f"rank{'s' if len(ranks) > 1 else ''} {ranges(ranks)}{f' on {host}' if host else ''}"
        for host, ranks in by_host.items()
    )


def _order(one: Member) -> tuple[bool, float]:
    # Whoever was killed was first: the others only noticed. Clocks of nodes differ by less than such failures take.
    failed = one.failed or {}
    return int(failed.get("status") or 0) >= 0, float(failed.get("time", 0.0))
