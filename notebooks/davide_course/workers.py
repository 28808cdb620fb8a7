"""Processes that train together: started, brought together, watched and ended. Lesson 10 uses them.

A worker is `python -m davide_course.workers FOLDER COUNT [INDEX]`. It finds in FOLDER what to do (`task.py`, which
defines `train(worker)`), writes there where it listens, and waits until all have done so. TensorFlow alone would wait
for ever for a worker that never starts; here that is an error with a sentence. Under Slurm the workers are tasks of a
job of their own, on as many nodes as it takes; elsewhere they are processes of this machine.

TensorFlow's workers don't check who talks to them: whoever reaches a node's ports can. Where others may log in to the
nodes, train together on whole nodes of your own.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_course import slurm

RENDEZVOUS_SECONDS = 60.0
LIMIT_SECONDS = 240.0
PAUSE_SECONDS = 0.05
MEMORY_MB = 1200
CHARGED = {"account": "SLURM_JOB_ACCOUNT", "partition": "SLURM_JOB_PARTITION"}
TOO_LATE = 3  # exit status of a worker that waited for another in vain


class WorkersFailed(Exception):  # noqa: N818 - it is what the student reads
    """The workers did not reach their end; the text says which one was first, why, and what to do.

    Attributes
    ----------
    seconds
        From the death of the first to the end of the last; not a number where that isn't known.
    """

    def __init__(self, text: str, seconds: float = float("nan")) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass(frozen=True)
class Worker:
    """What one worker knows of itself and of the others."""

    index: int
    count: int
    folder: Path
    options: Mapping[str, Any]

    def save(self, result: Mapping[str, Any]) -> None:
        """Write this worker's result, numbers and lists, for the notebook that started it."""
        replace_file(self.folder / f"result-{self.index}.json", json.dumps(dict(result)))


