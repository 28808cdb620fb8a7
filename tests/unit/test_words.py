"""Sentences that students read."""

from __future__ import annotations

import pytest
from davide_hub.states import Job, Phase
from davide_hub.words import why_it_ended, why_it_waits


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "all fitting GPUs"),
        ("Priority", "others are before you"),
        ("ReqNodeNotAvail, UnavailableNodes:gpu01", "maintenance"),
        ("QOSMaxGRESPerUser", "your account's limit is reached (QOSMaxGRESPerUser)"),
        ("SomethingNewInSlurm30", "SomethingNewInSlurm30"),
        ("", "not looked at it yet"),
    ],
)
def test_a_reason_to_wait_in_plain_words(reason, words):
    assert words in why_it_waits(Job(Phase.WAITING, "PENDING", reason=reason))


@pytest.mark.parametrize(
    ("state", "by", "words"),
    [
        ("TIMEOUT", None, "time limit"),
        ("OUT_OF_MEMORY", None, "more memory"),
        ("NODE_FAIL", None, "node of the session failed"),
        ("CANCELLED", 1234, "You cancelled"),
        ("CANCELLED", 0, "An administrator cancelled"),
        ("CANCELLED", 4000000, "user with the number 4000000 cancelled"),
        ("CANCELLED", None, "was cancelled"),
        ("GONE", None, "no record of the session's job"),
        ("REVOKED", None, "Slurm ended the session: REVOKED"),
    ],
)
def test_an_end_in_plain_words(state, by, words):
    assert words in why_it_ended(Job(Phase.ENDED, state, cancelled_by=by), own_uid=1234)
