"""The machine that a notebook runs on: the facts of the site that a student may know, and what the kernel sees."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from davide_course import slurm

GPU_FILES = "nvidia[0-9]*"

DAVIDE = """\
**D.A.V.I.D.E.** (CINECA and E4, in production 2018-2019) had 45 nodes, `davide01` to `davide45`, each with two IBM
POWER8 processors of eight cores and four Tesla P100 GPUs. A job took what it needed of a node; the natural slice was
one GPU with 4 cores and 63,000 MB of memory, a quarter of all three. Users logged in on `davidefe02`, gave `--account`
and `--mem` with every job, and sent it to the partition `dvd_usr_prod`. This course was first taught for that machine;
it is retired."""


@dataclass(frozen=True)
class Site:
    """What a student may know of a site: its name, Slurm's partitions, the rows of the session menu."""

    name: str
    cluster: str
    account: str
    partitions: tuple[dict[str, Any], ...]
    profiles: tuple[dict[str, Any], ...]
    per_user: int
    known: bool = True


# Where there are no facts: the node of D.A.V.I.D.E. and its natural slice, so that the lesson has something to count.
EXAMPLE = Site(
    name="an example",
    cluster="davide",
    account="ACCOUNT",
    partitions=({"name": "dvd_usr_prod", "nodes": 45, "cores": 16, "memory_gb": 252, "gpus": 4, "max_hours": 8},),
    profiles=(
        {"title": "One GPU", "partition": "dvd_usr_prod", "cores": 4, "memory_gb": 63, "gpus": 1, "hours": 2},
        {
            "title": "One GPU, all cores",
            "partition": "dvd_usr_prod",
            "cores": 16,
            "memory_gb": 63,
            "gpus": 1,
            "hours": 2,
        },
        {"title": "Four GPUs", "partition": "dvd_usr_prod", "cores": 16, "memory_gb": 252, "gpus": 4, "hours": 2},
    ),
    per_user=1,
    known=False,
)


def site() -> Site:
    """Return the facts of this site, from the file that DAVIDE_SITE names (the kernels' launch script sets it).

    Returns
    -------
    Site
        An example with `known=False` where there is no such file: a notebook opened elsewhere still runs.
    """
    path = Path(os.environ.get("DAVIDE_SITE", ""))
    if not path.is_file():
        return EXAMPLE
    read = json.loads(path.read_text(encoding="utf-8"))
    read["partitions"] = tuple(one | {"nodes": sum(map(_count, one["nodes"]))} for one in read["partitions"])
    read["profiles"] = tuple(read["profiles"])
    # The file is for whoever runs in a session, and tells more than lessons ask for.
    return Site(**{field.name: read[field.name] for field in fields(Site) if field.name in read})


def _count(names: str) -> int:
    """Return how many nodes stand in one entry, as Slurm writes them: 1 for gpu01, 46 for gpu[01-45,99]."""
    inside = re.search(r"\[([0-9,-]+)\]", names)
    ranges = [part.partition("-") for part in inside[1].split(",")] if inside else []
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges) or 1


class Story:
    """The machine's story, as a notebook shows it."""

    def __init__(self, of: Site) -> None:
        self.text = "\n\n".join(story(of))

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def story(of: Site) -> list[str]:
    """Return the paragraphs about a site: D.A.V.I.D.E.'s history where its name is used, then what there is here."""
    here = [DAVIDE] if of.cluster == "davide" else []
    if not of.known:
        return [
            *here,
            "*This kernel has no facts of a site: where a lesson needs some, it takes those of D.A.V.I.D.E.*",
        ]
    for one in of.partitions:
        gpus = f"{one['gpus']} GPUs, " if one["gpus"] else ""
        here.append(
            f"**{of.name}**, where you are now: partition `{one['name']}`, {one['nodes']} nodes, each with "
            f"{one['cores']} cores, {gpus}{one['memory_gb']} GB of memory; a job may take {one['max_hours']} hours. "
            f"Sessions are charged to the account `{of.account}`; you may have {of.per_user} at a time."
        )
    return here


def look() -> str | None:
    """Print in a sentence where this notebook runs, and return the number of its job (None outside of one)."""
    number = slurm.job()
    if number is None:
        print(f"{slurm.OUTSIDE}: commands are shown with examples of what they print.")
    elif not slurm.in_reach():
        print(f"This notebook runs in job {number}, but this host has no Slurm commands: they are shown with examples.")
    else:
        node = os.environ.get("SLURMD_NODENAME", os.uname().nodename)
        print(f"This notebook runs in Slurm job {number} on the node {node}.")
    return number


def ancestors(process: int | None = None) -> list[tuple[int, str]]:
    """Return the number and the name of a process and of all that it descends from, as far as they can be seen (Linux).

    Parameters
    ----------
    process
        Its number; this one if None.
    """
    found = []
    current = os.getpid() if process is None else process
    while current > 0:
        try:
            status = Path(f"/proc/{current}/status").read_text(encoding="utf-8")
        except OSError:
            break
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        found.append((current, lines["Name"]))
        current = int(lines["PPid"])
    return found


def gpu_files(folder: Path = Path("/dev")) -> dict[str, str]:
    """Return the GPUs of this node, and for each whether this job may open it."""
    states = {}
    for path in sorted(folder.glob(GPU_FILES)):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except PermissionError:
            states[path.name] = "not yours: the node refuses it"
        except OSError:
            # A stand-in without a driver: the job was let through to it.
            states[path.name] = "yours"
        else:
            states[path.name] = "yours"
    return states
