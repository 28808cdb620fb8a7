"""Folders of runs, `runs/NAME`: what a rerun finds again; and below each the folders of its jobs, `.job-...`."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from davide_course.cell import queue
from davide_course.cell.options import Refused

KEPT = 2  # folders of earlier jobs: their scripts and their output
_ENDED = "ended"
_PATIENCE = 40.0  # Slurm gives processes 30 s between SIGTERM and SIGKILL


@contextmanager
def taken(root: Path, name: str, *, fresh: bool) -> Iterator[Path]:
    """Take a run's folder for the time of a `with` block.

    Parameters
    ----------
    root
        Where the runs are.
    name
        The run's; "" for a new one, named by the time.
    fresh
        Put aside what an earlier run left.

    Raises
    ------
    Refused
        If another cell is using it, or its last job is still there.
    """
    run = root / name if name else _new(root)
    run.mkdir(parents=True, exist_ok=True)
    lock = os.open(run / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(lock, run)
        _end_orphans(run)
        if fresh and any(not path.name.startswith(".") for path in run.iterdir()):
            aside = run.with_name(f"{run.name}.before-{time.strftime('%Y-%m-%d-%H%M%S')}")
            aside.mkdir()
            for path in run.iterdir():
                if not path.name.startswith((".lock", ".job-")):
                    path.rename(aside / path.name)
        yield run
    finally:
        os.close(lock)


def job_folder(run: Path, token: str) -> Path:
    """Return a place for a new job's folder, and remove those of old ones."""
    old = sorted(run.glob(".job-*"))
    for path in old[: max(0, len(old) - KEPT + 1)]:
        shutil.rmtree(path, ignore_errors=True)
    return run / f".job-{time.strftime('%Y%m%d-%H%M%S')}-{token}"


def note_name(folder: Path, name: str) -> None:
    """Write down which job belongs to a folder, before it is sent."""
    (folder / "name").write_text(name)


def note_end(folder: Path) -> None:
    """Write down that a folder's job has ended, or was told to."""
    (folder / _ENDED).touch()


def _new(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    for number in range(1000):
        path = root / (time.strftime("%Y-%m-%d-%H%M%S") + (f"-{number}" if number else ""))
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise Refused(f"{root} has no room for a new run; name one with --run.")


def _lock(lock: int, run: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(
            f"Another cell is working in {run}: two jobs would write over each other's files. "
            "Wait for its end, or give this one another --run."
        ) from None
    except OSError:
        pass  # some file systems of clusters have no locks; two cells are then the user's care


def _end_orphans(run: Path) -> None:
    """End jobs of this run whose notebook went away: no cell holds the lock, so nobody waits for them."""
    for folder in run.glob(".job-*"):
        name = folder / "name"
        if (folder / _ENDED).exists() or not name.exists():
            continue
        queue.cancel("", name.read_text())
        deadline = time.monotonic() + _PATIENCE
        while queue.listed(name.read_text()):
            if time.monotonic() > deadline:
                raise Refused(
                    f"An earlier job of {run} ({name.read_text()}) was told to end and is still there, or Slurm does "
                    "not answer: see `squeue --me`, and try again."
                )
            time.sleep(0.5)
        note_end(folder)
