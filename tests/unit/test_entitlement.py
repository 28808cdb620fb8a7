"""Accounts, QOS and reservations: what a user may choose from, by what Slurm's commands print."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from davide_hub.entitlement import allowed, read_associations, read_reservations
from davide_hub.hostlist import host_names
from davide_hub.questions import Outcome, SlurmSilent

DATA = Path(__file__).parent / "data"
# As the local cluster's commands printed it (Slurm 22.05.8), with an account and reservations that were made for it.
ASSOCIATIONS = (DATA / "sacctmgr-users-22.05.txt").read_text()
RESERVATIONS = (DATA / "scontrol-reservations-whose-22.05.txt").read_text()
TEN, TWELVE = (time.mktime((2026, 11, 30, hour, 0, 0, 0, 0, -1)) for hour in (10, 12))


def may(user, now=TEN, reservations=RESERVATIONS):
    read = read_reservations(Outcome(0, reservations))
    return allowed(user, "tra26_davide", read_associations(Outcome(0, ASSOCIATIONS), "davide"), read, now)


def test_accounts_are_the_users_own_on_this_cluster_and_the_usual_one_is_first():
    assert may("student01").accounts == ("tra26_davide", "ai26_thesis")
    assert may("student01").qos == {"tra26_davide": ("normal",), "ai26_thesis": ("high", "normal")}
    assert may("student02").accounts == ("tra26_davide", "ai26_thesis")


def test_who_is_not_listed_has_the_usual_account():
    assert may("student99").accounts == ("tra26_davide",)


def test_what_another_cluster_has_is_not_offered():
    read = read_associations(Outcome(0, ASSOCIATIONS.replace("davide|ai26", "other|ai26")), "davide")
    assert list(read["student01"]) == ["tra26_davide"]


def test_a_reservation_is_offered_to_its_accounts_and_users():
    assert [one.name for one in may("student02").reservations] == ["dl-course", "not-for-all", "shut-out"]
    assert [one.name for one in may("student03").reservations] == ["dl-course", "shut-out"]
    assert [one.name for one in may("root").reservations] == ["root_1"]


def test_a_user_who_is_shut_out_of_a_reservation_is_not_offered_it():
    assert [one.name for one in may("student01").reservations] == ["dl-course", "not-for-all"]


def test_a_reservation_that_is_over_is_offered_to_nobody():
    assert [one.name for one in may("student02", now=TWELVE).reservations] == ["dl-course"]


def test_a_reservation_knows_its_nodes_and_hours():
    course, *_ = read_reservations(Outcome(0, RESERVATIONS))
    assert course.nodes == {"gpu01", "gpu02"}
    assert course.start == time.mktime((2026, 11, 30, 10, 38, 49, 0, 0, -1))
    assert course.end - course.start == 4 * 3600


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gpu01", ["gpu01"]),
        ("gpu[01-03,07],login1", ["gpu01", "gpu02", "gpu03", "gpu07", "login1"]),
        ("r[1-2]n", ["r1n", "r2n"]),
        ("(null)", []),
        ("", []),
    ],
)
def test_a_host_list_is_read(text, names):
    assert list(host_names(text)) == names


def test_reservations_as_scontrol_really_prints_them():
    [course, upkeep] = read_reservations(Outcome(0, (DATA / "scontrol-reservations-22.05.txt").read_text()))
    assert (course.name, course.nodes, course.users, course.accounts) == ("dl-course", {"gpu03"}, ("root",), ())
    assert course.end - course.start == 3600
    assert upkeep.name == "maintenance"


def test_no_reservations_are_an_answer():
    assert read_reservations(Outcome(0, "No reservations in the system\n")) == []


@pytest.mark.parametrize("outcome", [Outcome(1, "", "Unable to contact slurm controller"), Outcome(0, "")])
def test_no_answer_is_none(outcome):
    with pytest.raises(SlurmSilent):
        read_reservations(outcome)
    with pytest.raises(SlurmSilent):
        read_associations(outcome, "davide")
