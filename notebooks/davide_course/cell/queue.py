"""What Slurm is asked about a job, and what its answers prove.

A job has ended when Slurm names a final state. That squeue does not list it proves nothing (it forgets jobs, and a
restarted controller is late), so accounting is asked. A Slurm that does not answer ends nothing.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from davide_course import slurm
from davide_course.cell import states
from davide_course.cell.waiting import why_waiting

# A frozen controller holds squeue for 18-20 s. Nobody waits for that.
SECONDS = 15.0
# These pass by no waiting: rather too few, since a job that waits for them is cancelled.
HOPELESS = {
    "AccountNotAllowed",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "JobHoldMaxRequeue",
    "JobLaunchFailure",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
    "ReservationDeleted",
}
# What the hub says of reasons, by a link to its file.
WORDS = Path(__file__).with_name("reasons.yml")

Phase = Literal["unknown", "absent", "waiting", "running", "ended"]
_PHASES: dict[states.Phase, Phase] = {
    states.Phase.ENDED: "ended",
    states.Phase.RUNNING: "running",
    states.Phase.ENDING: "running",
}


class Refused(Exception):  # noqa: N818 - what Slurm did
    """Slurm does not take the job; the text is its own."""


class Silent(Exception):  # noqa: N818 - what Slurm is
    """Slurm did not answer."""


@dataclass(frozen=True)
class Look:
    """What one look at the queue has shown.

    Attributes
    ----------
    state, reason, starts
        Slurm's words: its state, why it waits or ended, and when it plans to start it.
    """

    phase: Phase
    state: str = ""
    reason: str = ""
    starts: str = ""

    @property
    def why(self) -> str:
        """Why the job waits, in words."""
        return why_waiting(self.reason, words())[1]

    @property
    def hopeless(self) -> bool:
        """Whether the job would wait for ever."""
        return self.phase == "waiting" and self.reason in HOPELESS


@cache
def words() -> dict[str, str]:
    """Return the hub's words: of its YAML just the lines that are a name and a text, since kernels have no YAML."""
    lines = (line.partition(": ") for line in WORDS.read_text().splitlines() if line[:1].isalpha())
    return {name: text.strip('"') for name, _, text in lines}


def submit(script: Path, name: str) -> str:
    """Send a job script and return the job's number.

    Raises
    ------
    Refused
        With Slurm's words.
    Silent
        If it is not known whether Slurm has the job; `name` finds it, should it come.
    """
    try:
        done = _run("sbatch", "--parsable", str(script), folder=script.parent, seconds=2 * SECONDS)
    except Silent:
        return _find(name)
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1].split(";")[0]
    said = re.sub(r"(?m)^sbatch: (error: )?", "", done.stderr).strip()
    if re.search(r"timed out|[Uu]nable to contact|temporarily", said):
        return _find(name)
    raise Refused(said.splitlines()[-1] if said else f"sbatch ended with status {done.returncode}")


def _find(name: str) -> str:
    # The reply may have been lost, not the order.
    found = _run("squeue", "--me", f"--name={name}", "--noheader", "--format=%i")
    if found.returncode == 0 and found.stdout.strip():
        return found.stdout.split()[0]
    raise Silent("Slurm gave no answer to sbatch")


def look(number: str) -> Look:
    """Return what Slurm says of a job."""
    try:
        done = _run("squeue", f"--jobs={number}", "--states=all", "--noheader", "--format=%T|%S|%r")
        if done.returncode == 0 and (rows := done.stdout.strip().splitlines()):
            return _read(rows[-1])
        if done.returncode == 0 or "Invalid job id" in done.stderr:
            return _account(number)
    except Silent:
        pass
    return Look("unknown")


def _read(row: str) -> Look:
    state, starts, reason = [*row.split("|", 2), "", ""][:3]
    if not re.fullmatch("[A-Z_]+", state):
        return Look("unknown")  # a message where an answer should be
    reason = re.split(r"[,(]", reason.strip("() "))[0].strip()
    phase: Phase = _PHASES.get(states.phase_of(state), "waiting")
    return Look(phase, state, reason, "" if starts in ("N/A", "n/a") else starts)


def _account(number: str) -> Look:
    try:
        done = _run("sacct", f"--jobs={number}", "--noheader", "--parsable2", "--allocations", "--format=State")
    except Silent:
        return Look("absent")
    # "CANCELLED by 1000"
    words = done.stdout.split()
    return Look("ended", words[0]) if done.returncode == 0 and words and words[0] in states.FINAL else Look("absent")


def cancel(number: str, name: str) -> bool:
    """End a job, by its name where its number isn't known, and return whether Slurm took the order."""
    which = [number] if number else [f"--user={pwd.getpwuid(os.getuid()).pw_name}", f"--name={name}"]
    try:
        done = _run("scancel", *which)
    except Silent:
        return False
    return done.returncode == 0 or "Invalid job id" in done.stderr or "already" in done.stderr


def listed(name: str) -> bool:
    """Return whether a job of this user with this name is in the queue, also if Slurm does not tell."""
    try:
        done = _run("squeue", "--me", f"--name={name}", "--noheader", "--format=%i")
    except Silent:
        return True
    return done.returncode != 0 or bool(done.stdout.strip())


def _run(*command: str, folder: Path | None = None, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=slurm.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            # Interrupting a cell sends SIGINT to the whole group of processes; an order shall not be cut short by it.
            start_new_session=True,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Silent(f"{command[0]}: {error}") from None


class Asker:
    """Asks Slurm beside the cell, since an answer may take long: often at first, more seldom later."""

    def __init__(self, number: str) -> None:
        self._number = number
        self.calm = False  # whether the job's own processes tell how it is
        self._latest = Look("unknown")
        self._absent = 0
        self._hurry = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    @property
    def latest(self) -> Look:
        """The last answer; one that says nothing does not take the place of one that does."""
        return self._latest

    @property
    def gone(self) -> bool:
        """Whether neither the queue nor accounting has known the job, three times in a row."""
        return self._absent >= 3

    def hurry(self) -> None:
        """Ask now, and every second from now on."""
        self._hurry.set()

    def close(self) -> None:
        """Ask no more."""
        self._end.set()
        self._hurry.set()

    def _ask(self) -> None:
        began = time.monotonic()
        while not self._end.is_set():
            found = look(self._number)
            self._absent = self._absent + 1 if found.phase == "absent" else 0
            if found.phase not in ("unknown", "absent"):
                self._latest = found
            asked = time.monotonic()
            # In short waits, since calm may end at any time.
            while not self._hurry.wait(0.5) and time.monotonic() - asked < pause(asked - began, calm=self.calm):
                pass
            if self._hurry.is_set():
                self._end.wait(1.0)


def pause(seconds: float, *, calm: bool) -> float:
    """Return how long to wait before Slurm is asked again; a class of students asks together."""
    if calm:
        return 15.0
    return 2.0 if seconds < 30 else 5.0 if seconds < 300 else 10.0
