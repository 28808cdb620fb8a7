"""Real sessions, with JupyterLab, as the jobs of a pretended cluster: by the batch script that the broker rendered."""

from __future__ import annotations

import json
import os
import re
import signal
import site
import subprocess
import sys
import time
import venv
from contextlib import suppress
from pathlib import Path
from typing import Any

from davide_hub.facts import load_site

from support.cluster import ROOT
from support.pretended_cluster import NODE, PretendedCluster
from support.session_process import write_entry_points

KERNEL = "tf-cpu"
# What slurm.conf says where it says nothing.
_KILL_WAIT_SECONDS = 30
# The tests may run as root, and sessions never do: the server's own refusal is lifted here, and nothing else.
_AS_ROOT = """
import os
if os.geteuid() == 0:
    import davide_session.settings as ours
    true = ours.settings
    def settings(place):
        config = true(place)
        config.ServerApp.allow_root = True
        return config
    ours.settings = settings
"""
_KERNEL = "import sys; sys.path.insert(0, {notebooks!r}); from ipykernel.kernelapp import launch_new_instance as f; f()"


def make_software(folder: Path) -> Path:
    """Make what `site.paths.software` holds on a cluster, from this checkout and this Python's packages."""
    software = folder / "software"
    environment = software / "envs/session"
    venv.create(environment, symlinks=True, with_pip=False)
    packages = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (packages / "ours.pth").write_text("\n".join([str(ROOT / "hub"), str(ROOT / "notebooks"), *site.getsitepackages()]))
    write_entry_points(packages)
    (packages / "as_root.py").write_text(_AS_ROOT)
    (packages / "then.pth").write_text("import as_root\n")
    share = environment / "share/jupyter"
    (share / "labextensions").mkdir(parents=True)
    (share / "lab/settings/overrides.d").mkdir(parents=True)
    for part in ("static", "schemas", "themes"):
        (share / "lab" / part).symlink_to(Path(sys.prefix, "share/jupyter/lab", part))
    # Where the wheel puts ours (hub/pyproject.toml).
    (share / "lab/settings/overrides.d/davide-hub.json").symlink_to(ROOT / "hub/davide_session/lab_defaults.json")
    (share / "labextensions/davide-hub").symlink_to(ROOT / "hub/labextension")
    kernel = software / "share/jupyter/kernels" / KERNEL
    kernel.mkdir(parents=True)
    code = _KERNEL.format(notebooks=str(ROOT / "notebooks"))
    argv = [sys.executable, "-c", code, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return software


def _gpus(script: str) -> dict[str, str]:
    gres = re.search(r"--gres=gpu\S*:(\d+)$", script, re.MULTILINE)
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(int(gres[1]))))} if gres else {}


class RealSessions:
    """Takes the place of what a pretended cluster does when a job starts and ends.

    Attributes
    ----------
    minutes
        How long the next jobs may run.
    homes
        The folder with everybody's home.
    """

    def __init__(self, cluster: PretendedCluster, site_file: Path, folder: Path) -> None:
        self.minutes = 120.0
        self.homes = folder / "homes"
        self._cluster, self._folder = cluster, folder
        self._named, self._software = load_site(site_file).paths.software, str(make_software(folder))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._end = cluster.end
        # What the cluster calls when a job is to run, or to end.
        replaced: Any = cluster
        replaced.run, replaced.end = self.run, self.end

    def home(self, user: str) -> Path:
        """Return somebody's home."""
        made = self.homes / user
        made.mkdir(parents=True, exist_ok=True)
        return made

    def run(self, number: str) -> None:
        """Run a job's script, as slurmd does."""
        job = self._cluster.jobs[number]
        home = self.home(job.account.name)
        script = job.order["script"].replace(str(job.account.home), str(home)).replace(self._named, self._software)
        secrets = home / ".local/share/davide-hub" / job.order["session_key"] / "environment.json"
        secrets.parent.mkdir(parents=True)
        secrets.write_text(json.dumps(job.order["environment"]))
        secrets.chmod(0o600)
        now = time.time()
        environment = {
            "HOME": str(home),
            "PATH": f"{self._folder / 'bin'}:/usr/bin:/bin",
            "SLURM_JOB_ID": number,
            **_gpus(script),
            "SLURM_JOB_START_TIME": str(int(now)),
            "SLURM_JOB_END_TIME": str(int(now + 60 * self.minutes)),
        }
        job.state, job.reason, job.node = "RUNNING", "None", NODE
        with self.log(number).open("wb") as log:
            self._processes[number] = subprocess.Popen(
                ["/bin/bash", "-c", script],
                cwd=home,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, number: str, state: str = "COMPLETED") -> None:
        """End a job."""
        self.kill(number)
        self._end(number, state)

    def warn(self, user: str) -> None:
        """Send somebody's newest session what `--signal=B:USR1` orders."""
        self._processes[self._cluster.newest(user).number].send_signal(signal.SIGUSR1)

    def kill(self, number: str) -> None:
        """End a job's processes, of which nobody is told; they have Slurm's KillWait for it."""
        if process := self._processes.pop(number, None):
            process.terminate()
            # A session that Slurm would have to kill is a fault of the session.
            process.wait(_KILL_WAIT_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Leave no process behind."""
        for number in list(self._processes):
            self.kill(number)

    def log(self, number: str) -> Path:
        """Return where a job's output goes."""
        return self._folder / f"session-{number}.log"
