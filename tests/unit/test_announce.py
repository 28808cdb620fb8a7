"""The announcement on every page: written whole, shown until its time is over, and taken away."""

from __future__ import annotations

import logging
import os
import stat
from datetime import datetime

import pytest
from davide_hub import announce
from davide_hub.announce import Announcement, Board, moment
from davide_hub.cli import main
from davide_hub.facts import FactsError
from davide_hub.posted import post, take_down

NOW = datetime(2026, 12, 1, 13, 0)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "announcement.json"


@pytest.fixture
def board(file):
    return Board(file, logging.getLogger("test"))


def test_what_is_written_is_shown_by_a_board_that_is_there_already_and_after_a_restart(file, board):
    assert board.shown() is None
    post(file, Announcement("Slurm is away from 14:00.", "warning"))
    assert board.shown() == Announcement("Slurm is away from 14:00.", "warning")
    post(file, Announcement("It is back."))
    assert board.shown() == Board(file, logging.getLogger("test")).shown() == Announcement("It is back.")
    take_down(file)
    assert board.shown() is None


def test_it_is_shown_until_its_time(file, board, monkeypatch):
    post(file, Announcement("x", until=1000.0))
    monkeypatch.setattr(announce.time, "time", lambda: 999.0)
    assert board.shown() is not None
    monkeypatch.setattr(announce.time, "time", lambda: 1000.0)
    assert board.shown() is None


def test_a_crash_in_between_leaves_the_last_one(file, board, monkeypatch):
    post(file, Announcement("old"))

    def crash(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        post(file, Announcement("new"))
    monkeypatch.undo()
    assert board.shown() == Announcement("old")
    post(file, Announcement("new"))
    assert board.shown() == Announcement("new")


def test_the_hub_may_read_it_whatever_roots_umask_is(file):
    old = os.umask(0o077)
    try:
        post(file, Announcement("x"))
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@pytest.mark.parametrize("content", ["", "{", "[]", '{"text": "x", "more": 1}', "\xff"])
def test_a_broken_file_shows_nothing_and_is_told_once(file, board, caplog, content):
    file.write_text(content, encoding="latin-1")
    assert [board.shown(), board.shown()] == [None, None]
    assert len(caplog.records) == 1
    assert "davide-hub announce TEXT" in caplog.text


def test_the_verb_writes_and_clears(file, board):
    assert main(["announce", "Hello", "--level", "danger", "--file", str(file)]) == 0
    assert board.shown() == Announcement("Hello", "danger")
    assert main(["announce", "--clear", "--file", str(file)]) == 0
    assert board.shown() is None


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "\x1b[2J", "x" * 501])
def test_only_one_line_that_can_be_seen_is_taken(file, text, capsys):
    assert main(["announce", text, "--file", str(file)]) == 1
    assert "one line of 1 to 500 characters" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("14:00", (1, 14, 0)), ("12:59", (2, 12, 59)), ("2026-12-03 08:30", (3, 8, 30)), ("2026-12-03", (3, 0, 0))],
)
def test_a_time_is_the_next_one_or_the_day_that_was_written(written, meant):
    then = moment(written, NOW)
    assert (then.day, then.hour, then.minute) == meant


@pytest.mark.parametrize("written", ["25:00", "soon", "2026-12-01 12:00", "14:00; rm"])
def test_what_is_no_time_is_refused_with_the_fix(written):
    with pytest.raises(FactsError, match="write"):
        moment(written, NOW)
