"""Two jobs with one session key: one server."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from davide_session.callhome import note_port
from davide_session.claim import NotClaimed, claim

TOP = Path(__file__).parents[2]


def test_the_first_job_has_the_session_and_a_second_is_told_whose_it_is(tmp_path):
    claim(tmp_path, "17")
    with pytest.raises(NotClaimed, match=r"^this session already runs as job 17$"):
        claim(tmp_path, "18")


def test_a_job_that_is_started_anew_under_its_number_may_go_on(tmp_path):
    claim(tmp_path, "17")
    claim(tmp_path, "17")
    assert [path.name for path in tmp_path.iterdir()] == ["claimed"]


def test_where_the_first_server_of_a_job_listened_is_forgotten_when_it_is_started_anew(tmp_path):
    claim(tmp_path, "17")
    note_port(tmp_path, 40123)
    with pytest.raises(NotClaimed):
        claim(tmp_path, "18")
    assert (tmp_path / "listening.json").exists(), "the session's own job may go on"
    claim(tmp_path, "17")
    assert not (tmp_path / "listening.json").exists()


def test_what_no_session_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "claimed").write_text("17")
    with pytest.raises(NotClaimed, match=r"claimed: no session made this; remove it"):
        claim(tmp_path, "17")


def test_of_many_at_the_same_moment_one_gets_it(tmp_path):
    def try_to(number: int) -> str:
        try:
            claim(tmp_path, str(number))
        except NotClaimed as refusal:
            return str(refusal).rpartition(" ")[2]
        return str(number)

    with ThreadPoolExecutor(max_workers=8) as pool:
        holders = set(pool.map(try_to, range(100, 164)))
    assert holders == {str((tmp_path / "claimed").readlink())}


def test_a_second_job_ends_before_it_reads_the_secrets(tmp_path):
    claim(tmp_path, "17")
    code = f"import sys; sys.path.insert(0, {str(TOP / 'hub')!r}); from davide_session.launch import main; "
    code += "sys.exit(main())"
    secrets = tmp_path / "environment.json"
    secrets.write_text("not even JSON")
    arguments = ["--environment", secrets, "--software", "/software", "--kernel", "k", "--course", "c"]
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        env=os.environ | {"HOME": str(tmp_path), "SLURM_JOB_ID": "18"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "this session already runs as job 17\n"


def test_a_folder_that_takes_nothing_is_told_in_a_sentence(tmp_path):
    with pytest.raises(NotClaimed, match=r"claimed: can't be made \(No such file or directory\); make room"):
        claim(tmp_path / "gone", "17")
