"""What Slurm says, and what can be believed of it."""

from __future__ import annotations

import pytest
from davide_hub.answers import Marked, read_accounting, read_marks, read_queue, read_states, read_version
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.states import Job, Phase, phase_of
from slurm_samples import ACCOUNTING, HEADER, LATER, MARKS, NONE, QUEUE, SILENT


@pytest.mark.parametrize(
    ("number", "phase", "node", "reason", "uid"),
    [
        ("20", Phase.RUNNING, "gpu01", "", 6004),
        ("26", Phase.WAITING, "", "PartitionDown", 6007),
        ("24", Phase.ENDED, "gpu01", "JobLaunchFailure", 6006),
        ("6", Phase.ENDED, "gpu01", "", 6002),
    ],
)
def test_a_line_of_squeue_is_a_job(number, phase, node, reason, uid):
    job = read_queue(Outcome(0, QUEUE))[number]
    assert (job.phase, job.node, job.reason, job.uid) == (phase, node, reason, uid)


def test_a_line_of_squeue_tells_the_times():
    jobs = read_queue(Outcome(0, QUEUE))
    assert (jobs["20"].submitted, jobs["20"].starts, jobs["20"].ends) == (1764440020, 1764440022, 1764447222)
    assert (jobs["26"].submitted, jobs["26"].starts, jobs["26"].ends) == (1764440026, None, None)
    assert (jobs["26"].partition, jobs["26"].priority) == ("dvd_usr_prod", 4294901674)


def test_a_job_that_completes_is_ending_and_not_yet_ended():
    jobs = read_queue(Outcome(0, LATER))
    assert [jobs[n].phase for n in ("20", "26", "25")] == [Phase.RUNNING, Phase.ENDING, Phase.ENDED]


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        ("PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT", Phase.WAITING),
        ("RUNNING SUSPENDED STOPPED SIGNALING RESIZING", Phase.RUNNING),
        ("COMPLETING STAGE_OUT", Phase.ENDING),
        (
            "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT",
            Phase.ENDED,
        ),
    ],
)
def test_every_state_of_the_manual_means_something(states, phase):
    assert {phase_of(state) for state in states.split()} == {phase}


@pytest.mark.parametrize("word", ["RUNN", "FROM_A_LATER_SLURM", ""])
def test_a_word_that_is_no_state_says_nothing(word):
    assert phase_of(word) is Phase.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        SILENT,
        Outcome(0, ""),
        Outcome(0, QUEUE.split("\n", 1)[1]),
        Outcome(0, HEADER + "20|RUNNING|gpu01|6004|prod|7|1764440000|1764440002|1764447202|None\n21|RUN"),
        Outcome(0, "JOBID PARTITION NAME"),
        Outcome(-9, HEADER),
        Outcome(127, "", "squeue: not found"),
    ],
    ids=["refused", "empty", "no header", "cut off", "another format", "killed", "missing"],
)
def test_half_an_answer_is_none(answer):
    with pytest.raises(SlurmSilent):
        read_queue(answer)


def test_wherever_an_answer_is_cut_off_it_says_nothing_false():
    whole = read_queue(Outcome(0, QUEUE))
    for length in range(len(QUEUE)):
        try:
            told = read_queue(Outcome(0, QUEUE[:length]))
        except SlurmSilent:
            continue
        assert told.items() <= whole.items()


def test_a_number_that_an_array_has_by_now_blinds_nobody():
    parts = "21_[3-9]|PENDING|n/a|7001|p|1|1|N/A|N/A|Priority\n21_2|RUNNING|gpu01|7001|p|1|1|2|3|None\n22+1|RUNNING|"
    jobs = read_queue(Outcome(0, f"{HEADER}20|RUNNING|gpu01|6004|p|7|1|2|3|None\n{parts}gpu02|7001|p|1|1|2|3|None\n"))
    assert set(jobs) == {"20"}
    assert set(read_states(Outcome(0, "JOBID|STATE\n20|RUNNING\n21_2|FAILED\n22+0|FAILED\n"), jobs)) == {"20"}


