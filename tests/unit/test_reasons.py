"""Slurm's reasons to let a session wait, as students read them.

The list of reasons is that of Slurm 25.05 (https://slurm.schedmd.com/job_reason_codes.html), in `data/`.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from davide_hub.reasons import explain
from davide_hub.states import Job, Phase

REASONS = (Path(__file__).parent / "data/job-reasons-25.05.txt").read_text().split()


def explained(reason, **more):
    return explain(Job(Phase.WAITING, "PENDING", reason=reason, **more))


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_slurms_is_known(reason):
    found = explained(reason)
    assert found.kind != "unknown"
    assert found.advice
    assert reason not in found.why


LIMITS = [
    "AssocGrpGRESMinutes",
    "QOSGrpBillingMinutes",
    "AssocGrpCPURunMinutesLimit",
    "QOSMaxGRESPerUser",
    "QOSMinGRES",
]


@pytest.mark.parametrize("reason", [*REASONS, *LIMITS, "MaxGRESRunMinsPerUser", "", "SomethingNew"])
def test_who_looks_at_anothers_session_is_not_spoken_to(reason):
    job = Job(Phase.WAITING, "PENDING", reason=reason)
    own, anothers = explain(job), explain(job, of_another=True)
    assert not re.search(r"\byou", anothers.why, re.IGNORECASE), anothers.why
    assert (anothers.why != own.why) == bool(re.search(r"\byou", own.why))
    assert (anothers.kind, anothers.advice) == (own.kind, own.advice)


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        ("Resources", "queue", "all fitting GPUs"),
        ("Priority", "queue", "others are before you"),
        ("ReqNodeNotAvail, UnavailableNodes:gpu01", "site", "maintenance"),
        ("AssocGrpGRESMinutes", "budget", "your account has no budget left: its GPU hours are used up"),
        ("AssocGrpCPUMinutesLimit", "budget", "your account has no budget left: its core hours are used up"),
        ("QOSGrpBillingMinutes", "budget", "your QOS has no budget left"),
        ("AssocGrpCPURunMinutesLimit", "many", "already to use as many core hours"),
        ("QOSMaxGRESPerUser", "many", "you use as much as you may at a time: GPUs"),
        ("AssocMaxWallDurationPerJobLimit", "large", "more than your account may give one job: hours"),
        ("MaxJobsPerAccount", "many", "your account uses as much as it may at a time: jobs"),
        ("QOSMinGRES", "large", "less than your QOS is for"),
        ("", "soon", "not looked at it yet"),
        ("SomethingNewInSlurm30", "unknown", "Slurm says: SomethingNewInSlurm30"),
        ("AssocGrpQuantumMinutes", "unknown", "Slurm says: AssocGrpQuantumMinutes"),
    ],
)
def test_a_reason_in_plain_words(reason, kind, words):
    found = explained(reason)
    assert (found.kind, words in found.why) == (kind, True), found


def test_a_reservation_that_has_not_begun_says_when_it_does():
    today = time.localtime()[:3]
    begins = int(time.mktime((*today, 14, 0, 0, 0, 0, -1)))
    assert explained("Reservation", starts=begins).why == "its reservation starts at 14:00"
    other_day = explained("BeginTime", starts=begins + 86400).why
    assert other_day.startswith("it is to start at 14:00, ")
    assert "has not begun" in explained("Reservation").why
