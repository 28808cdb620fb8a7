"""`./davide deploy`: what a release has to answer for, and the order of what is done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from davide_lab import release
from davide_lab.say import Problem

SCRIPT = Path(__file__).parents[2] / "ansible/roles/python_env/files/install-environment"
DEAD = {"units": ["jupyterhub is not running"]}


def told(*findings: tuple[str, str, str]) -> dict[str, object]:
    rows = [{"check": check, "level": level, "sentence": text} for check, level, text in findings]
    return {"installed": True, "out": json.dumps({"findings": rows}), "error": ""}


def test_problems_count_and_warnings_do_not():
    found = release.problems_in([told(("room", "warning", "rather full"), ("units", "problem", "dead"))])
    assert found == {"units": ["dead"]}


def test_a_doctor_that_breaks_is_a_problem_in_itself():
    found = release.problems_in(
        [{"installed": True, "out": "", "error": "Traceback\nImportError: no module named davide_hub"}]
    )
    assert "the doctor came to no verdict" in found["doctor"][0]
    assert "ImportError" in found["doctor"][0]


def test_where_no_hub_is_installed_there_is_no_verdict():
    assert release.problems_in([{"installed": False, "out": "", "error": ""}]) is None


def test_a_release_answers_for_what_was_well_before_it():
    after = DEAD | {"kernels": ["tf-cpu is missing"]}
    assert release.worse({"kernels": ["tf-gpu is missing"]}, after) == DEAD["units"]
    assert release.worse(None, after) == ["jupyterhub is not running", "tf-cpu is missing"]
    assert release.worse({}, None) == ["there is no hub on the hub's host"]


class Pretended:
    """Plays of which some fail."""

    def __init__(self, *, back: bool = True, after: release.Problems | None = None) -> None:
        self.back, self.after, self.ran = back, after, []

    def run(self, playbook, *_words, **_more):
        self.ran.append(playbook)
        return self.back

    def health(self):
        return self.after or {}


def test_a_release_that_is_not_well_is_taken_back(capsys):
    plays = Pretended()
    assert release.undo(plays, {}, ["jupyterhub is not running"]) == 1
    assert plays.ran == ["rollback.yml"]
    said = capsys.readouterr().out
    assert "not well: jupyterhub is not running" in said
    assert "The release was not well, and was taken back." in said


def test_what_going_back_did_not_mend_is_told(capsys):
    release.undo(Pretended(after=DEAD), {}, ["a play failed"])
    assert "what is named above is still to mend" in capsys.readouterr().out


def test_before_the_first_release_there_is_nothing_to_go_back_to():
    plays = Pretended()
    with pytest.raises(Problem, match="there was none before it; mend what is named above and deploy again"):
        release.undo(plays, None, ["a play failed"])
    assert plays.ran == []


def test_the_environment_that_runs_is_never_removed_however_old(tmp_path):
    """After a rollback the link leads to an old one, and the next installation would remove it."""
    rows = SCRIPT.read_text().splitlines()
    removal = "\n".join(rows[next(i for i, row in enumerate(rows) if row.startswith("link=")) :])
    for age, version in enumerate(("five", "four", "three", "two", "one")):
        folder = tmp_path / f"hub-{version}"
        folder.mkdir()
        subprocess.run(["touch", "-d", f"2026-03-0{age + 1}", folder], check=True)
    (tmp_path / "hub").symlink_to("hub-five")
    script = f"set -eu\ntarget={tmp_path}/hub-one\n{removal}"
    subprocess.run(["bash", "-c", script], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "hub-five", "hub-one", "hub-three", "hub-two"]
