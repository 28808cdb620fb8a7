"""What the broker runs for a hub on another host: fixed commands, bounded in time and size, and whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from davide_hub.broker import questions
from davide_hub.broker.accounts import Account
from davide_hub.questions import COMMANDS, Outcome, SlurmSilent, command

HUB = Account("davide-hub", 990, 990, Path("/"), "/bin/false")


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Return a function that puts a command of our making where Slurm's would be found; whoever runs the tests asks."""
    monkeypatch.setattr(questions, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(questions, "identity", lambda account: {} if account is HUB else {"user": "nobody else"})

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return write


def test_an_answer_comes_back_with_exit_code_and_complaints(put):
    put("squeue", "echo 'JOBID|é'; echo oh >&2; exit 3")
    assert questions.ask("marks", (), HUB) == Outcome(3, "JOBID|é\n", "oh\n")


def test_a_command_is_fixed_but_for_the_jobs(put):
    put("sacct", "printf '%s\\n' \"$@\"")
    argv = questions.ask("accounting", ("21", "20"), HUB).out.splitlines()
    assert argv == [*COMMANDS["accounting"][1:], "--jobs=20,21"]
    assert command("version", ()) == ("squeue", "--version")


def test_a_command_gets_nothing_of_the_brokers(put, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "secret")
    put("squeue", "env; echo --; pwd; umask; cat")
    environment, rest = questions.ask("version", (), HUB).out.split("--\n")
    names = {line.split("=")[0] for line in environment.splitlines()}
    assert names - {"_", "PWD", "SHLVL", "OLDPWD"} == {"PATH", "LANG", "SLURM_TIME_FORMAT"}
    assert rest.split() == ["/", "0077"]


def test_a_command_that_hangs_is_killed_with_all_it_started(put, monkeypatch, tmp_path, is_gone_soon):
    # Enough for a shell to begin, on a machine that has much else to do.
    monkeypatch.setattr(questions, "SECONDS", 2)
    put("squeue", f"echo 'JOBID|'; sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(SlurmSilent, match="squeue took more than"):
        questions.ask("queue", ("20",), HUB)
    is_gone_soon(tmp_path / "child")


def test_a_command_that_closes_its_output_and_hangs_is_killed(put, monkeypatch):
    monkeypatch.setattr(questions, "SECONDS", 0.5)
    put("squeue", "echo 'JOBID|'; exec >&- 2>&-; exec sleep 600")
    with pytest.raises(SlurmSilent, match="squeue took more than"):
        questions.ask("queue", ("20",), HUB)


def test_an_answer_without_end_is_none(put, monkeypatch):
    monkeypatch.setattr(questions, "MOST_BYTES", 100_000)
    put("squeue", "echo 'JOBID|'; exec yes '20|RUNNING'")
    with pytest.raises(SlurmSilent, match="printed more than 100000 bytes"):
        questions.ask("queue", ("20",), HUB)


def test_complaints_without_end_cost_no_memory_and_no_answer(put, monkeypatch):
    monkeypatch.setattr(questions, "MOST_COMPLAINTS", 1000)
    put("squeue", "head --bytes=500000 /dev/zero | tr '\\0' x >&2; echo 'JOBID|'")
    assert questions.ask("queue", ("20",), HUB) == Outcome(0, "JOBID|\n", "x" * 1000)


def test_a_command_that_is_missing_is_silence(put):
    with pytest.raises(SlurmSilent, match="sacct can't be started: No such file"):
        questions.ask("accounting", ("20",), HUB)


def test_nothing_stays_open(put):
    put("squeue", "echo 'JOBID|'")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        questions.ask("queue", ("20",), HUB)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
