"""Checks of lesson 11, the machine and Jupyter on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from davide_course import queueing, slurm
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["prediction", "report", "send", "share_of_node", "where_am_i", "witnesses"]

LESSON = Lesson("11", ("where_am_i", "share_of_node"))
GPUS = 8
WAIT_SECONDS = 60

# Made for reading where there is no Slurm; the form is that of Slurm 22.05.
EXAMPLE_JOB = "4711"
EXAMPLE_SQUEUE = """\
             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)
              4711 dvd_usr_p  jupyter student0  R      12:03      1 davide07
              4712 dvd_usr_p training student0 PD       0:00      1 (Resources)"""
EXAMPLE_SCONTROL = """\
JobId=4711 JobName=jupyter
   UserId=student01(6001) Account=tra26_davide JobState=RUNNING
   RunTime=00:12:03 TimeLimit=02:00:00
   Partition=dvd_usr_prod NodeList=davide07 BatchHost=davide07
   NumNodes=1 NumCPUs=4 NumTasks=1 CPUs/Task=4
   TRES=cpu=4,mem=63000M,node=1,billing=4,gres/gpu=1"""
EXAMPLE_TIMES = "JOBID,NAME,TIME,TIME_LIMIT,TIME_LEFT\n4711,jupyter,12:03,2:00:00,1:47:57"
EXAMPLE_SINFO = """\
NODELIST STATE CPUS(A/I/O/T) MEMORY GRES
davide07 mix 12/4/0/16 252000 gpu:tesla:4
davide08 idle 0/16/0/16 252000 gpu:tesla:4"""
EXAMPLE_SACCT = """\
JobID                     JobName      State    Elapsed   TotalCPU
------------ -------------------- ---------- ---------- ----------
4711                      jupyter    RUNNING   00:12:03   00:00:00
4713                  from-a-cell  COMPLETED   00:00:01  00:00.041"""
EXAMPLE_ENVIRONMENT = {
    "SLURM_JOB_ID": "4711",
    "SLURMD_NODENAME": "davide07",
    "SLURM_CPUS_ON_NODE": "4",
    "SLURM_JOB_GPUS": "2",
    "SLURM_JOB_PARTITION": "dvd_usr_prod",
}

# Two jobs, and a host outside of any. No variable has the same value twice, so that each mistake shows.
HIDDEN: tuple[tuple[dict[str, str], tuple[str, str, int, int]], ...] = (
    (
        {
            "SLURM_JOB_ID": "31337",
            "SLURMD_NODENAME": "davide23",
            "SLURM_SUBMIT_HOST": "davidefe02",
            "SLURM_CPUS_ON_NODE": "12",
            "SLURM_JOB_GPUS": "0,2-3",
            "SLURM_JOB_NODELIST": "davide[23-24]",
            "SLURM_CPUS_PER_TASK": "6",
            "CUDA_VISIBLE_DEVICES": "0,1,2",
        },
        ("31337", "davide23", 12, 3),
    ),
    (
        {
            "SLURM_JOB_ID": "99",
            "SLURMD_NODENAME": "davide02",
            "SLURM_SUBMIT_HOST": "davidefe02",
            "SLURM_CPUS_ON_NODE": "8",
            "SLURM_JOB_NODELIST": "davide02",
        },
        ("99", "davide02", 8, 0),
    ),
)
LOGIN_NODE = {"USER": "student01", "HOSTNAME": "davidefe02"}


def where_am_i(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `where_am_i(environment)` returns job, node, cores and GPUs; None outside of a job."""
    return LESSON.run("where_am_i", _check_where, attempt, "Jobs with and without GPUs, and no job at all: all right.")


