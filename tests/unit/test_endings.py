"""Sentences that students read."""

from __future__ import annotations

import pytest
from davide_hub.endings import advice, of_job, of_log, of_refusal
from davide_hub.states import FINAL, GONE, Job, Phase


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
    assert words in of_job(Job(Phase.ENDED, state, cancelled_by=by), own_uid=1234).sentence


@pytest.mark.parametrize("state", sorted({*FINAL, GONE}))
@pytest.mark.parametrize("by", [None, 0, 1234, 4000000])
def test_after_every_end_it_is_told_what_to_do(state, by):
    assert advice(of_job(Job(Phase.ENDED, state, cancelled_by=by), own_uid=1234).kind)


def test_who_cancelled_is_told_by_name_where_the_directory_told_it():
    ending = of_job(Job(Phase.ENDED, "CANCELLED", cancelled_by=5003), own_uid=1234, name="teacher01")
    assert ending.sentence == "teacher01 cancelled the session's job."


def test_while_the_directory_is_silent_slurm_says_whose_job_it_was():
    own = Job(Phase.ENDED, "CANCELLED", cancelled_by=5003, uid=5003)
    assert of_job(own).kind == "cancelled_by_you"
    assert of_job(own, own_uid=1234).kind == "cancelled_by"


@pytest.mark.parametrize("line", ["OSError: [Errno 28] No space left on device", "mkdir: Disk quota exceeded"])
def test_a_log_that_says_so_tells_of_a_full_home(line):
    failed = of_job(Job(Phase.ENDED, "FAILED"))
    assert of_log(failed, f"starting\n{line}\n").kind == "home_full"
    assert of_log(failed, "starting\n").kind == "failed"
    node = of_job(Job(Phase.ENDED, "NODE_FAIL"))
    assert of_log(node, line) == node


REFUSED = "Slurm refused the session: sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("kind", "sentence", "ending"),
    [
        ("home", "Your home folder could not be used: can't use /home/x: Disk quota exceeded.", "home_full"),
        ("home", "Your home folder could not be used: can't use /home/x: Permission denied.", "home"),
        ("slurm", REFUSED + "Job violates accounting/QOS policy (job submit limit, user's size limits)", "budget"),
        ("slurm", REFUSED + "Invalid account or account/partition combination specified", "account"),
        ("slurm", REFUSED + "Requested reservation is invalid", "reservation"),
        ("slurm", REFUSED + "Requested node configuration is not available", "too_large"),
        ("slurm", REFUSED + "Required partition not available (inactive or drain)", "closed"),
        ("slurm", REFUSED + "Something new", "slurm"),
        ("limit", "You have 2 running.", "limit"),
    ],
)
def test_a_refusal_says_what_to_do(kind, sentence, ending):
    found = of_refusal(kind, sentence)
    assert found.kind == ending
    assert advice(found.kind)
