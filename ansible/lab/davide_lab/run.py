"""Running other programs, with an error that a person can use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from davide_lab.say import Problem

# Files whose lock the programs we start hold too: where we are killed, what we started still keeps others out.
held: list[int] = []


def run(
    argv: Sequence[str | Path],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str = "",
) -> str:
    """Run a program to its end and return its standard output.

    Parameters
    ----------
    argv
        Program and arguments; no shell is involved.
    environ
        Variables to set beside the ones we have.
    cwd
        Folder to run in.
    hint
        What a person can do when it fails.

    Raises
    ------
    Problem
        If it can't be started or its exit status isn't 0; names the program and holds its last lines.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(environ or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(held),
        )
    except FileNotFoundError as error:
        raise Problem(f"the program {words[0]} is missing on this machine; install it") from error
    if done.returncode:
        said = [text for text in (done.stdout + done.stderr).splitlines() if text.strip()][-8:]
        fix = f" {hint}." if hint else ""
        raise Problem(
            f"`{' '.join(words)[:160]}` failed with status {done.returncode}.{fix} It said:\n  " + "\n  ".join(said)
        )
    return done.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Say whether a program ends with status 0."""
    words = [str(word) for word in argv]
    return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
