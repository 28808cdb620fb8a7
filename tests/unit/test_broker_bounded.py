"""What the broker runs in a user's name: handed its order whole, and bounded in time and in what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from davide_hub.broker import as_user
from davide_hub.broker.accounts import Account
from davide_hub.broker.bounded import OutOfBounds

SOMEBODY = Account("student01", 6001, 6001, Path("/"), "/bin/sh")


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Return a function that puts a command of our making where Slurm's would be found; whoever runs the tests asks."""
    monkeypatch.setattr(as_user, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(as_user, "identity", lambda _account: {})

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return write


def queue(seconds: float = 30) -> as_user.Outcome:
    return as_user.run_as_user(SOMEBODY, {"verb": "queue", "user": "student01"}, seconds)


def test_code_answer_and_complaints_come_back(put):
    put("squeue", "echo 'JOBID|é'; echo oh >&2; exit 3")
    assert queue() == as_user.Outcome(3, "JOBID|é\n", "oh\n")


def test_an_order_longer_than_a_pipe_comes_whole(put):
    put("sbatch", "wc --bytes")
    script = "#" * 300_000
    assert as_user.run_as_user(SOMEBODY, {"verb": "estimate", "script": script}, 30).out.strip() == "300000"


def test_an_answer_without_end_is_none(put, monkeypatch):
    monkeypatch.setattr(as_user, "_MOST_BYTES", 100_000)
    put("squeue", "exec yes 'JOBID|STATE'")
    with pytest.raises(OutOfBounds, match="printed more than 100000 bytes"):
        queue()


def test_complaints_without_end_are_cut_off(put, monkeypatch):
    monkeypatch.setattr(as_user, "MOST_COMPLAINTS", 1000)
    put("squeue", "head --bytes=500000 /dev/zero | tr '\\0' x >&2; echo 'JOBID|'")
    assert queue() == as_user.Outcome(0, "JOBID|\n", "x" * 1000)


@pytest.mark.parametrize("hangs", ["sleep 600 & echo $! > {child}; wait", "echo $$ > {child}; exec sleep 600 >&- 2>&-"])
def test_what_hangs_is_killed_with_all_it_started(put, tmp_path, is_gone_soon, hangs):
    put("squeue", hangs.format(child=tmp_path / "child"))
    with pytest.raises(OutOfBounds, match="took more than 2 s"):
        queue(2)
    is_gone_soon(tmp_path / "child")
