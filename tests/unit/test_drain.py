"""A drain: written by a verb, kept by a file, and in doubt it holds."""

from __future__ import annotations

import logging

import pytest
from davide_hub.cli import main
from davide_hub.drain import Drain, Gate


@pytest.fixture
def file(tmp_path):
    return tmp_path / "drain.json"


@pytest.fixture
def gate(file):
    return Gate(file, logging.getLogger("test"))


def test_the_verbs_close_and_open_a_gate_that_is_there_already_and_after_a_restart(file, gate):
    assert gate.drain() is None
    assert main(["drain", "--until", "Thursday 14:00", "--file", str(file)]) == 0
    assert gate.drain() == Gate(file, logging.getLogger("test")).drain() == Drain("Thursday 14:00")
    assert main(["drain", "--file", str(file)]) == 0
    assert gate.drain() == Drain()
    assert main(["undrain", "--file", str(file)]) == 0
    assert gate.drain() is None
    assert main(["undrain", "--file", str(file)]) == 0


def test_people_read_until_when():
    assert "until Thursday 14:00," in Drain("Thursday 14:00").sentence
    assert "until" not in Drain().sentence


@pytest.mark.parametrize("content", ["", "{", "[]", '{"until": "x", "more": 1}', "\xff"])
def test_a_broken_file_still_closes_and_is_told_once(file, gate, caplog, content):
    file.write_text(content, encoding="latin-1")
    assert [gate.drain(), gate.drain()] == [Drain(), Drain()]
    assert len(caplog.records) == 1
    assert "give the order anew: davide-hub drain, or undrain" in caplog.text


@pytest.mark.parametrize("until", ["", " ", "two\nlines", "x" * 81])
def test_only_one_line_that_can_be_seen_is_taken(file, until, capsys):
    assert main(["drain", "--until", until, "--file", str(file)]) == 1
    assert "--until must be one line of 1 to 80 characters" in capsys.readouterr().err
    assert not file.exists()
