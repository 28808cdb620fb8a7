"""One process of a job, seen from outside: `python -m davide_course.cell.rank FOLDER`, started by srun.

It meets the others, starts the cell's own process (`child`), passes on what that prints, and tells how it ended. It is
a process of its own, so that a cell that hangs in a library, or is killed, is noticed; and so that the job ends when
its notebook is gone. TensorFlow is never loaded here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from davide_course.cell import hostlist, place
from davide_course.cell.folder import OVER, Folder, event_of

LOOK_SECONDS = 0.2
BEAT_SECONDS = 3.0
# The notebook gives up first, since it can say more; a process alone waits this much longer.
LONGER_SECONDS = 10.0
GRACE_SECONDS = 5.0  # from Slurm's SIGTERM on; its SIGKILL comes after 30 s
MOST_OUTPUT = 50_000_000
RETRIES = 3
STALE_SECONDS = 600.0
FAILED, TOO_LATE, ALONE = 1, 3, 4  # exit statuses


class Lifeline:
    """Whether the notebook that sent the job is still there.

    Only looks that succeeded count, each for a second or two: a file system that stands still for minutes, or a job
    that was suspended, is no proof that the notebook is gone.
    """

    def __init__(self, folder: Folder, patience: float) -> None:
        self._folder, self._patience = folder, patience
        self._seen, self._silent, self._looked = "", 0.0, time.monotonic()
        self.over = False

    def lost(self) -> bool:
        """Look, at most once a second, and return whether it is time to end."""
        now = time.monotonic()
        if now - self._looked >= min(1.0, self._patience / 4):
            passed, self._looked = min(now - self._looked, 2.0), now
            self._look(passed)
        return self.over or self._silent > self._patience

    def stale(self) -> bool:
        """Return whether the notebook was gone, or over, long before this process began: its clock may be another."""
        try:
            beat = self._folder.notebook()
            return beat.startswith(OVER) or time.time() - float(beat) > STALE_SECONDS
        except (OSError, ValueError):
            return False

    def _look(self, passed: float) -> None:
        try:
            beat = self._folder.notebook()
        except OSError:
            return
        self.over = self.over or beat.startswith(OVER)
        self._silent = self._silent + passed if beat == self._seen else 0.0
        self._seen = beat


class Rank:
    """One process of the job."""

    def __init__(self, folder: Folder, environ: Mapping[str, str]) -> None:
        self.folder, self.plan = folder, folder.plan()
        self.rank, self.count = int(environ["SLURM_PROCID"]), int(self.plan["count"])
        self.host = environ.get("SLURMD_NODENAME") or socket.gethostname()
        self.environ = environ
        self.lifeline = Lifeline(folder, float(self.plan["parent_seconds"]))
        self.done = False
        self.told = 0.0
        self.broken = False
        self._beaten = float("-inf")

    def main(self) -> int:
        """Be this process, and return its exit status."""
        if self.lifeline.stale():
            return self._alone()
        signal.signal(signal.SIGTERM, self._tell_to_end)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # for the cell's own process: davide_course.walltime
        hosts = step_hosts(self.environ)
        if hosts[self.rank] != self.host:
            return self._fail(text=f"Slurm put it on {self.host}, while its list of nodes says {hosts[self.rank]}")
        port = free_port()
        self._tell("here", host=self.host, port=port, hosts=hosts)
        ports = self._meet()
        if ports is None:
            if self.lifeline.lost():
                return self._alone()
            self._tell("late")
            return TOO_LATE
        return self._work(environment(self.environ, self.plan, hosts, ports))

    def _meet(self) -> list[int] | None:
        deadline = time.monotonic() + float(self.plan["patience"]) + LONGER_SECONDS
        while time.monotonic() < deadline and not self.lifeline.lost() and not self.told:
            if (found := self.folder.ports()) is not None:
                return found
            self._beat()
            time.sleep(LOOK_SECONDS)
        return None

    def _work(self, environ: dict[str, str]) -> int:
        reading, writing = os.pipe()
        shown, printing = os.pipe()
        command = [sys.executable, "-P", "-m", "davide_course.cell.child", str(self.folder.path)]
        environ[place.PIPE] = str(writing)
        child = subprocess.Popen(
            command,
            env=environ,
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=printing,
            stderr=printing,
        )
        os.close(writing)
        os.close(printing)
        output = threading.Thread(target=pump, args=(shown, self.folder.log(self.rank)), daemon=True)
        reports = threading.Thread(target=self._pass_on, args=(reading,), daemon=True)
        for thread in (output, reports):
            thread.start()
        try:
            self._watch(child)
        finally:
            status = child.poll()
            child.kill()
            child.wait()
        # A process that the cell started may hold its output open; it is not waited for.
        for thread in (output, reports):
            thread.join(2)
        if self.done and self.lifeline.over:
            self._tell("bye")
            return 0
        if self.broken:
            return FAILED
        if status is None and not self.told:
            return self._alone()
        return self._fail(status=status, told=bool(self.told))

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        # One that is done stays until all are: TensorFlow's other workers fail when one goes before them.
        while (child.poll() is None or self.done) and not self.lifeline.lost() and not self.broken:
            if self.told and time.monotonic() - self.told > GRACE_SECONDS:
                return
            self._beat()
            time.sleep(LOOK_SECONDS)

    def _pass_on(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                facts = event_of(line)
                done = facts.pop("done", False)
                try:
                    self._tell("done" if done else "step", **facts)
                except OSError as error:
                    # Nobody would ever hear of the end: better to fail, in the file that srun writes.
                    print(
                        f"rank {self.rank}: {self.folder.path} can't be written: {error}", file=sys.stderr, flush=True
                    )
                    self.broken = True
                    return
                self.done = self.done or done

    def _tell(self, event: str, **facts: Any) -> None:
        for _ in range(RETRIES):
            try:
                self.folder.tell(self.rank, event, **facts)
            except OSError:
                time.sleep(1)  # a server of files that was started anew
            else:
                return
        self.folder.tell(self.rank, event, **facts)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            with suppress(OSError):  # the next one may get through
                self.folder.pulse(self.rank).write_text(f"{time.time():.1f}")

    def _tell_to_end(self, _number: int, _frame: object) -> None:
        self.told = self.told or time.monotonic()

    def _fail(self, **facts: Any) -> int:
        self._tell("failed", **facts)
        return FAILED

    def _alone(self) -> int:
        self._tell("alone")
        return 0 if self.lifeline.over else ALONE


def step_hosts(environ: Mapping[str, str]) -> list[str]:
    """Return the host of each process of this job step, from what Slurm says to each of them."""
    nodes = environ.get("SLURM_STEP_NODELIST") or environ["SLURM_JOB_NODELIST"]
    tasks = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ["SLURM_TASKS_PER_NODE"]
    return hostlist.ranks(nodes, tasks)


def tf_config(hosts: list[str], ports: list[int], rank: int) -> str:
    """Return TF_CONFIG, by which TensorFlow's workers know each other."""
    workers = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}})