def test_a_number_with_thousands_of_digits_is_no_answer():
    with pytest.raises(SlurmSilent):
        read_queue(Outcome(0, f"{HEADER}20|RUNNING|gpu01|{'9' * 5000}|p|7|1|2|3|None\n"))
    many = read_queue(Outcome(0, f"{HEADER}20|RUNNING|gpu01|6004|p|{'9' * 5000}|1|2|3|None\n"))
    assert many["20"].priority is None


def test_an_honest_none_is_a_header_without_jobs():
    assert read_queue(NONE) == {}


def test_squeue_may_say_that_its_only_job_is_gone():
    gone = Outcome(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert read_queue(gone) == {}


def test_accounting_tells_how_jobs_ended_and_who_cancelled_them():
    ended = read_accounting(Outcome(0, ACCOUNTING))
    assert ended["24"] == Job(Phase.ENDED, "FAILED", "gpu01", uid=6006)
    assert ended["26"].cancelled_by == 6007
    assert ended["25"] == Job(Phase.ENDED, "CANCELLED", "gpu01", cancelled_by=0, uid=6005)
    assert "20" not in ended, "a job that accounting believes running has not ended"


def test_half_a_line_of_accounting_says_nothing():
    assert read_accounting(Outcome(0, "24|FAILED|gpu01|6006\n26|CANCELLED by 6007|gpu01|60")).keys() == {"24"}


def test_accounting_that_fails_says_nothing():
    assert read_accounting(Outcome(1, ACCOUNTING)) == {}


# -- states alone (Slurm 23.11 and later)


def test_states_alone_change_states_alone():
    known = read_queue(Outcome(0, QUEUE))
    jobs = read_states(Outcome(0, "JOBID|STATE\n20|RUNNING\n21|TIMEOUT\n99|RUNNING\n"), known)
    assert jobs["20"] == known["20"]
    assert jobs["21"] == Job(Phase.ENDED, "TIMEOUT", "gpu01", uid=6001)
    assert set(jobs) == {"20", "21"}, "a job that is left out is missing, and a new one is unknown"


@pytest.mark.parametrize(
    "answer",
    [
        SILENT,
        Outcome(0, ""),
        Outcome(0, "JOBID|STATE\n20|RUN NING\n"),
        Outcome(0, "JOBID|STATE\n21|RUNNING\n20|RUNN"),
        Outcome(-9, ""),
    ],
    ids=["refused", "empty", "another format", "cut off", "killed"],
)
def test_half_an_answer_about_states_is_none(answer):
    with pytest.raises(SlurmSilent):
        read_states(answer, {})


@pytest.mark.parametrize(
    ("printed", "version"),
    [("slurm-wlm 22.05.8", (22, 5)), ("slurm-wlm 24.11.5", (24, 11)), ("slurm 23.11.10", (23, 11)), ("", (0, 0))],
)
def test_the_version_tells_what_squeue_can_do(printed, version):
    assert read_version(Outcome(0, printed)) == version


# -- marks


def test_live_jobs_with_a_mark_are_found_in_the_queue():
    marks = read_marks(Outcome(0, MARKS))
    assert marks[0] == Marked("26", "student07", "acfcd1e6", "0ece2be6f3267fe1")
    assert [one.job for one in marks] == ["26", "20", "21", "22", "23"]


@pytest.mark.parametrize("answer", [SILENT, Outcome(0, ""), Outcome(-9, MARKS), Outcome(0, MARKS[:-9])])
def test_without_a_whole_answer_nobody_knows_of_marks(answer):
    with pytest.raises(SlurmSilent):
        read_marks(answer)


@pytest.mark.parametrize(
    "comment", ["(null)", "my own text", "a|b", "davide-hub:acfcd1e6:ab12", "davide-hub:acfcd1e6:../x:" + "0" * 32]
)
def test_other_comments_are_passed_over(comment):
    assert read_marks(Outcome(0, f"JOBID|STATE|USER|COMMENT\n20|RUNNING|student04|{comment}\n")) == []
