"""What the form tells of each profile, in words."""

from __future__ import annotations

import asyncio
import time
from datetime import date, datetime
from pathlib import Path

import pytest
from davide_hub import estimates
from davide_hub.broker.client import BrokerUnreachable
from davide_hub.desk import Desk, about
from davide_hub.facts import load_site
from davide_hub.plan import Wishes, settle
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.when import in_words
from fake_broker import FakeBroker
from support.slurm_says import associations, node, reservation, sinfo

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
NOW = time.mktime((2026, 3, 2, 12, 0, 0, 0, 0, -1))
IDLE, FULL = sinfo(node("gpu01"), node("gpu02")), sinfo(node("gpu01", used=4), node("gpu02", used=4))


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Let estimates follow each other at once."""
    monkeypatch.setattr(estimates, "PAUSE_SECONDS", 0)


class Slurm:
    """Says what it is told to; an exception is raised."""

    def __init__(self, nodes=IDLE, reservations="No reservations in the system\n", start=""):
        self.says = {
            "nodes": nodes,
            "reservations": reservations,
            "associations": associations(student01=("tra26_davide",)),
        }
        self.broker = FakeBroker(estimate=f'{{"start": {start}}}' if start else BrokerUnreachable())

    async def ask(self, question, _jobs):
        if isinstance(self.says[question], Exception):
            raise self.says[question]
        return Outcome(0, self.says[question])


def figures(slurm, user="student01", **wishes):
    async def run():
        desk = Desk(SITE, slurm.ask, slurm.broker, lambda: NOW)
        plan = settle(SITE, Wishes(**wishes), date(2026, 3, 2))
        desk.allowed(user)
        await desk.fresh_figures(user, plan)
        if desk.estimates._worker is not None:
            await desk.estimates._worker
        return desk.figures(user, plan)

    return asyncio.run(run())


def test_an_idle_cluster_starts_now():
    told = figures(Slurm())
    assert told["profiles"]["one-gpu"] == {"free": "8 of 8 GPUs free", "start": "now", "kind": "now"}
    assert told["profiles"]["no-gpu"] == {"free": "", "start": "now", "kind": "now"}
    assert not told["silent"]


def test_what_is_chosen_counts_and_not_the_profiles_usual_size():
    slurm = Slurm(sinfo(node("gpu01", used=3)))
    assert figures(slurm, profile="one-gpu", gpus=1)["profiles"]["one-gpu"]["kind"] == "now"
    assert figures(slurm, profile="one-gpu", gpus=2)["profiles"]["one-gpu"]["kind"] == "later"


def test_a_silent_slurm_is_told_and_nothing_is_made_up():
    told = figures(Slurm(SlurmSilent("sinfo: no")))
    assert told["silent"]
    assert told["profiles"]["one-gpu"] == {"free": "", "start": "", "kind": "unknown"}


def test_a_reservation_that_begins_later_is_told_with_its_time():
    slurm = Slurm(reservations=reservation("dl", NOW + 7200, NOW + 9000, users="student01"))
    told = figures(slurm, reservation="dl")["profiles"]["one-gpu"]
    assert told["start"] == "when the reservation begins, at 14:00"


def test_a_reservation_that_slurm_has_not_is_told():
    told = figures(Slurm(), reservation="of-last-year")["profiles"]["one-gpu"]
    assert (told["kind"], told["start"]) == ("never", "never with this choice: Slurm has no reservation of-last-year")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (NOW + 20, "now"),
        (NOW + 240, "in about 4 min"),
        (NOW + 1260, "in about 20 min"),
        (NOW + 6 * 3600, "probably at 18:00"),
        (NOW + 7200, "after the reservation, at 14:00"),
    ],
)
def test_a_full_cluster_starts_when_slurm_says(start, words):
    slurm = Slurm(FULL, reservation("root_1", NOW, NOW + 7200, users="root"), start=start)
    assert figures(slurm)["profiles"]["one-gpu"]["start"] == words


def test_times_are_as_people_say_them():
    now = datetime(2026, 3, 2, 22, 0)
    assert in_words(datetime(2026, 3, 2, 23, 5), now) == "at 23:05"
    assert in_words(datetime(2026, 3, 3, 9, 0), now) == "tomorrow at 09:00"
    assert in_words(datetime(2026, 3, 5, 9, 0), now) == "on 5 March at 09:00"
    assert about(datetime(2026, 3, 2, 22, 1), now) == "in about 1 minute"


def test_the_form_begins_with_the_last_choice_unless_it_is_not_possible_any_more():
    async def run(saved):
        slurm = Slurm()
        desk = Desk(SITE, slurm.ask, slurm.broker, lambda: NOW)
        desk.allowed("student01")
        await asyncio.gather(*(one._round for one in (desk.reservations, desk.associations)))
        return desk.form("student01", None, saved)["plan"]

    kept = asyncio.run(run(Wishes("four-gpus", hours=3)))
    assert (kept.profile.name, kept.profile.hours) == ("four-gpus", 3)
    for gone in (Wishes("of last year"), Wishes("one-gpu", hours=99), Wishes("no-gpu", reservation="over")):
        assert asyncio.run(run(gone)) == settle(SITE, Wishes(), date.today())