def share_of_node(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `share_of_node(asked, node)` returns the largest share."""
    return LESSON.run("share_of_node", _check_share, attempt, "The largest share counts, on nodes without GPUs too.")


def witnesses(environment: Mapping[str, str], by_slurm: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return each fact of this job as the environment has it, and as `scontrol show job` has it.

    Parameters
    ----------
    environment
        Of this process. Outside of a Slurm job the example's takes its place.
    by_slurm
        The fields that `scontrol show job` printed.
    """
    mine = environment if slurm.in_reach() else EXAMPLE_ENVIRONMENT
    tres = by_slurm.get("TRES") or by_slurm.get("AllocTRES", "")
    gpus = slurm.gpus(mine.get("SLURM_JOB_GPUS", ""))
    return {
        "job": (mine.get("SLURM_JOB_ID", ""), by_slurm.get("JobId", "")),
        "node": (mine.get("SLURMD_NODENAME", ""), by_slurm.get("BatchHost") or by_slurm.get("NodeList", "")),
        "cores": (mine.get("SLURM_CPUS_ON_NODE", ""), by_slurm.get("NumCPUs", "")),
        "GPUs": (str(gpus), str(slurm.gpus_of_tres(tres))),
        "partition": (mine.get("SLURM_JOB_PARTITION", ""), by_slurm.get("Partition", "")),
    }


def send(script: str) -> str:
    """Send a batch script, wait for its end, and return what it printed; a sentence where that is not possible.

    Parameters
    ----------
    script
        It writes its output to the file `from-a-cell.out`, which is read and removed again.
    """
    if not slurm.in_reach():
        return f"({slurm.OUTSIDE}, so nothing was sent.)"
    with tempfile.NamedTemporaryFile("w", suffix=".sbatch", dir=Path.cwd()) as file:
        file.write(script)
        file.flush()
        answer = slurm.ask(f"sbatch --wait --parsable {Path(file.name).name}", seconds=WAIT_SECONDS)
    if answer.status == 124:
        del slurm.RAN[answer.command]  # a busy cluster is no mistake
        slurm.ask("scancel --me --name=from-a-cell")
        return (
            f"The cluster is busy: the job did not end within {WAIT_SECONDS} s, and was cancelled. Run the cell again."
        )
    if answer.status != 0:
        return answer.text
    output = Path("from-a-cell.out")
    if not output.is_file():
        return f"The job has ended, but {output} is not to be seen here yet: look into the folder in a minute."
    text = output.read_text(encoding="utf-8").strip()
    output.unlink()
    return text


def report(jobs: Sequence[queueing.Job], in_turn: Sequence[float], filled: Sequence[float]) -> Report:
    """Return how the lesson stands; Slurm is asked anew, and the schedules are checked before they count.

    Parameters
    ----------
    jobs
        The simulated jobs.
    in_turn, filled
        When each of them started, without and with backfill.
    """
    here = slurm.in_reach()
    said = slurm.ask(f"scontrol show job {slurm.job()}").text if here else EXAMPLE_SCONTROL
    pairs = witnesses(os.environ, slurm.fields(said))
    same = sum(bool(mine) and mine == slurms for mine, slurms in pairs.values())
    failed = [answer.command for answer in slurm.RAN.values() if answer.status != 0]
    ratio = mean_wait(jobs, filled) / mean_wait(jobs, in_turn)
    most = max(queueing.most_in_use(list(jobs), list(began)) for began in (in_turn, filled))
    bands: tuple[Band, ...] = (
        Band("facts of this job that equal scontrol's, of 5", ">=", 5, same),
        Band("commands of Slurm that failed", "<=", 0, len(failed)),
        Band("GPUs in use at once in the simulation, of 8", "<=", GPUS, most),
        Band("waiting of short jobs, backfill / none", "<=", 0.4, ratio),
    )
    if not here:
        bands = bands[2:]  # nothing was asked: an example that equals itself is no result
    hints = (f"These commands failed, read what they say: {', '.join(failed)}.",) if failed else ()
    return LESSON.report(bands, hints)


def mean_wait(jobs: Sequence[queueing.Job], began: Sequence[float]) -> float:
    """Return the mean waiting time of jobs that ask for at most an hour; no number if one began before it was sent."""
    waits = np.array(began) - [job.submitted for job in jobs]
    return float(waits[[job.asked <= 1 for job in jobs]].mean()) if waits.min() >= 0 else float("nan")


def _check_where(attempt: Callable[..., Any]) -> None:
    for environment, right in HIDDEN:
        returned = written(attempt(dict(environment)))
        if not isinstance(returned, tuple | list) or len(returned) != 4:
            raise NotYet("Return four things: job number, node, cores, GPUs.")
        _compare_where(tuple(returned), right, environment)
    try:
        outside = attempt(dict(LOGIN_NODE))
    except KeyError as missing:
        raise NotYet(
            f"On the log-in node there is no {missing}: return None first if there is no `SLURM_JOB_ID`."
        ) from None
    if outside is not None:
        raise NotYet("Outside of a job, without `SLURM_JOB_ID`, return None: there is no job to speak of.")


def _compare_where(found: tuple[Any, ...], right: tuple[str, str, int, int], environment: dict[str, str]) -> None:
    job, node, cores, gpus = found
    if str(job) != right[0]:
        raise NotYet("The job's number is in `SLURM_JOB_ID`.")
    if node == environment["SLURM_SUBMIT_HOST"]:
        raise NotYet(
            "That is the host from which the job was sent, here the log-in node. "
            "The node that it runs on is in `SLURMD_NODENAME`."
        )
    if node != right[1]:
        raise NotYet("The node of this process is in `SLURMD_NODENAME`; a job of several nodes has a list besides.")
    if isinstance(cores, str):
        raise NotYet("Variables are text: make the number of cores an `int`.")
    if cores != right[2]:
        raise NotYet("The job's cores on this node are in `SLURM_CPUS_ON_NODE`; a job may run several tasks.")
    if gpus != right[3]:
        raise NotYet(
            "The number of GPUs is off. `slurm.gpus` counts the list in `SLURM_JOB_GPUS`; "
            "where the variable is missing there are 0."
        )


def _check_share(attempt: Callable[..., Any]) -> None:
    node = {"cores": 16, "memory_gb": 252, "gpus": 4}
    balanced = {"cores": 4, "memory_gb": 63, "gpus": 1}
    for asked, right in (
        (balanced, 0.25),
        ({**balanced, "gpus": 3}, 0.75),
        ({**balanced, "cores": 16}, 1.0),
        ({**balanced, "memory_gb": 126}, 0.5),
    ):
        found = float(written(attempt(dict(asked), dict(node))))
        _compare_share(found, right, asked, node)
    plain = {"cores": 32, "memory_gb": 64, "gpus": 0}
    try:
        found = float(written(attempt({"cores": 8, "memory_gb": 32, "gpus": 0}, dict(plain))))
    except ZeroDivisionError:
        raise NotYet("This node has no GPUs: leave out what a node has none of.") from None
    if not np.isclose(found, 0.5):
        raise NotYet("On a node without GPUs the larger of the shares of cores and memory counts.")


def _compare_share(found: float, right: float, asked: dict[str, int], node: dict[str, int]) -> None:
    shares = [asked[kind] / node[kind] for kind in node]
    if np.isclose(found, right):
        return
    if np.isclose(found, asked["gpus"] / node["gpus"]):
        raise NotYet("That is the share of the GPUs. Who takes all cores leaves GPUs that nobody can use.")
    if np.isclose(found, np.mean(shares)) or np.isclose(found, sum(shares)):
        raise NotYet("Shares are neither added nor averaged: the largest one counts.")
    if np.isclose(found, min(shares)):
        raise NotYet("That is the smallest share; what others can't use is the largest.")
    raise NotYet("Divide each of cores, memory and GPUs by what the node has, and take the largest.")
