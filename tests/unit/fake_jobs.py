"""A pretended Slurm that really runs jobs: sbatch, srun, squeue, scancel and sacct, whose nodes are this machine.

Files in its folder make it fail as it is told: `hold` (jobs wait; the text is the reason), `deaf` (no answers),
`forgets` (squeue lists no job that has ended, sacct knows none), `refuses`, `loses-reply`, `skips` (the number of a
process that srun never starts), `time-limit` (reached when this file is there) and `host` (the name of the only node).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import davide_course

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "sacct")
TEXT = r"""#!{python}
import json, os, re, signal, subprocess, sys, time
from pathlib import Path

STATE = Path({state!r})
LOOKING = {path!r}  # the kernel's environment has the course installed; here it is found by its path
OPTIONS = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))


def told(name):
    path = STATE / name
    return path.read_text() if path.exists() else None


def jobs():
    return [json.loads(path.read_text()) for path in sorted(STATE.glob("*.job"))]


def note(job, **facts):
    path = STATE / f"{{job['number']}}.job"
    job = (json.loads(path.read_text()) if path.exists() else job) | facts
    draft = path.with_suffix(f".{{os.getpid()}}")
    draft.write_text(json.dumps(job))
    draft.replace(path)
    return job


def orders(script):
    return dict(re.findall(r"(?m)^#SBATCH --([a-z-]+)=?(.*)$", Path(script).read_text()))


def sbatch():
    if told("refuses") is not None:
        sys.exit("sbatch: error: Batch job submission failed: " + told("refuses"))
    asked = orders(sys.argv[-1])
    number = str(100 + len(jobs()))
    job = {{"number": number, "name": asked["job-name"], "state": "PENDING", "script": sys.argv[-1], "asked": asked}}
    job["orders"] = sys.argv[1:]
    note(job)
    environ = {{name: value for name, value in os.environ.items()}}
    subprocess.Popen(
        [sys.executable, __file__, "run-job", number], start_new_session=True, env=environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    if told("loses-reply") is not None:
        sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    print(number)


def run_job():
    job = next(one for one in jobs() if one["number"] == sys.argv[2])
    while told("hold") is not None:
        if note(job)["state"] != "PENDING":
            return
        time.sleep(0.05)
    if note(job)["state"] != "PENDING":
        return
    asked = job["asked"]
    nodes, each = int(asked["nodes"]), asked["ntasks-per-node"]
    several = "node[1-%d]" % nodes if nodes > 1 else "node1"
    environ = os.environ | {{
        "PYTHONPATH": LOOKING,
        "SLURM_JOB_ID": job["number"],
        "SLURM_JOB_NODELIST": told("host") or several,
        "SLURM_TASKS_PER_NODE": "%s(x%d)" % (each, nodes) if nodes > 1 else each,
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(int(asked.get("gres", "gpu:0").split(":")[-1])))),
    }}
    folder = Path(job["script"]).parent
    with (folder / asked["output"]).open("ab") as out:
        batch = subprocess.Popen(
            ["bash", job["script"]], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )
    note(job, state="RUNNING", pid=batch.pid)
    limit, ended = told("time-limit"), False
    while batch.poll() is None:
        if limit and Path(limit).exists() and not ended:
            note(job, state="TIMEOUT", pid=None)
            os.killpg(batch.pid, signal.SIGTERM)
            ended = True
        time.sleep(0.03)
    if note(job)["state"] == "RUNNING":
        note(job, state="FAILED" if batch.returncode else "COMPLETED", pid=None)
    # Slurm leaves no process of a job behind.
    try:
        os.killpg(batch.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def srun():
    command = [word for word in sys.argv[1:]]
    while command[0].startswith("--"):
        command.pop(0)
    assert OPTIONS["distribution"] == "block" and OPTIONS["kill-on-bad-exit"] == "1", OPTIONS
    signal.signal(signal.SIGTERM, lambda *_: None)  # Slurm sends it to the tasks too, and srun waits for their end
    count, each = int(OPTIONS["ntasks"]), int(os.environ["SLURM_TASKS_PER_NODE"].split("(")[0])
    tasks = {{}}
    for rank in range(count):
        if told("skips") == str(rank):
            continue
        environ = os.environ | {{
            "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % each),
            "SLURMD_NODENAME": told("host") or "node%d" % (rank // each + 1),
            "SLURM_STEP_NODELIST": os.environ["SLURM_JOB_NODELIST"],
            "SLURM_STEP_TASKS_PER_NODE": os.environ["SLURM_TASKS_PER_NODE"],
        }}
        tasks[rank] = subprocess.Popen(command, env=environ)
    alive = True
    while alive:
        alive = any(one.poll() is None for one in tasks.values())
        bad = {{rank: one.poll() for rank, one in tasks.items() if one.poll()}}
        for rank, status in bad.items():
            how = "Killed" if status == -9 else "Exited with exit code %d" % status
            print("srun: error: node%d: task %d: %s" % (rank // each + 1, rank, how), file=sys.stderr, flush=True)
        if bad:
            for one in tasks.values():
                one.kill()
                one.wait()
            sys.exit(1)
        time.sleep(0.03)


def listed():
    if told("deaf") is not None:
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    found = jobs()
    if "jobs" in OPTIONS:
        found = [one for one in found if one["number"] == OPTIONS["jobs"]]
    if "name" in OPTIONS:
        found = [one for one in found if one["name"] == OPTIONS["name"]]
    return found


def squeue():
    active = ("PENDING", "RUNNING")
    found = listed()
    if "states" not in OPTIONS or told("forgets") is not None:
        found = [one for one in found if one["state"] in active]
    if "jobs" in OPTIONS and not found:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    for one in found:
        reason = told("hold") or "None" if one["state"] == "PENDING" else "None"
        words = {{"%T": one["state"], "%S": "N/A", "%r": reason, "%i": one["number"]}}
        print("|".join(words[word] for word in OPTIONS["format"].split("|")))


def sacct():
    if told("forgets") is None:
        for one in listed():
            print(one["state"])


def scancel():
    numbers = [word for word in sys.argv[1:] if word.isdigit()]
    for one in listed():
        if (one["number"] in numbers or (not numbers and "name" in OPTIONS)) and one["state"] in ("PENDING", "RUNNING"):
            note(one, state="CANCELLED", pid=None)
            if one.get("pid"):
                try:
                    os.killpg(one["pid"], signal.SIGTERM)
                except ProcessLookupError:
                    pass


if sys.argv[1:2] == ["run-job"]:
    run_job()
else:
    {{"sbatch": sbatch, "srun": srun, "squeue": squeue, "sacct": sacct, "scancel": scancel}}[Path(sys.argv[0]).name]()
"""


class FakeJobs:
    """The pretended Slurm in a folder; `bin` goes to the front of PATH."""

    def __init__(self, folder: Path) -> None:
        self.state, self.bin = folder / "slurm", folder / "bin"
        self.state.mkdir()
        self.bin.mkdir()
        text = TEXT.format(
            python=sys.executable, state=str(self.state), path=str(Path(davide_course.__file__).parent.parent)
        )
        for name in COMMANDS:
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def tell(self, name: str, text: str = "") -> None:
        """Let it fail in a way."""
        (self.state / name).write_text(text)

    def again(self, name: str) -> None:
        """Let it be well again."""
        (self.state / name).unlink()

    def jobs(self) -> list[dict[str, object]]:
        """Return all jobs that it ever had."""
        return [json.loads(path.read_text()) for path in sorted(self.state.glob("*.job"))]

    def states(self) -> list[str]:
        """Return their states."""
        return [str(one["state"]) for one in self.jobs()]
