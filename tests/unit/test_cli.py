"""`davide-hub` as an administrator and as Ansible call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from davide_hub.cli import main

TOP = Path(__file__).parents[2]
LOCAL = TOP / "ansible/inventory/local/group_vars/all/site.yml"


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "site.yml"
    path.write_text(LOCAL.read_text().replace("memory_gb: 6\n", "memory_gb: lots\n"))
    return path


def test_check_says_good(capsys):
    assert main(["check", str(LOCAL)]) == 0
    assert capsys.readouterr().out == f"{LOCAL}: good; DAVIDE local cluster, 3 profiles, 1 kernels\n"


def test_check_says_what_is_wrong_on_stderr(bad, capsys):
    assert main(["check", str(bad)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "site.profiles[0].memory_gb: 'lots' is not a whole number of gigabytes" in output.err


def test_check_tells_what_a_shared_origin_costs(tmp_path, capsys):
    path = tmp_path / "site.yml"
    path.write_text(LOCAL.read_text().replace("origins: per-user", "origins: shared"))
    assert main(["check", str(path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}: site.origins: shared: every user's pages come from one origin")
    assert "good" in second
    assert main(["check", "--json", str(path)]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 1


def test_check_speaks_json(bad, capsys):
    assert main(["check", "--json", str(bad)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert len(answer["problems"]) == 1
    assert main(["check", "--json", str(LOCAL)]) == 0
    assert json.loads(capsys.readouterr().out)["site"]["slurm"]["account"] == "tra26_davide"


def test_render_takes_a_file_too(tmp_path):
    assert main(["render", "--site", str(LOCAL), "--out", str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"session-one-gpu.sbatch", "session-four-gpus.sbatch", "session-no-gpu.sbatch"} <= names


def test_render_into_a_file_is_one_sentence(tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert main(["render", "--site", "local", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'out'}: File exists; give a folder you may write to\n"


def test_an_unknown_site_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["render", "--site", "nowhere", "--out", "out"]) == 1
    assert "nowhere: can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["check", "--help"], ["render", "--help"]])
def test_it_runs_from_a_checkout_without_being_installed(arguments):
    environment = os.environ | {"PYTHONPATH": str(TOP / "hub")}
    command = [sys.executable, "-m", "davide_hub.cli", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == (0 if arguments else 2)
    assert "usage: davide-hub" in result.stdout + result.stderr
