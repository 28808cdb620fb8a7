"""Workers of lesson 10: they meet, they are ended together, and what went wrong is a sentence. No TensorFlow here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from davide_course import workers

# srun as far as the workers use it: tasks with numbers, a log for each, and all are ended when one ends badly.
SRUN = """#!{python}
import os, subprocess, sys, time
words = dict(word.lstrip("-").split("=", 1) for word in sys.argv if word.startswith("--") and "=" in word)
assert words["account"] == "course" and "SLURM_JOB_ID" not in os.environ, sys.argv
command = sys.argv[sys.argv.index(sys.executable):]
tasks = []
for number in range(int(words["ntasks"])):
    log = open(words["output"].replace("%t", str(number)), "w")
    tasks.append(subprocess.Popen(command, env=os.environ | {{"SLURM_PROCID": str(number)}}, stdout=log, stderr=log))
while any(one.poll() is None for one in tasks) and not any(one.poll() for one in tasks):
    time.sleep(0.05)
bad = any(one.poll() for one in tasks)
for one in tasks:
    one.kill() if bad else None
    one.wait()
sys.exit(bad)
"""


def greet(worker):  # type: ignore[no-untyped-def]
    """Save who this is, and where the others are."""
    import json
    import os

    config = json.loads(os.environ["TF_CONFIG"])
    worker.save({"index": config["task"]["index"], "all": config["cluster"]["worker"], "word": worker.options["word"]})


def fall(worker):  # type: ignore[no-untyped-def]
    """Die if this is worker 1; wait for ever if not."""
    import signal

    if worker.index == 1:
        die(worker, 7)  # type: ignore[name-defined] # noqa: F821 - the workers' own
    signal.pause()


def stumble(worker):  # type: ignore[no-untyped-def]
    """Fail in words if this is worker 0."""
    import signal

    if worker.index == 0:
        raise ValueError("the rows don't fit")
    signal.pause()


@pytest.fixture(params=["here", "through Slurm"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let workers be processes of this machine, or tasks of a pretended srun."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if request.param == "through Slurm":
        for name, text in {"srun": SRUN.format(python=sys.executable), "scontrol": "#!/bin/sh\n"}.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("SLURM_JOB_ACCOUNT", "course")
        monkeypatch.setenv("SLURMD_NODENAME", "localhost")
        # The kernel's environment has the course installed; this one finds it by its path.
        kept = workers.slurm.environment
        monkeypatch.setattr(workers.slurm, "environment", lambda: kept() | {"PYTHONPATH": os.environ["PYTHONPATH"]})
        monkeypatch.chdir(tmp_path)
    return tmp_path


def test_workers_know_each_other_and_bring_back_what_they_saved(anywhere: Path) -> None:
    found = workers.run(greet, 3, {"word": "hello"})
    assert [one["index"] for one in found] == [0, 1, 2]
    assert len(set(found[0]["all"])) == 3
    assert found[1]["word"] == "hello"
    assert not list(anywhere.glob(".workers-*"))


def test_when_one_is_killed_the_others_end_and_the_step_is_named(anywhere: Path) -> None:
    with pytest.raises(
        workers.WorkersFailed, match=r"worker 1 was killed after step 7.* resumes from its last"
    ) as caught:
        workers.run(fall, 2, {})
    assert 0 <= caught.value.seconds < 15


def test_the_last_line_of_a_failed_worker_is_told(anywhere: Path) -> None:
    with pytest.raises(workers.WorkersFailed, match=r"worker 0 failed \(ValueError: the rows don't fit\)"):
        workers.run(stumble, 2, {})


def test_a_worker_that_never_starts_is_named(anywhere: Path) -> None:
    with pytest.raises(workers.WorkersFailed, match=r"worker 2 did not start within 1 s, so the other 2 gave up"):
        workers.run(greet, 3, {"word": ""}, never_starts=2, patience=1)
