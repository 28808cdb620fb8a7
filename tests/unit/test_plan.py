"""From wishes to what a session gets: bounds, defaults of the course, and what it has locked."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from davide_hub.facts import load_site
from davide_hub.plan import BadWish, Wishes, settle
from davide_hub.profiles import UnknownProfile

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
DAY = date(2026, 3, 10)


def taught(**facts):
    """Return the site with other facts about its course."""
    course = SITE.course.model_copy(
        update={"first_day": "2026-03-02", "last_day": "2026-03-20", "profile": "no-gpu"} | facts
    )
    return SITE.model_copy(update={"course": course})


def test_without_wishes_it_is_the_courses_profile_as_the_site_has_it():
    plan = settle(taught(hours=3, account="course26", reservation="dl"), Wishes(), DAY)
    assert (plan.profile.name, plan.profile.hours, plan.account, plan.qos) == ("no-gpu", 3, "course26", "")
    assert plan.reservation == "dl"


@pytest.mark.parametrize("day", [date(2026, 3, 1), date(2026, 3, 21)])
def test_before_and_after_the_course_it_is_the_sites(day):
    plan = settle(taught(hours=3, account="course26", reservation="dl", locked=("hours",)), Wishes(), day)
    assert (plan.profile.name, plan.profile.hours, plan.account) == ("one-gpu", 2, SITE.slurm.account)
    assert plan.reservation == ""


def test_cores_and_memory_belong_to_the_gpus():
    plan = settle(SITE, Wishes("one-gpu", gpus=3, hours=5), DAY)
    assert (plan.profile.cores, plan.profile.memory_gb, plan.gpu_hours) == (12, 18, 15)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes("one-gpu", gpus=5), "gpus 5 is not possible here: this profile has 1 to 4"),
        (Wishes("one-gpu", gpus=0), "gpus 0 is not possible"),
        (Wishes("no-gpu", gpus=1), "gpus 1 is not possible here: this profile has 0"),
        (Wishes("four-gpus", gpus=2), "gpus 2 is not possible here: this profile has 4"),
        (Wishes("one-gpu", hours=9), "hours 9 is not possible here: this profile has 1 to 8"),
        (Wishes("one-gpu", hours=0), "hours 0"),
        (Wishes("one-gpu", hours=True), "hours True"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_bounds(wishes, words):
    with pytest.raises(BadWish, match=words):
        settle(SITE, wishes, DAY)


@pytest.mark.parametrize(
    ("field", "value"),
    [("profile", "one-gpu"), ("hours", 4), ("account", "other"), ("qos", "high"), ("reservation", "mine")],
)
def test_a_locked_field_is_as_the_course_has_it(field, value):
    site = taught(hours=2, account="course26", reservation="dl", qos="class", locked=(field,))
    own = settle(site, Wishes(), DAY)
    with pytest.raises(BadWish, match=f"The course sets {field} to .* until 2026-03-20"):
        settle(site, Wishes(**{field: value}), DAY)
    # Saying what holds anyway is no offence: the form does so.
    assert settle(site, own.wishes(), DAY) == own
    settle(taught(hours=2, account="course26", qos="class"), Wishes(**{field: value}), DAY)


def test_a_locked_reservation_can_not_be_left_out():
    with pytest.raises(BadWish, match="The course sets reservation to dl"):
        settle(taught(reservation="dl", locked=("reservation",)), Wishes(reservation=""), DAY)


def test_settling_what_was_settled_changes_nothing():
    plan = settle(taught(reservation="dl"), Wishes("one-gpu", gpus=2, hours=7, reservation=""), DAY)
    assert settle(taught(reservation="dl"), plan.wishes(), DAY) == plan
    assert replace(plan, account="x") != plan


def test_an_unknown_profile_names_the_choices():
    with pytest.raises(UnknownProfile, match="this site has one-gpu"):
        settle(SITE, Wishes("huge"), DAY)
