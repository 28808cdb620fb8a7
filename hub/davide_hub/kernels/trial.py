"""The test of a kernel on a node: a job that runs its selftest.py, and what came back, in words."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_hub.facts import Partition, Site
from davide_hub.kernels.choice import Known, load_installed, obstacles, places
from davide_hub.kernels.recipe import Recipe
from davide_hub.visible import visible

WAIT_SECONDS = 60
LIMIT_MINUTES = 5
# A job's start, its limit, and Slurm's own delays.
PATIENCE_SECONDS = WAIT_SECONDS + LIMIT_MINUTES * 60 + 60
# Slurm's words where the job never ran.
NO_NODE = ("Unable to allocate", "Requested nodes are busy", "Immediate execution impossible", "Unable to contact")
# What srun says of a task that died, srun's own status for it, and what is behind it most often.
_CAUSES = (
    (
        "Illegal instruction",
        128 + signal.SIGILL,
        "the processor lacks an instruction that TensorFlow was built with (AVX)",
    ),
    ("oom", 253, "the memory of the job was too small"),
    ("Killed", 128 + signal.SIGKILL, "the memory of the job was too small, or somebody cancelled it"),
    ("Segmentation fault", 128 + signal.SIGSEGV, "a library does not fit the node's system or driver"),
    ("noexec", 126, "the nodes may not execute the launch script: is the file system mounted with noexec there"),
    (
        "No such file",
        127,
        "the nodes do not see the launch script, or what it starts: is the software folder mounted there",
    ),
    ("DUE TO TIME LIMIT", 143, "the node is overloaded, or the file system so slow that the imports took minutes"),
)


@dataclass(frozen=True)
class Outcome:
    """What a test came to.

    Attributes
    ----------
    kernel
        Its name.
    passed
        Whether the kernel works; None if it could not be tried.
    report
        What selftest.py found; empty if it did not get that far.
    why
        Why there is no report, with the likely cause.
    """

    kernel: str
    passed: bool | None
    report: dict[str, Any]
    why: str


def try_kernel(site: Site, folder: Path, user: str) -> Outcome:
    """Run a kernel's test on a node that it fits, and return what came back.

    Parameters
    ----------
    site
        The site's facts.
    folder
        The installed kernel: its files as the play puts them.
    user
        Whose job it is, if root runs this.
    """
    recipe = load_installed(folder)
    partition = fitting_partition(site, folder.name, recipe)
    if partition is None:
        return Outcome(folder.name, None, {}, "no partition of the site fits it; see davide-hub kernels choose")
    if not shutil.which("srun"):
        return Outcome(folder.name, None, {}, "this host has no srun; run it on a host with Slurm's commands")
    command = job(site, recipe, partition, folder)
    if os.geteuid() == 0:
        command = ["runuser", "-u", user, "--", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return Outcome(folder.name, None, {}, f"Slurm did not end the job in {PATIENCE_SECONDS} s; see squeue")
    return judged(folder.name, done.returncode, done.stdout, done.stderr)


def fitting_partition(site: Site, name: str, recipe: Recipe) -> Partition | None:
    """Return the first partition whose nodes a kernel fits."""
    known = Known(name, recipe, {})
    for partition, place in zip(site.slurm.partitions, places(site), strict=True):
        if not obstacles(known, place, site.kernel_sources):
            return partition
    return None


def job(site: Site, recipe: Recipe, partition: Partition, folder: Path) -> list[str]:
    """Return the command that runs a kernel's test as a job: one GPU if the kernel needs one."""
    kind = f":{partition.gpu_type}" if partition.gpu_type else ""
    return [
        "srun",
        "--quiet",
        f"--immediate={WAIT_SECONDS}",
        "--job-name=kernel-test",
        f"--account={site.slurm.account}",
        f"--partition={partition.name}",
        *([f"--gres=gpu{kind}:1"] if recipe.needs_gpu else []),
        "--ntasks=1",
        f"--cpus-per-task={min(2, partition.cores)}",
        f"--mem={min(4, partition.memory_gb)}G",
        f"--time={LIMIT_MINUTES}",
        "--chdir=/",
        str(folder / "launch"),
        str(folder / "selftest.py"),
        "--json",
    ]


def judged(kernel: str, status: int, output: str, complaint: str) -> Outcome:
    """Return what a job's status and output mean."""
    report = _report(output)
    if report:
        return Outcome(kernel, bool(report["passed"]), report, "")
    last = visible(" ".join(complaint.strip().splitlines()[-3:]))
    if any(words in complaint for words in NO_NODE):
        return Outcome(kernel, None, {}, f"no node was free: {last}")
    return Outcome(
        kernel,
        False,
        {},
        f"the job ended with status {status} before a report: {last}; {likely_cause(status, complaint)}",
    )


def _report(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            return found if isinstance(found, dict) and "rows" in found else {}
    return {}


def likely_cause(status: int, complaint: str) -> str:
    """Return what is most often behind a job's end, from srun's status and words."""
    fits = (text for words, code, text in _CAUSES if code == status or (words and words in complaint))
    return f"likely cause: {next(fits, 'none known; run the launch script in a job by hand')}"


def told(outcome: Outcome) -> str:
    """Return an outcome for people; the last line is the sum of it."""
    word = {True: "passed", False: "WRONG", None: "not tried"}[outcome.passed]
    if not outcome.report:
        return f"{outcome.kernel}: {word}: {outcome.why}"
    report = outcome.report
    lines = [
        f"{outcome.kernel} on {visible(str(report['node']))}: Python {report['python']}, {report['threads']} threads"
    ]
    for row in report["rows"]:
        mark = "ok   " if row["passed"] else "WRONG"
        lines.append(f"  {mark} {row['name']:<18} {row['seconds']:5.1f} s  {visible(str(row['found']))}")
        if row["cause"]:
            lines.append(f"        likely cause: {row['cause']}")
    return "\n".join([*lines, f"{outcome.kernel}: {word}"])


def fingerprint(folder: Path, software: Path) -> str:
    """Return what tells the state of a kernel that passed from any later one."""
    environment = load_installed(folder).environment
    made = str((software / "envs" / environment).resolve()) if environment else ""
    digest = hashlib.sha256()
    for name in ("kernel.json", "kernel.yml", "launch", "selftest.py", "warm.py"):
        digest.update((folder / name).read_bytes())
    return f"{made} {digest.hexdigest()}"
