"""Slurm's commands for one user, as a test wants them: what is submitted really runs, on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support.slurm_commands import Answer, SlurmCommands

NODE = "node01"
_HEADERS = {
    "i": "JOBID", "T": "STATE", "B": "EXEC_HOST", "U": "UID", "P": "PARTITION", "Q": "PRIORITY", "V": "SUBMIT_TIME",
    "S": "START_TIME", "e": "END_TIME", "r": "REASON",
}  # fmt: skip


@dataclass
class LocalJob:
    """A job.

    Attributes
    ----------
    asked
        What its #SBATCH lines say.
    environment
        The submitter's.
    """

    number: str
    script: str
    environment: dict[str, str]
    asked: dict[str, str]
    state: str = "PENDING"
    reason: str = "Priority"
    cancelled_by: int | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def processes(self) -> list[psutil.Process]:
        """All that runs in it."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        return []


class LocalSlurm(SlurmCommands):
    """A queue and one node.

    Attributes
    ----------
    jobs
        By number.
    full
        Whether jobs wait, and by which of Slurm's reasons.
    refuses
        What sbatch says instead of taking a job.
    """

    names = ("sbatch", "squeue", "scancel", "sacct")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.jobs: dict[str, LocalJob] = {}
        self.full = self.refuses = ""

    def stop(self) -> None:
        """Answer no more, and leave nothing behind."""
        for job in self.jobs.values():
            for process in job.processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        super().stop()

    # -- what a test does

    @property
    def queue(self) -> list[str]:
        """The numbers of the jobs that wait or run."""
        return [number for number, job in self.jobs.items() if job.state in ("PENDING", "RUNNING", "COMPLETING")]

    @property
    def newest(self) -> LocalJob:
        """The job that was submitted last."""
        return list(self.jobs.values())[-1]

    def add_session(self, number: str) -> None:
        """Have a job that runs, as the session's own."""
        self.jobs[number] = LocalJob(number, "", {}, {"partition": "p"}, "RUNNING", "None")

    def run(self, number: str) -> None:
        """Let a job start."""
        job = self.jobs[number]
        job.state, job.reason = "RUNNING", "None"
        environment = job.environment | {
            "SLURM_JOB_ID": number,
            "SLURMD_NODENAME": NODE,
            "SLURM_CPUS_PER_TASK": job.asked["cpus-per-task"],
        }
        if "gres" in job.asked:
            environment["CUDA_VISIBLE_DEVICES"] = "0"
        with Path(job.asked["output"]).open("wb") as log:
            job.process = subprocess.Popen(
                ["/bin/bash", "-c", job.script],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._wait, args=(job, job.process), daemon=True).start()

    def end(self, number: str, state: str, seconds: float = 3.0) -> None:
        """End a job as Slurm does: a signal to all of its processes, and after a while the last one."""
        job = self.jobs[number]
        waits, job.state = job.process is None, state
        if waits:
            return
        processes = job.processes
        job.state = "COMPLETING"
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        psutil.wait_procs(processes, seconds)
        self.kill(number)
        job.state = state

    def kill(self, number: str) -> None:
        """End all that runs in a job at once."""
        for process in self.jobs[number].processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def freeze(self, number: str) -> None:
        """Let a job's node be silent, as one without power or network is."""
        for process in self.jobs[number].processes:
            process.suspend()

    # -- the commands

    def run_command(self, program: str, arguments: list[str], given: str, environment: dict[str, str]) -> Answer:
        """Return what one of the four answers."""
        return getattr(self, f"_{program}")(arguments, given, environment)  # type: ignore[no-any-return]

    def _sbatch(self, _arguments: list[str], script: str, environment: dict[str, str]) -> Answer:
        if self.refuses:
            return 1, "", f"sbatch: error: {self.refuses}\n"
        number = str(1000 + len(self.jobs))
        asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", script, re.MULTILINE))
        self.jobs[number] = LocalJob(number, script, environment, asked, reason=self.full)
        if not self.full:
            self.run(number)
        return 0, f"{number}\n", ""

    def _scancel(self, arguments: list[str], _given: str, _environment: dict[str, str]) -> Answer:
        for number in arguments[1:]:
            job = self.jobs[number]
            if job.state in ("PENDING", "RUNNING"):
                job.cancelled_by = os.getuid()
                threading.Thread(target=self.end, args=(number, "CANCELLED"), daemon=True).start()
        return 0, "", ""

    def _squeue(self, arguments: list[str], _given: str, _environment: dict[str, str]) -> Answer:
        named = dict(one.partition("=")[::2] for one in arguments)
        letters = re.findall(r"%([A-Za-z])", named["--format"])
        rows = ["|".join(_HEADERS[letter] for letter in letters)]
        for number in named["--jobs"].split(","):
            if job := self.jobs.get(number):
                shown = {"i": number, "T": job.state, "r": job.reason, "P": job.asked["partition"]}
                shown |= {"U": str(os.getuid()), "B": NODE if job.process or not job.script else "n/a"}
                rows.append("|".join(shown.get(letter, "N/A") for letter in letters))
        return 0, "\n".join(rows) + "\n", ""

    def _sacct(self, arguments: list[str], _given: str, _environment: dict[str, str]) -> Answer:
        rows = []
        for number in arguments[-1].partition("=")[2].split(","):
            if job := self.jobs.get(number):
                by = f" by {job.cancelled_by}" if job.state == "CANCELLED" and job.cancelled_by is not None else ""
                rows.append(f"{number}|{job.state}{by}|{NODE}|{os.getuid()}\n")
        return 0, "".join(rows), ""

    def _wait(self, job: LocalJob, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        time.sleep(0.1)
        if job.state == "RUNNING":
            job.state = "COMPLETED" if code == 0 else "FAILED"
