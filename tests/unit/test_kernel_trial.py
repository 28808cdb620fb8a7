"""The test of a kernel on a node: the job that is asked for, and what its output means."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from davide_hub.cli import main
from davide_hub.facts import load_site
from davide_hub.kernels.recipe import load_recipe
from davide_hub.kernels.trial import fingerprint, fitting_partition, job, judged, told

TOP = Path(__file__).parents[2]
SITE = TOP / "tests/golden/site.yml"
REPORT = {
    "node": "gpu01",
    "python": "3.11.2",
    "threads": "2",
    "passed": False,
    "rows": [
        {"name": "import tensorflow", "passed": True, "seconds": 3.2, "found": "2.21.0", "cause": ""},
        {"name": "GPUs", "passed": False, "seconds": 0.1, "found": "0 seen, 1 allotted", "cause": "no driver"},
    ],
}


@pytest.fixture(scope="module")
def selftest():
    spec = importlib.util.spec_from_file_location("selftest", TOP / "kernels/selftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recipe(name):
    return load_recipe(TOP / f"kernels/{name}/kernel.yml")


def test_a_kernel_for_gpus_asks_for_one_and_a_kernel_for_processors_for_none():
    site = load_site(SITE)
    (partition,) = site.slurm.partitions
    gpu = job(site, recipe("tf-cuda-pascal-volta"), partition, Path("/k/tf-cuda-pascal-volta"))
    cpu = job(site, recipe("tf-cpu"), partition, Path("/k/tf-cpu"))
    assert "--gres=gpu:tesla:1" in gpu
    assert not [word for word in cpu if word.startswith("--gres")]
    assert cpu[-3:] == ["/k/tf-cpu/launch", "/k/tf-cpu/selftest.py", "--json"]


def test_a_kernel_that_fits_no_nodes_gets_no_partition():
    site = load_site(SITE)
    assert fitting_partition(site, "tf-cuda", recipe("tf-cuda")) is None
    assert fitting_partition(site, "tf-cpu", recipe("tf-cpu")).name == "dvd_usr_prod"


def test_a_report_is_found_below_what_else_a_job_prints():
    outcome = judged("tf-cpu", 1, f"module: loaded\n{json.dumps(REPORT)}\n", "")
    assert outcome.passed is False
    said = told(outcome)
    assert "WRONG GPUs" in said
    assert "likely cause: no driver" in said
    assert said.endswith("tf-cpu: WRONG")


@pytest.mark.parametrize(
    "words",
    [
        "srun: error: Unable to allocate resources: Requested nodes are busy\n",
        "srun: error: Unable to contact slurm controller (connect failure)\n",
    ],
)
def test_no_free_node_is_no_failure(words):
    outcome = judged("tf-cpu", 1, "", words)
    assert outcome.passed is None
    assert "no node was free" in told(outcome)


@pytest.mark.parametrize(
    ("status", "cause"), [(132, "AVX"), (137, "memory"), (139, "driver"), (127, "mounted"), (3, "by hand")]
)
def test_a_job_that_died_has_a_likely_cause(status, cause):
    outcome = judged("tf-cpu", status, "", "srun: error: gpu01: task 0: Exited\n")
    assert outcome.passed is False
    assert cause in outcome.why


def test_terminal_codes_of_a_node_do_not_reach_the_terminal():
    assert "\x1b" not in told(judged("tf-cpu", 3, "", "\x1b[2J boom"))


def test_what_changed_is_tested_again(tmp_path):
    folder = tmp_path / "tf-cpu"
    folder.mkdir()
    (folder / "kernel.yml").write_text((TOP / "kernels/tf-cpu/kernel.yml").read_text())
    for name in ("kernel.json", "launch", "selftest.py", "warm.py"):
        (folder / name).write_text("one")
    before = fingerprint(folder, tmp_path)
    (folder / "launch").write_text("two")
    assert fingerprint(folder, tmp_path) != before


def test_unknown_kernel_names_the_choices(capsys):
    assert main(["kernels", "test", "tf-nothing", "--site", str(SITE)]) == 1
    assert "no kernel 'tf-nothing'; this site has tf-cpu" in capsys.readouterr().err


def test_a_kernel_that_is_not_installed_is_told_with_the_fix(capsys):
    assert main(["kernels", "list", "--site", str(SITE)]) == 1
    assert "tf-cpu is not installed there; run the play with the tag kernels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({"SLURM_STEP_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "0"}, 2),
        ({"SLURM_JOB_GPUS": "1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, 0),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({}, 0),
    ],
)
def test_gpus_allotted_are_those_of_slurm(selftest, environ, count):
    assert selftest.gpus_allotted(environ) == count


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("No module named 'tensorflow'", "lacks it"),
        ("/lib64/libm.so.6: version `GLIBC_2.27' not found", "RHEL 8"),
        ("DNN library initialization failed", "tf-cuda-pascal-volta"),
        ("something else", "not known"),
    ],
)
def test_what_a_part_raises_becomes_a_row_with_its_cause(selftest, words, cause):
    def part():
        raise ImportError(words)

    row = selftest.run_part("import tensorflow", part)
    assert not row["passed"]
    assert words in row["found"]
    assert cause in row["cause"]


def test_a_process_of_the_sum_that_is_killed_is_told_with_its_cause(selftest):
    died = subprocess.Popen(
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    row = selftest.run_part("all-reduce", lambda: selftest._result_of(died))
    assert "status -9" in row["found"]
    assert "memory was too small" in row["cause"]
