"""What the hub asks Slurm: fixed commands, to which nothing but job numbers is added.

The hub runs them by itself, or has them run by a broker on another host (`broker/questions.py`). Which command a
question is stands here once, so that both ways ask the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

AboutJobs = Literal["queue", "states", "accounting"]
AboutSlurm = Literal["marks", "version", "nodes", "reservations", "associations"]
Question = AboutJobs | AboutSlurm

# Times as seconds since 1970: where the broker asks, it may be in another time zone than the hub.
ENVIRONMENT = {"LANG": "C.UTF-8", "SLURM_TIME_FORMAT": "%s"}
# squeue says this, and exits with 1, if it is asked about one job and that one is gone.
_GONE = "Invalid job id specified"
# A frozen controller holds squeue for 18-20 s. Nobody waits for that.
SECONDS = 15
# The marks of a queue of 80,000 jobs; what is longer is no answer.
MOST_BYTES = 8 * 1024 * 1024
# Slurm's commands complain in a few lines, and one of them is looked for; what is longer is cut off.
MOST_COMPLAINTS = 64 * 1024

COMMANDS: dict[Question, tuple[str, ...]] = {
    # All stands before the reason, which may be any text. %B is the node where the script runs, %V %S %e are the times
    # of submission, start (of a waiting job: as Slurm plans it) and end, %Q is the priority. --all: jobs in partitions
    # that are hidden too.
    "queue": ("squeue", "--local", "--all", "--states=all", "--format=%i|%T|%B|%U|%P|%Q|%V|%S|%e|%r"),
    # From 23.11 on: one RPC that takes none of the controller's locks, and tells nothing but the state.
    "states": ("squeue", "--local", "--only-job-state", "--states=all", "--format=%i|%T"),
    "accounting": ("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobIDRaw,State,NodeList,UID"),
    "marks": ("squeue", "--local", "--all", "--format=%i|%T|%u|%k"),
    "version": ("squeue", "--version"),
    # For the session form. A line for each node and partition; no size after ":", so that nothing is cut off.
    "nodes": (
        "sinfo",
        "--all",
        "--Node",
        "--Format=NodeList:|,PartitionName:|,StateComplete:|,Gres:|,GresUsed:|,CPUsState:|,Memory:|,AllocMem:",
    ),
    "reservations": ("scontrol", "--oneliner", "show", "reservation"),
    # Of all users in one: a class that opens the form together costs one query of the database.
    "associations": (
        "sacctmgr",
        "--parsable2",
        "--readonly",
        "show",
        "associations",
        "format=Cluster,Account,User,QOS",
    ),
}


class SlurmSilent(Exception):  # noqa: N818 - it is what it says
    """Slurm did not answer, or nothing that can be believed."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether Slurm says that it has none of the jobs it was asked about."""
        return self.code != 0 and _GONE in self.err

    @property
    def is_answer(self) -> bool:
        """Whether Slurm answered at all; whether its answer can be believed, who reads it decides."""
        return self.code == 0 or self.is_gone


def command(question: Question, jobs: Collection[str]) -> tuple[str, ...]:
    """Return the command of a question, about these jobs if it is about jobs."""
    fixed = COMMANDS[question]
    return (*fixed, f"--jobs={','.join(sorted(jobs))}") if jobs else fixed