def run(
    train: Callable[[Worker], None],
    count: int,
    options: Mapping[str, Any],
    never_starts: int | None = None,
    patience: float = RENDEZVOUS_SECONDS,
) -> list[dict[str, Any]]:
    """Start workers, wait for their end, and return what each of them saved.

    Parameters
    ----------
    train
        What each worker does. Its text is sent, so it has to import what it uses.
    count
        How many workers.
    options
        What `worker.options` holds: numbers, texts and lists.
    never_starts
        A worker that is left out, to see what becomes of the others.
    patience
        Seconds that workers wait for each other before they give up.

    Raises
    ------
    WorkersFailed
        If one of them failed or did not come; the others were ended.
    """
    parent = Path.cwd() if slurm.in_reach() else None  # nodes see the home, not this node's /tmp
    folder = Path(tempfile.mkdtemp(prefix=".workers-", dir=parent))
    try:
        (folder / "task.py").write_text(textwrap.dedent(inspect.getsource(train)), encoding="utf-8")
        wanted = {"options": dict(options), "patience": patience, "function": train.__name__}
        (folder / "options.json").write_text(json.dumps(wanted), encoding="utf-8")
        start = _through_slurm if slurm.in_reach() else _here
        start(folder, count, never_starts)
        return [json.loads((folder / f"result-{index}.json").read_text()) for index in range(count)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _here(folder: Path, count: int, never_starts: int | None) -> None:
    environ = os.environ | _quiet()
    started = {}
    for index in range(count):
        if index != never_starts:
            with (folder / f"log-{index}.txt").open("w") as log:
                command = [sys.executable, "-m", "davide_course.workers", str(folder), str(count), str(index)]
                started[index] = subprocess.Popen(
                    command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
    deadline = time.monotonic() + LIMIT_SECONDS
    try:
        while any(one.poll() is None for one in started.values()):
            failed = [index for index, one in started.items() if one.poll() not in (None, 0)]
            if failed or time.monotonic() > deadline:
                break
            time.sleep(PAUSE_SECONDS)
        bad = {index: one.poll() for index, one in started.items() if one.poll() != 0}
    finally:
        for one in started.values():
            one.kill()
            one.wait()
    if bad:
        raise explain(folder, bad)


def _through_slurm(folder: Path, count: int, never_starts: int | None) -> None:
    command = [
        "srun",
        "--quiet",
        "--job-name=workers",
        f"--ntasks={count}",
        "--spread-job",
        "--cpus-per-task=1",
        f"--mem-per-cpu={MEMORY_MB}M",
        f"--time={1 + int(LIMIT_SECONDS // 60)}",
        "--kill-on-bad-exit=1",
        f"--output={folder}/log-%t.txt",
        # A job of its own, charged as this one is.
        *(f"--{option}={os.environ[name]}" for option, name in CHARGED.items() if name in os.environ),
        *(sys.executable, "-m", "davide_course.workers", str(folder), str(count)),
        # Tasks get their numbers from Slurm; the one that never starts ends before it has said where it listens.
        *([] if never_starts is None else [f"--without={never_starts}"]),
    ]
    environ = slurm.environment() | _quiet()
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        try:
            said, _ = started.communicate(timeout=LIMIT_SECONDS)
        except BaseException as reason:  # also the interrupt button: srun takes its job along
            started.terminate()
            if not isinstance(reason, subprocess.TimeoutExpired):
                raise
            raise WorkersFailed(
                f"the job of {count} workers did not end within {LIMIT_SECONDS:g} s, and was cancelled: "
                "`squeue --me` says whether the cluster is busy"
            ) from None
    if started.returncode != 0:
        bad = {index: None for index in range(count) if not (folder / f"result-{index}.json").exists()}
        raise explain(folder, bad) if list(folder.glob("log-*.txt")) else WorkersFailed(said.strip())


def explain(folder: Path, bad: Mapping[int, int | None]) -> WorkersFailed:
    """Return what became of workers of which some failed, and of which none is left.

    Parameters
    ----------
    folder
        Their folder, with their logs.
    bad
        Index -> exit status of those that did not end well; None for one that was still at work, or unknown.
    """
    late = [folder / f"late-{index}.txt" for index in sorted(bad)]
    waited = next((path for path in late if path.exists()), None)
    if waited is not None:
        return WorkersFailed(waited.read_text(encoding="utf-8"))
    killed = next((path for index in sorted(bad) if (path := folder / f"killed-{index}.json").exists()), None)
    if killed is not None:
        last = json.loads(killed.read_text(encoding="utf-8"))
        seconds = time.time() - last["time"]
        return WorkersFailed(
            f"worker {last['index']} was killed after step {last['step']}, and {seconds:.1f} s later all others were "
            "ended. Run it again: it resumes from its last checkpoint.",
            seconds,
        )
    index = next((index for index in sorted(bad) if bad[index]), min(bad))
    log = folder / f"log-{index}.txt"
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return WorkersFailed(f"worker {index} failed ({said[-1].strip() if said else f'status {bad[index]}'}).")


def die(worker: Worker, step: int) -> None:
    """Kill this worker as a node that fails does: at once, without a chance to clean up."""
    last = {"index": worker.index, "step": step, "time": time.time()}
    replace_file(worker.folder / f"killed-{worker.index}.json", json.dumps(last))
    os.kill(os.getpid(), signal.SIGKILL)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that others see all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def meet(folder: Path, index: int, count: int, address: str, patience: float) -> list[str]:
    """Write down where this worker listens, wait for all others to do so, and return all addresses in their order.

    Raises
    ------
    WorkersFailed
        If some are missing after `patience` seconds; the text names them.
    """
    replace_file(folder / f"address-{index}.txt", address)
    deadline = time.monotonic() + patience
    places = [folder / f"address-{one}.txt" for one in range(count)]
    while missing := [one for one, place in enumerate(places) if not place.exists()]:
        if time.monotonic() > deadline:
            names = " and ".join(f"worker {one}" for one in missing)
            raise WorkersFailed(
                f"{names} did not start within {patience:g} s, so the other {count - len(missing)} gave up. "
                "Look into the log of the missing one; if the cluster is busy, ask for fewer workers."
            )
        time.sleep(PAUSE_SECONDS)
    return [place.read_text(encoding="utf-8") for place in places]


def _quiet() -> dict[str, str]:
    # One thread each: workers that share cores would else fight for them.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    return threads | {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONNOUSERSITE": "1"}


def main(argv: list[str]) -> int:
    """Be one worker."""
    folder, count = Path(argv[0]), int(argv[1])
    index = int(argv[2]) if len(argv) > 2 and argv[2].isdigit() else int(os.environ["SLURM_PROCID"])
    if f"--without={index}" in argv:
        return 0
    wanted = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    host = os.environ.get("SLURMD_NODENAME", "127.0.0.1")
    with socket.create_server(("", 0)) as probe:
        port = probe.getsockname()[1]
    try:
        addresses = meet(folder, index, count, f"{host}:{port}", wanted["patience"])
    except WorkersFailed as late:
        replace_file(folder / f"late-{index}.txt", str(late))
        return TOO_LATE
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
    scope: dict[str, Any] = {"die": die}
    text = (folder / "task.py").read_text(encoding="utf-8")
    exec(compile(text, str(folder / "task.py"), "exec"), scope)  # noqa: S102 - the notebook's own function
    scope[wanted["function"]](Worker(index, count, folder, wanted["options"]))
    sys.stdout.flush()
    # TensorFlow's servers wait at their end for workers that may be gone; the result is written.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
