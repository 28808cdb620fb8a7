"""Slurm's commands from a notebook: a fixed list of words, no shell, and a sentence where they can't run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

OUTSIDE = "This notebook runs outside a Slurm job"
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status (0 is good)."""

    command: str
    text: str
    status: int


# The last answer to every command that this notebook ran, for the report of lesson 11.
RAN: dict[str, Answer] = {}


def job() -> str | None:
    """Return the number of the Slurm job that this notebook runs in; None outside of one."""
    return os.environ.get("SLURM_JOB_ID") or None


def in_reach() -> bool:
    """Return whether this notebook runs in a Slurm job and can ask Slurm about it."""
    return job() is not None and shutil.which("scontrol") is not None


def ask(command: str, seconds: float = PATIENCE_SECONDS) -> Answer:
    """Run a command and return its answer; what went wrong is in its text, and its status is not 0.

    Parameters
    ----------
    command
        As one types it into a terminal. It is cut into words and started without a shell: `|` and `*` mean nothing.
    seconds
        How long it may take.
    """
    words = shlex.split(command)
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds, check=False, env=environment(), errors="replace"
        )
    except FileNotFoundError:
        found = Answer(command, f"{words[0]}: there is no such command on this host", 127)
    except subprocess.TimeoutExpired:
        found = Answer(command, f"{words[0]} gave no answer for {seconds:g} s; try again in a minute", 124)
    else:
        found = Answer(command, (done.stdout + done.stderr).strip(), done.returncode)
    RAN[command] = found
    return found


def show(command: str, example: str = "") -> None:
    """Print a command and its output, as `read` does."""
    read(command, example)


def read(command: str, example: str = "") -> str:
    """Print a command and its output, and return the output.

    Outside a Slurm job it is not run: then the example is shown, and named as one.
    """
    print(f"$ {command}")
    if in_reach():
        text = ask(command).text
        print(text)
        return text
    print(f"({OUTSIDE}, so the command was not run.{' An example of its output:)' if example else ')'}")
    if example:
        print(example)
    return example


def fields(text: str) -> dict[str, str]:
    """Return what `scontrol show job` or `scontrol show node` prints, Key=Value after Key=Value, as a dictionary."""
    return dict(re.findall(r"(?:^|\s)([A-Za-z][\w:/]*)=(\S*)", text))


def environment(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for commands and jobs that are started from a notebook.

    Without the SLURM_* variables of this session, which sbatch and srun would take for options of the new job; and with
    nothing that Slurm should not keep in its spool, such as the session's tokens.
    """
    kept = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TERM", "SLURM_CONF")
    given = os.environ if of is None else of
    return {name: given[name] for name in kept if name in given}


def gpus(listed: str) -> int:
    """Return how many GPUs a list of Slurm's names: "0,2-3" are three, "" is none."""
    count = 0
    for part in filter(None, listed.split(",")):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def gpus_of_tres(tres: str) -> int:
    """Return the number of GPUs in a list of trackable resources such as "cpu=4,mem=6G,gres/gpu=1"."""
    found = re.search(r"gres/gpu=(\d+)", tres)
    return int(found.group(1)) if found else 0
