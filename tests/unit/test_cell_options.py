"""The line after %%davide: what it asks for, and the sentence where it asks for what there is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from davide_course.cell import options, script
from davide_course.cell.magic import source
from davide_course.cell.options import Refused, request
from davide_course.machine import EXAMPLE, Site

SITE = Site(
    name="here",
    cluster="davide",
    account="course",
    partitions=(
        {"name": "cpu", "nodes": 4, "cores": 8, "memory_gb": 16, "gpus": 0, "max_hours": 2},
        {"name": "gpu", "nodes": 2, "cores": 16, "memory_gb": 24, "gpus": 4, "max_hours": 8},
    ),
    profiles=(),
    per_user=1,
)
SESSION = {"SLURM_JOB_PARTITION": "cpu", "SLURM_JOB_ACCOUNT": "mine", "SLURM_JOB_RESERVATION": "lesson"}


def test_one_process_for_each_gpu_with_its_share_of_the_node() -> None:
    asked = request("--nodes 2 --gpus 4 --time 45", SITE, SESSION)
    assert (asked.nodes, asked.gpus, asked.tasks, asked.minutes) == (2, 4, 4, 45)
    assert (asked.cores, asked.memory_mb) == (4, 6 * 1024)
    assert (asked.partition, asked.account) == ("gpu", "mine")
    assert asked.reservation == ""  # it belongs to the session's partition


def test_without_gpus_the_job_goes_where_the_session_is() -> None:
    asked = request("--tasks=3", SITE, SESSION)
    assert (asked.partition, asked.reservation, asked.tasks, asked.cores, asked.memory_mb) == (
        "cpu",
        "lesson",
        3,
        1,
        2048,
    )


def test_where_the_site_is_unknown_slurm_judges() -> None:
    asked = request("--gpus 64", EXAMPLE, {})
    assert (asked.tasks, asked.partition, asked.account, asked.memory_mb) == (64, "", "", None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--gpu 2", "no option 'gpu'; did you mean --gpus?"),
        ("two nodes", "no option 'two'"),
        ("--nodes", "--nodes needs a value: --nodes N, how many nodes"),
        ("--nodes --gpus 2", "--nodes needs a value"),
        ("--nodes many", "--nodes takes a whole number from 1 to"),
        ("--nodes 0", "--nodes takes a whole number from 1 to"),
        ("--nodes ٣", "--nodes takes a whole number"),
        ("--time -5", "--time takes a whole number from 1"),
        ("--nodes 3 --gpus 4", "can't be shared out evenly over 3 nodes: take 3 or 6"),
        ("--nodes 2 --gpus 1", "can't be shared out evenly over 2 nodes: take 2."),
        ("--gpus 2 --tasks 2", "leave --tasks out"),
        ("--gpus 5", "a node of gpu has 4, so with --nodes 1 take 0 to 4, or more nodes"),
        ("--nodes 5", "the partition cpu has 4; take 1 to 4"),
        ("--tasks 9", "at most 8 processes a node"),
        ("--tasks 2 --cores 5", "or --cores 4"),
        ("--tasks 2 --memory 9", "each of 2 processes on it may take 8"),
        ("--time 121", "a job in cpu may take 120 minutes; take 1 to 120"),
        ("--run ../x", "--run takes a name of letters"),
        ("--result a-b", "--result takes the name of a variable"),
        ("--send a,b.c", "--send takes the name of a variable, not 'b.c'"),
        ("--partition 'x\n#SBATCH --uid=0'", "--partition takes a name of Slurm's"),
        ("--script nowhere.py", "there is no such file"),
        ("-- words", "name it with --script FILE"),
        ("--run 'half", "Put quotes around"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(line: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        request(line, SITE, SESSION)
    assert said in str(caught.value)
    assert caught.value._render_traceback_() == [str(caught.value)]


def test_help_has_every_option() -> None:
    assert all(f"--{name} " in options.HELP for name in options.OPTIONS)


def test_job_script_is_one_to_learn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "my notebooks"
    home.mkdir()
    monkeypatch.chdir(home)
    asked = request("--nodes 2 --gpus 4 --run digits", SITE, SESSION)
    text = script.job_script(asked, "cell-digits-1", home / "runs/digits/.job-1", home / "runs/digits", "/k/launch")
    lines = text.splitlines()
    head = lines[: lines.index("")]
    assert head == [
        "#!/bin/bash",
        "#SBATCH --job-name=cell-digits-1",
        "#SBATCH --account=mine",
        "#SBATCH --partition=gpu",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=2",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=12288M",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --time=30",
        "#SBATCH --signal=USR1@120",
        "#SBATCH --no-requeue",
        "#SBATCH --output=job.txt",
    ]
    assert f"cd '{home}'" in lines
    assert lines[-1].strip() == f"/k/launch -P -m davide_course.cell.rank '{home}/runs/digits/.job-1'"


def test_short_job_gets_no_signal_before_it_can_hear_it(tmp_path: Path) -> None:
    asked = request("--time 4", SITE, SESSION)
    assert "--signal" not in script.job_script(asked, "cell", tmp_path, tmp_path, "python")


def test_code_that_python_cannot_read_is_refused_by_its_line() -> None:
    asked = request("", SITE, SESSION)
    with pytest.raises(Refused, match=r"Line 3: .*: y = = 2 Nothing was submitted"):
        source(asked, "", "x = 1\ny = = 2\n")
    with pytest.raises(Refused, match="A job knows no magics and no `!`"):
        source(asked, "", "!nvidia-smi\n")
    with pytest.raises(Refused, match="There is nothing to run"):
        source(asked, "", None)


def test_script_is_read_too_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def f(:\n")
    asked = request("--script train.py -- --epochs 3", SITE, SESSION)
    assert asked.arguments == ("--epochs", "3")
    with pytest.raises(Refused, match=r"train\.py, line 1: "):
        source(asked, "", None)
    with pytest.raises(Refused, match="Either a cell or --script FILE"):
        source(asked, "", "x = 1")
