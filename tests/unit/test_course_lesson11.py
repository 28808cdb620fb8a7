"""Lesson 11: what notebooks know of Slurm and of their site, and the checks' hints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from davide_course import machine, queueing, slurm
from davide_course.checks import lesson11
from test_course_checks import solution

MISTAKES = [
    ("where_am_i", ('environment["SLURMD_NODENAME"]', 'environment["SLURM_SUBMIT_HOST"]'), "here the log-in node"),
    ("where_am_i", ('environment["SLURMD_NODENAME"]', 'environment["SLURM_JOB_NODELIST"]'), "SLURMD_NODENAME"),
    ("where_am_i", ('if "SLURM_JOB_ID" not in environment:', "if False:"), "On the log-in node there is no"),
    ("where_am_i", ('int(environment["SLURM_CPUS_ON_NODE"])', 'environment["SLURM_CPUS_ON_NODE"]'), "an `int`"),
    ("where_am_i", ('"SLURM_JOB_GPUS", ""', '"SLURM_GPUS", ""'), "The number of GPUs is off"),
    ("share_of_node", ("max(", "min("), "the smallest share"),
    ("share_of_node", ("max(", "sum("), "neither added nor averaged"),
    ("share_of_node", (" if node[kind] > 0", ""), "leave out what a node has none of"),
    ("share_of_node", ('("cores", "memory_gb", "gpus")', '("gpus",)'), "the share of the GPUs"),
]


def right(name: str, *changes: tuple[str, str]) -> Callable[..., Any]:
    """Return the lesson's solution, with some text changed, which may use `slurm`."""
    found = solution("11_the_machine", name, *changes)
    found.__globals__["slurm"] = slurm
    return found


@pytest.mark.parametrize(("name", "change", "hint"), MISTAKES)
def test_each_mistake_gets_its_hint(name: str, change: tuple[str, str], hint: str) -> None:
    outcome = getattr(lesson11, name)(right(name, change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize("name", ["where_am_i", "share_of_node"])
def test_the_solutions_are_right(name: str) -> None:
    outcome = getattr(lesson11, name)(right(name))
    assert outcome.passed, outcome.text


def test_gpus_of_a_list_and_of_trackable_resources_are_counted() -> None:
    assert [slurm.gpus(listed) for listed in ("", "0", "0,2-3", "0-3")] == [0, 1, 3, 4]
    assert slurm.gpus_of_tres("cpu=4,mem=6G,node=1,billing=4,gres/gpu=2,gres/gpu:tesla=2") == 2
    assert slurm.gpus_of_tres("cpu=4") == 0


def test_a_job_that_a_notebook_sends_inherits_neither_its_options_nor_its_tokens() -> None:
    given = {"PATH": "/bin", "HOME": "/home/a", "SLURM_MEM_PER_NODE": "1", "JUPYTERHUB_API_TOKEN": "secret"}
    assert slurm.environment(given) == {"PATH": "/bin", "HOME": "/home/a"}


def test_a_missing_command_and_a_silent_one_give_a_sentence() -> None:
    assert "there is no such command" in slurm.ask("no-such-command --me").text
    silent = slurm.ask(f"{sys.executable} -c 'import signal; signal.pause()'", seconds=0.2)
    assert "gave no answer" in silent.text
    assert silent.status != 0


def test_outside_a_job_the_example_is_named_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    slurm.show("squeue --me", "rows")
    shown = capsys.readouterr().out
    assert slurm.OUTSIDE in shown
    assert "An example of its output" in shown


def test_the_story_is_davides_where_the_cluster_is_davide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = {"name": "p", "nodes": ["a", "b[01-03,7]"], "cores": 8, "memory_gb": 64, "gpus": 2, "max_hours": 4}
    facts = {"name": "Here", "cluster": "davide", "account": "x", "partitions": [partition], "profiles": []}
    facts |= {"told": "to others that read the file"}
    path = tmp_path / "site.json"
    path.write_text(json.dumps(facts | {"per_user": 1}))
    monkeypatch.setenv("DAVIDE_SITE", str(path))
    first, second = machine.story(machine.site())
    assert "45 nodes" in first
    assert "5 nodes, each with 8 cores, 2 GPUs, 64 GB" in second
    path.write_text(json.dumps(facts | {"per_user": 1, "cluster": "other"}))
    assert len(machine.story(machine.site())) == 1


@pytest.mark.parametrize("seed", range(6))
def test_backfill_shortens_waiting_and_delays_no_first_in_the_queue(seed: int) -> None:
    jobs = queueing.day_of_jobs(seed)
    filled = queueing.starts(jobs, 8, backfill=True)
    assert queueing.most_in_use(jobs, filled) <= 8
    assert (np.array(filled) >= [job.submitted for job in jobs]).all()
    assert np.mean(filled) < np.mean(queueing.starts(jobs, 8, backfill=False))
