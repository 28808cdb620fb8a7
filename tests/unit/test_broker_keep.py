"""Tickets on the broker's disk, and how files are written there."""

from __future__ import annotations

import pytest
from davide_hub.broker.keep import TICKET_SECONDS, Tickets, read, write


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_ticket_lasts_a_day_and_survives_a_restart(tmp_path, clock):
    Tickets(tmp_path, clock).give("student01", 6001)
    clock.now += TICKET_SECONDS - 1
    assert Tickets(tmp_path, clock).holds("student01", 6001)
    clock.now += 2
    assert not Tickets(tmp_path, clock).holds("student01", 6001)


def test_a_ticket_is_for_one_person(tmp_path, clock):
    tickets = Tickets(tmp_path, clock)
    tickets.give("student01", 6001)
    assert not tickets.holds("student02", 6002)
    assert not tickets.holds("student01", 6009), "the name was given to somebody else"


def test_without_a_uid_the_name_counts(tmp_path, clock):
    tickets = Tickets(tmp_path, clock)
    tickets.give("student01", 6001)
    assert tickets.holds("student01", None)
    assert not tickets.holds("student02", None)
    clock.now += TICKET_SECONDS + 1
    assert not tickets.holds("student01", None)


def test_a_broken_file_is_no_ticket(tmp_path, clock):
    tickets = Tickets(tmp_path, clock)
    tickets.give("student01", 6001)
    (tmp_path / "student01").write_text('{"uid": 60')
    assert not tickets.holds("student01", 6001)


def test_tickets_are_for_roots_eyes_only(tmp_path, clock):
    Tickets(tmp_path / "tickets", clock)
    assert (tmp_path / "tickets").stat().st_mode & 0o777 == 0o700


def test_a_file_that_could_not_be_written_leaves_the_old_one(tmp_path):
    write(tmp_path / "ab12", {"job": "17"})
    with pytest.raises(TypeError):
        write(tmp_path / "ab12", {"job": object()})
    assert read(tmp_path / "ab12") == {"job": "17"}
