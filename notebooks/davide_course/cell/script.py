"""The job script of a cell: one that a student could have written, and will write one day."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from davide_course.cell.options import Request

# Before the time limit, so that davide_course.walltime can save. Slurm sends it up to a minute early, so that in a
# shorter job it would come before anything is there to hear it.
SAVE_SECONDS = 120
SAVE_FROM_MINUTES = 5


def job_script(asked: Request, name: str, folder: Path, run: Path, python: str) -> str:
    """Return the script that sbatch gets.

    Parameters
    ----------
    name
        Of the job, as squeue shows it.
    folder, run
        What the job's processes read and write; what the user's code saves.
    python
        The program that each process begins with: the notebook's own Python, or the kernel's launch script.
    """
    a_node = asked.tasks // asked.nodes
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={name}",
        f"#SBATCH --account={asked.account}" if asked.account else "",
        f"#SBATCH --partition={asked.partition}" if asked.partition else "",
        f"#SBATCH --qos={asked.qos}" if asked.qos else "",
        f"#SBATCH --reservation={asked.reservation}" if asked.reservation else "",
        f"#SBATCH --nodes={asked.nodes}",
        f"#SBATCH --ntasks-per-node={a_node}",
        f"#SBATCH --cpus-per-task={asked.cores}",
        f"#SBATCH --mem={asked.memory_mb * a_node}M" if asked.memory_mb else "",
        f"#SBATCH --gres=gpu:{asked.gpus // asked.nodes}" if asked.gpus else "",
        f"#SBATCH --time={asked.minutes}",
        f"#SBATCH --signal=USR1@{SAVE_SECONDS}" if asked.minutes >= SAVE_FROM_MINUTES else "",
        "#SBATCH --no-requeue",
        "#SBATCH --output=job.txt",
    ]
    words = [
        f"--ntasks={asked.tasks}",
        f"--cpus-per-task={asked.cores}",
        "--distribution=block",
        "--kill-on-bad-exit=1",
    ]
    if asked.gpus:
        words.insert(1, f"--gres=gpu:{asked.gpus // asked.nodes}")
    body = f"""
# Where the notebook is, and where the code saves what a rerun shall find.
cd {shlex.quote(str(Path.cwd()))}
export DAVIDE_RUN_DIR={shlex.quote(str(run))}

# srun starts the processes, {a_node} on each node, and ends all when one fails. Each waits for the others, makes
# TF_CONFIG of the nodes' names, takes its own GPU if there is one, and runs the {"script" if asked.script else "cell"}.
exec srun {" ".join(words)} \\
    {shlex.quote(python)} -P -m davide_course.cell.rank {shlex.quote(str(folder))}
"""
    return "\n".join(line for line in lines if line) + "\n" + body


def beginning(environ: Mapping[str, str] = os.environ) -> str:
    """Return what a process of the job begins with: the launch script of this kernel, which prepares what it needs."""
    return environ.get("DAVIDE_LAUNCH") or sys.executable
