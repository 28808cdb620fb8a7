"""The file with a session's secrets is believed only if it is the user's own and nobody else's."""

import json
import os
from pathlib import Path

import pytest
from davide_session.environment import EnvironmentFileError, read_environment

SECRET = "made-up-secret"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "environment.json"
    path.write_text(json.dumps({"JUPYTERHUB_API_TOKEN": SECRET}))
    path.chmod(0o600)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(EnvironmentFileError) as caught:
        read_environment(path)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_the_users_own_file_is_read_and_stays(file):
    assert read_environment(file) == {"JUPYTERHUB_API_TOKEN": SECRET}
    assert file.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o700, 0o400])
def test_another_mode_is_refused(file, mode):
    file.chmod(mode)
    assert refusal(file).endswith(f"has mode {mode:04o} instead of 0600; start a new session from the hub")


def test_a_link_is_refused(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    assert "can't be opened (Too many levels of symbolic links)" in refusal(link)


def test_a_file_of_somebody_else_is_refused(file, monkeypatch):
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert "belongs to uid" in refusal(file)


def test_a_pipe_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_a_missing_file_is_named(tmp_path):
    assert "gone.json: can't be opened (No such file or directory)" in refusal(tmp_path / "gone.json")


@pytest.mark.parametrize(
    "content",
    [
        f'["{SECRET}"]',
        f'{{"A": 1, "B": "{SECRET}"}}',
        f'{{"A B": "{SECRET}"}}',
        f'{{"A=B": "{SECRET}"}}',
        f'{{"A": "{SECRET}\\u0000"}}',
        f'{{"A": "{SECRET}',
        "",
        "[" * 100_000,
        '{"A": "' + "x" * 300_000 + '"}',
    ],
)
def test_what_is_no_mapping_of_variables_is_refused_without_quoting_it(file, content):
    file.write_text(content)
    assert "not a JSON mapping of variables" in refusal(file)


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b"\xff\xfe{}")
    assert "not a JSON mapping of variables" in refusal(file)
