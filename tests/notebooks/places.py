"""Where the lessons are run: on the local cluster as a student's jobs, or here with the kernels of a folder."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from support.connections import run_on

ROOT = Path(__file__).resolve().parent.parent.parent
RUNNER = Path(__file__).with_name("run_notebook.py")
FACTS = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
STUDENT = "student04"  # the browser tests work as 01 and 02

Notebook = dict[str, Any]


class Place(Protocol):
    """Somewhere that runs notebooks."""

    def run(self, name: str, text: str) -> Notebook:
        """Run the notebook `text` in a fresh kernel and return it with its outputs."""

    def handed_out(self, lesson: str) -> str:
        """Return a lesson as a student gets it."""


@dataclass(frozen=True)
class Here:
    """This machine, with the kernels in the folder that DAVIDE_KERNELS names (it holds kernels/tf-cpu/kernel.json)."""

    kernels: str
    scratch: Path

    def run(self, name: str, text: str) -> Notebook:
        """Run a notebook with nbclient in this Python."""
        folder = self.scratch / name
        folder.mkdir()
        (folder / "in.ipynb").write_text(text)
        command = [sys.executable, str(RUNNER), str(folder / "in.ipynb"), str(folder / "out.ipynb")]
        done = subprocess.run(
            command, env={**os.environ, "JUPYTER_PATH": self.kernels}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: Notebook = json.loads((folder / "out.ipynb").read_text())
        return found

    def handed_out(self, lesson: str) -> str:
        """Return a lesson as the hand-outs' build makes it."""
        from davide_course.build import Kernel, notebook

        script = (ROOT / f"notebooks/lessons/{lesson}.py").read_text()
        return notebook(script, Kernel("tf-cpu", "TensorFlow (CPU)"), solved=False)


class OnCluster:
    """The local cluster: each notebook is a job of a student's on a GPU node, as far from us as a session is."""

    def __init__(self, folder: str = f"/home/{STUDENT}/lesson-tests") -> None:
        facts = yaml.safe_load(FACTS.read_text())["site"]
        self.software = facts["paths"]["software"]
        self.course = facts["course"]["folder"]
        self.slurm = f"--account={facts['slurm']['account']} --partition={facts['profiles'][0]['partition']}"
        self.folder = folder
        python = f"{self.software}/envs/session/bin/python -I"
        self.sync = f"{python} -m davide_course.handouts sync {self.software}/handouts"
        self.shell(f"rm -rf {self.folder} && install -d -o {STUDENT} -m 0700 {self.folder}")
        self.write("run_notebook.py", RUNNER.read_text())

    def run(self, name: str, text: str) -> Notebook:
        """Run a notebook through Slurm."""
        self.write(f"{name}.ipynb", text)
        python = f"env JUPYTER_PATH={self.software}/share/jupyter {self.software}/envs/session/bin/python -I"
        command = f"{python} run_notebook.py {name}.ipynb {name}.out.ipynb"
        options = f"{self.slurm} --quiet --cpus-per-task=1 --mem=3G --time=10 --chdir={self.folder}"
        self.as_student(f"srun {options} --job-name=lesson-{name} {command}")
        found: Notebook = json.loads(self.shell(f"cat {self.folder}/{name}.out.ipynb"))
        return found

    def handed_out(self, lesson: str) -> str:
        """Let a session's own command bring the hand-outs into a course folder, and return a lesson from there."""
        course = f"{self.folder}/{self.course}"
        self.as_student(f"{self.sync} {course}")
        return self.shell(f"cat {course}/{lesson}.ipynb")

    def as_student(self, command: str) -> str:
        """Run a command on the hub's host as the student, in the student's home."""
        quoted = shlex.quote(f"cd; {command}")
        return self.shell(
            f"timeout 540 setpriv --reuid {STUDENT} --regid davide --init-groups --reset-env bash -c {quoted}"
        )

    def write(self, name: str, text: str) -> None:
        """Write a file that belongs to the student."""
        path = f"{self.folder}/{name}"
        self.shell(f"cat > {path} && chown {STUDENT} {path}", text)

    def shell(self, command: str, given: str = "") -> str:
        """Run a command as root on the hub's host and return what it prints."""
        done = run_on("hub01", command, 600, given)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout
