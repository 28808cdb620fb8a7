"""Telling programs of the session that its end is near: those that asked for it, and no other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Where programs ask: an empty file there whose name is the process's number. Kernels and terminals inherit it.
VARIABLE = "DAVIDE_WALLTIME"
# There from now on, for programs that begin to ask later.
_SOON = "soon"


def tell(folder: Path, proc: Path = Path("/proc")) -> list[int]:
    """Send SIGUSR1 to each process that has a file in `folder` and a handler; return whom.

    Nobody else: the signal ends a program that does not know it, R saves its workspace and quits, Julia prints a
    profile. The number of a program that ended may by now be another's, and that one has no handler of the course's.
    """
    (folder / _SOON).touch()
    told = []
    for file in sorted(folder.iterdir()):
        if file.name.isdecimal() and _listens(proc / file.name):
            try:
                os.kill(int(file.name), signal.SIGUSR1)
            except (ProcessLookupError, PermissionError):
                continue
            told.append(int(file.name))
    return told


def _listens(process: Path) -> bool:
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return False
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)