def own_gpu(environ: Mapping[str, str], wanted: bool) -> str:
    """Return CUDA_VISIBLE_DEVICES for one process: the one of the node's GPUs in this job that is its own.

    Slurm can bind GPUs to tasks too, but then NCCL can't use NVLink between those of a node.
    """
    given = [one for one in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    local = int(environ.get("SLURM_LOCALID", "0"))
    return given[local] if wanted and local < len(given) else "-1"


def environment(
    environ: Mapping[str, str], plan: Mapping[str, Any], hosts: list[str], ports: list[int]
) -> dict[str, str]:
    """Return the environment of the cell's own process."""
    rank = int(environ["SLURM_PROCID"])
    return dict(environ) | {
        place.RANK: str(rank),
        place.RANKS: str(len(hosts)),
        place.RUN_FOLDER: plan["run_folder"],
        "TF_CONFIG": tf_config(hosts, ports, rank),
        "CUDA_VISIBLE_DEVICES": own_gpu(environ, bool(plan["gpus"])),
        "PYTHONUNBUFFERED": "1",
    }


def free_port() -> int:
    """Return a port that nobody listens on; TensorFlow can't be given a socket, so somebody may be quicker."""
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


def pump(descriptor: int, path: Path) -> None:
    """Add what comes to a file, which other nodes can read after each piece."""
    left = MOST_OUTPUT
    while piece := os.read(descriptor, 1 << 20):
        if left <= 0:
            continue
        left -= len(piece)
        if left <= 0:
            piece += f"\n[what comes after {MOST_OUTPUT // 1_000_000} MB of output is not kept]\n".encode()
        try:
            with path.open("ab") as file:
                file.write(piece)
        except OSError:
            continue  # a full disk: read on, or the cell would wait for its output to be taken
        time.sleep(0.05)  # a cell that prints all the time shall not open the file all the time


if __name__ == "__main__":
    sys.exit(Rank(Folder(Path(sys.argv[1])), os.environ).main())
