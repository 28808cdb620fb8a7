"""What Slurm's commands say when they run as a user, and what of it is a yes, a no, or neither."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from davide_hub.broker import in_user, owner
from davide_hub.broker.accounts import Account
from davide_hub.broker.as_user import Outcome
from davide_hub.broker.bounded import OutOfBounds
from davide_hub.broker.mark import Marker
from davide_hub.broker.owner import HomeSilent, OwnersJob, SecretsGone, SlurmRefused, SlurmSilent

STUDENT = Account("student01", 6001, 6000, Path("/home/student01"), "/bin/bash")
HEADER = "JOBID|STATE|EXEC_HOST|REASON|UID|SUBMIT_TIME|COMMENT\n"
QUEUE = (Path(__file__).parent / "data/squeue-owner-22.05.txt").read_text()
ACCOUNTING = "JobIDRaw|State|NodeList|UID\n"


@pytest.fixture
def says(monkeypatch):
    """Return a function that sets what comes of a command, and a list of the orders."""
    orders = []

    def say(outcome):
        def run(_account, order, _seconds):
            orders.append(order)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(owner, "run_as_user", run)
        return orders

    return say


UNCLEAR = [
    "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
    "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
    "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
    "sbatch: error: If munged is up, restart with --num-threads=10\n"
    'sbatch: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory\n'
    "sbatch: error: slurm_send_node_msg: auth_g_create: REQUEST_SUBMIT_BATCH_JOB has authentication error\n"
    "sbatch: error: Batch job submission failed: Protocol authentication error",
    "sbatch: error: Batch job submission failed: Transport endpoint is not connected",
    "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
    "sbatch: error: Batch job submission failed: Resource temporarily unavailable",
    "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host",
]
REFUSED = [
    "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
    "sbatch: error: Batch job submission failed: Requested node configuration is not available",
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
    "and/or time limits)",
    "sbatch: error: invalid partition specified: nonesuch",
]


def test_an_estimate_is_read_as_sbatch_really_prints_it(says):
    err = (Path(__file__).parent / "data/sbatch-test-only-22.05.txt").read_text()
    says(Outcome(0, "", err))
    assert owner.estimate(STUDENT, "#!/bin/bash") == time.mktime((2026, 11, 30, 5, 17, 20, 0, 0, -1))


def test_a_number_is_a_yes(says):
    says(Outcome(0, "4711\n", ""))
    assert owner.submit(STUDENT, {"session_key": "ab12"}) == "4711"


@pytest.mark.parametrize("err", UNCLEAR)
def test_not_getting_through_is_no_refusal(says, err):
    says(Outcome(1, "", err))
    with pytest.raises(SlurmSilent):
        owner.submit(STUDENT, {})


@pytest.mark.parametrize("outcome", [Outcome(-9, "", ""), Outcome(0, "", ""), OutOfBounds("took more than 25 s")])
def test_an_end_without_words_leaves_open_whether_it_happened(says, outcome):
    says(outcome)
    with pytest.raises(SlurmSilent):
        owner.submit(STUDENT, {})


@pytest.mark.parametrize("err", REFUSED)
def test_slurms_no_is_told_in_its_own_words(says, err):
    says(Outcome(1, "", err))
    with pytest.raises(SlurmRefused) as refused:
        owner.submit(STUDENT, {})
    assert str(refused.value) == f"Slurm refused the session: {err.removeprefix('sbatch: error: ')}"


def test_a_home_that_is_full_is_no_fault_of_slurm(says):
    says(Outcome(in_user.CANNOT_WRITE, "", "can't use /home/student01/.local: Disk quota exceeded\n"))
    with pytest.raises(SlurmRefused, match=r"Disk quota exceeded\.$"):
        owner.submit(STUDENT, {})


# -- the owner's jobs


def test_the_owner_sees_jobs_with_their_marks(says):
    says(Outcome(0, QUEUE, ""))
    jobs = {job.number: job for job in owner.jobs(Account("student02", 6002, 6000, Path("/home"), "/bin/sh"))}
    running = jobs["22"]
    assert (running.state, running.node, running.reason, running.uid) == ("RUNNING", "gpu01", "", 6002)
    assert running.alive
    assert running.submitted == "2026-11-24T22:32:50"
    assert running.comment == "davide-hub:acfcd1e6:4301f0201ea491e2:7ed0d47350d445005e6b70766f7f9247"
    assert not jobs["17"].alive


def test_a_waiting_job_is_on_no_node(says):
    says(Outcome(0, QUEUE, ""))
    (job,) = owner.jobs(Account("student07", 6007, 6000, Path("/home"), "/bin/sh"))
    assert (job.number, job.state, job.node, job.reason, job.alive) == ("26", "PENDING", "", "PartitionDown", True)


def test_jobs_of_others_are_passed_over(says):
    says(Outcome(0, QUEUE, ""))
    assert {job.uid for job in owner.jobs(STUDENT)} == {6001}


def test_an_honest_none_is_a_header_without_jobs(says):
    says(Outcome(0, HEADER, ""))
    assert owner.jobs(STUDENT) == []


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(0, "", ""),
        Outcome(0, QUEUE.split("\n", 1)[1], ""),
        Outcome(0, "slurm_load_jobs: something new\n", ""),
        Outcome(0, QUEUE[:-7], ""),
        Outcome(0, HEADER, "squeue: error: Invalid user: student01\n"),
        Outcome(1, HEADER, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
        Outcome(-9, "", ""),
        OutOfBounds("took more than 25 s"),
    ],
    ids=["empty", "no header", "words", "cut off", "no such user", "failed", "killed", "hung"],
)
def test_no_answer_is_not_none(says, outcome):
    says(outcome)
    with pytest.raises(SlurmSilent):
        owner.jobs(STUDENT)


def test_somebody_who_is_gone_from_the_directory_is_told_from_a_silent_slurm(says):
    says(Outcome(0, HEADER, "squeue: error: Invalid user: student01\n"))
    with pytest.raises(owner.UserUnknown):
        owner.jobs(STUDENT)


def test_one_job_is_asked_for_by_its_number_and_its_absence_is_no_answer(says):
    row = "11|RUNNING|gpu01|None|6001|2026-11-24T22:30:16|\n"
    orders = says(Outcome(0, HEADER + row, ""))
    assert [job.number for job in owner.one_job(STUDENT, "11")] == ["11"]
    assert orders == [{"verb": "queue", "job": "11"}]
    says(Outcome(0, HEADER, ""))
    with pytest.raises(SlurmSilent):
        owner.one_job(STUDENT, "11")
    says(Outcome(1, "", "slurm_load_jobs error: Invalid job id specified"))
    with pytest.raises(SlurmSilent):
        owner.one_job(STUDENT, "11")


def test_a_comment_with_line_breaks_makes_nobody_elses_job(says):
    mark = Marker("0a1b2c3d", b"secret").mark("ab12", 6002)
    forged = f"hello\n99|RUNNING|gpu01|None|6002|2026-11-24T22:30:16|{mark}\nand more"
    says(Outcome(0, HEADER + f"11|RUNNING|gpu01|None|6001|2026-11-24T22:30:16|{forged}\n", ""))
    assert [(job.number, job.comment) for job in owner.jobs(STUDENT)] == [("11", "hello")]


def test_a_comment_may_hold_anything_within_its_line(says):
    says(Outcome(0, HEADER + "11|PENDING|n/a|Priority|6001|2026-11-24T22:30:16|a|b|7\n", ""))
    assert owner.jobs(STUDENT) == [OwnersJob("11", "PENDING", "", "Priority", 6001, "2026-11-24T22:30:16", "a|b|7")]


def test_the_query_names_the_user_and_nobody_else(says):
    orders = says(Outcome(0, HEADER, ""))
    owner.jobs(STUDENT)
    assert orders == [{"verb": "queue", "user": "student01"}]


# -- accounting


def test_accounting_tells_who_cancelled(says):
    says(Outcome(0, ACCOUNTING + "10|CANCELLED by 0|gpu01|6001\n", ""))
    assert owner.record(STUDENT, "10") == OwnersJob("10", "CANCELLED", "gpu01", "", 6001, cancelled_by=0)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(0, ACCOUNTING, ""),
        Outcome(0, ACCOUNTING + "10|TIMEOUT|gpu01|6002\n", ""),
        Outcome(0, ACCOUNTING + "11|TIMEOUT|gpu01|6001\n", ""),
        Outcome(1, ACCOUNTING + "10|TIMEOUT|gpu01|6001\n", "sacct: error: Problem talking to the database"),
        OutOfBounds("took more than 25 s"),
    ],
    ids=["none", "another user", "another job", "failed", "hung"],
)
def test_accounting_without_that_record_says_nothing(says, outcome):
    says(outcome)
    assert owner.record(STUDENT, "10") is None


# -- cancelling


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(0, "", ""),
        Outcome(1, "", "scancel: error: Kill job error on job id 17: Invalid job id specified"),
        Outcome(1, "", "scancel: error: Kill job error on job id 17: Job/step already completing or completed"),
    ],
)
def test_a_job_that_is_gone_is_what_was_asked_for(says, outcome):
    orders = says(outcome)
    owner.cancel(STUDENT, ["17", "18"])
    assert orders == [{"verb": "cancel", "jobs": ["17", "18"]}]


def test_a_silent_slurm_has_cancelled_nothing_for_sure(says):
    says(Outcome(1, "", "scancel: error: Kill job error on job id 17: Unable to contact slurm controller"))
    with pytest.raises(SlurmSilent):
        owner.cancel(STUDENT, ["17"])


def test_slurm_may_refuse_to_cancel(says):
    says(Outcome(1, "", "scancel: error: Kill job error on job id 17: Access/permission denied"))
    with pytest.raises(SlurmRefused, match="Access/permission denied"):
        owner.cancel(STUDENT, ["17"])


# -- files in the home


def test_a_home_that_hangs_holds_nobody_up(says):
    says(OutOfBounds("took more than 25 s"))
    assert owner.discard(STUDENT, "ab12") is False
    assert owner.log_end(STUDENT, "ab12") == ""


def test_what_could_not_be_read_is_nothing_and_an_administrator_finds_why(says, caplog):
    says(Outcome(in_user.CANNOT_WRITE, "half a file", "can't use it: Too many levels of symbolic links\n"))
    assert owner.discard(STUDENT, "ab12") is False
    assert owner.log_end(STUDENT, "ab12") == ""
    assert caplog.messages == [
        "the log of session ab12 of student01 can't be read: \"can't use it: Too many levels of symbolic links\""
    ]


@pytest.mark.parametrize(
    "outcome",
    [
        OutOfBounds("took more than 10 s"),
        Outcome(in_user.CANNOT_WRITE, "", "can't use /home/student01/.local: Stale file handle\n"),
        Outcome(-9, "{}\n", ""),
    ],
    ids=["hangs", "fails", "killed"],
)
def test_secrets_that_can_not_be_read_are_not_known_to_be_gone(says, outcome):
    says(outcome)
    with pytest.raises(HomeSilent):
        owner.recall(STUDENT, "ab12")


def test_secrets_that_are_not_in_their_folder_are_gone(says):
    says(Outcome(in_user.SECRETS_GONE, "", ""))
    with pytest.raises(SecretsGone):
        owner.recall(STUDENT, "ab12")
