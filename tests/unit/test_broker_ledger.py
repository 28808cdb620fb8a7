"""The ledger: what the broker knows of sessions, through every kind of end of its own."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from davide_hub.broker.ledger import Entry, Ledger

WHO = {"user": "student01", "uid": 6001, "gid": 6000, "home": "/home/student01"}
ENTRY = Entry("ab12", **WHO, server="my one", profile="one-gpu", state="intended", token_digest="d1")
DAY = 24 * 3600


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, lambda: 1_000_000.0)


def age(path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_each_step_of_a_session_is_on_the_disk_when_it_is_taken(ledger, tmp_path):
    def on_disk() -> tuple[str, str]:
        entry = Ledger(tmp_path).find("ab12")
        return entry.state, entry.job

    entry = ledger.intend(ENTRY)
    assert on_disk() == ("intended", "")
    entry = ledger.submitted(entry, "17")
    assert on_disk() == ("submitted", "17")
    entry = ledger.closing(entry)
    assert on_disk() == ("closing", "17")
    ledger.closed(entry)
    assert on_disk() == ("closed", "17")


def test_an_entry_keeps_whose_it_is_and_when_it_was_tried(ledger):
    ledger.submitted(ledger.intend(ENTRY), "17")
    entry = ledger.find("ab12")
    assert {name: getattr(entry, name) for name in WHO} == WHO
    assert (entry.server, entry.profile) == ("my one", "one-gpu")
    assert (entry.token_digest, entry.tried) == ("d1", 1_000_000.0)


def test_a_closed_session_is_not_opened_again_by_closing_it(ledger):
    closed = ledger.closed(ledger.intend(ENTRY))
    assert ledger.closing(closed).state == "closed"
    assert ledger.find("ab12").state == "closed"


def test_only_sessions_that_may_have_a_job_are_open(ledger):
    for key in ("a1", "b2", "c3"):
        ledger.intend(replace(ENTRY, key=key))
    ledger.closed(ledger.find("b2"))
    ledger.closing(ledger.find("c3"))
    assert [(one.key, one.state) for one in ledger.open()] == [("a1", "intended"), ("c3", "closing")]


def test_the_latest_session_is_told_first(tmp_path):
    ledger = Ledger(tmp_path, iter([100.0, 300.0, 200.0]).__next__)
    for key in ("a1", "b2", "c3"):
        ledger.intend(replace(ENTRY, key=key))
    assert [one.key for one in ledger.open()] == ["b2", "c3", "a1"]


def test_a_session_that_was_ordered_twice_is_doubtful_until_somebody_is_certain(ledger):
    once = ledger.intend(ENTRY)
    assert not once.doubtful
    ledger.submitted(ledger.intend(once), "17")
    assert ledger.find("ab12").doubtful
    ledger.certain(ledger.find("ab12"))
    assert not ledger.find("ab12").doubtful
    assert ledger.find("ab12").job == "17"


def test_a_session_that_nobody_asked_for_is_none(ledger):
    assert ledger.find("ab12") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7", '{"key": "ab12"}', "\xff"])
def test_a_damaged_file_is_no_entry_and_harms_no_other(ledger, tmp_path, text):
    ledger.intend(ENTRY)
    (tmp_path / "cd34").write_text(text, encoding="latin-1")
    assert ledger.find("cd34") is None
    assert [one.key for one in ledger.open()] == ["ab12"]
    assert Ledger(tmp_path).find("ab12") is not None


def test_what_a_killed_broker_left_half_written_is_no_session_and_goes(ledger, tmp_path):
    ledger.intend(ENTRY)
    (tmp_path / ".cd34.12.34").write_text('{"key": "cd')
    assert [one.key for one in ledger.open()] == ["ab12"]
    Ledger(tmp_path, time.time)
    assert [path.name for path in tmp_path.iterdir()] == ["ab12"]


def test_a_later_version_may_have_written_more(ledger, tmp_path):
    ledger.intend(ENTRY)
    text = (tmp_path / "ab12").read_text()
    (tmp_path / "ab12").write_text(text.replace("{", '{"colour": "red", ', 1))
    assert ledger.find("ab12").user == "student01"


@pytest.mark.parametrize(("state", "days", "kept"), [("closed", 0.9, True), ("closed", 1.1, False)])
def test_closed_sessions_are_forgotten_after_a_day(tmp_path, state, days, kept):
    ledger = Ledger(tmp_path)
    ledger.closed(ledger.intend(ENTRY))
    age(tmp_path / "ab12", days * DAY)
    assert (Ledger(tmp_path).find("ab12") is not None) is kept


@pytest.mark.parametrize(("days", "kept"), [(39, True), (41, False)])
def test_open_sessions_are_kept_longer_than_any_can_run(tmp_path, days, kept):
    Ledger(tmp_path).intend(ENTRY)
    age(tmp_path / "ab12", days * DAY)
    assert (Ledger(tmp_path).find("ab12") is not None) is kept


def test_the_ledger_is_for_roots_eyes_only(tmp_path):
    Ledger(tmp_path / "ledger")
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
