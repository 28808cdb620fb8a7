"""What Slurm says, and what it means for a session. The samples are from Slurm 22.05, run as the hub's account."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from davide_hub.slurm import (
    UNKNOWN,
    Job,
    Outcome,
    Phase,
    SlurmSilent,
    SlurmView,
    read_accounting,
    read_queue,
    run_command,
)

DATA = Path(__file__).parent / "data"
QUEUE = (DATA / "squeue-22.05.txt").read_text()
LATER = (DATA / "squeue-22.05-later.txt").read_text()
ACCOUNTING = (DATA / "sacct-22.05.txt").read_text()
SILENT = Outcome(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")


class Slurm:
    """Answers as it is told, and counts how often it is asked."""

    def __init__(self, queue: Outcome, accounting: Outcome = Outcome(0, "")) -> None:  # noqa: B008 - frozen
        self.answers = {"squeue": queue, "sacct": accounting}
        self.asked: list[tuple[str, ...]] = []
        self.now = 1000.0

    async def run(self, argv: tuple[str, ...], _seconds: float) -> Outcome:
        self.asked.append(argv)
        self.now += 0.01
        return self.answers[argv[0]]

    def view(self) -> SlurmView:
        return SlurmView(self.run, lambda: self.now)


@pytest.mark.parametrize(
    ("number", "phase", "node", "reason"),
    [
        ("27", Phase.RUNNING, "gpu01", ""),
        ("29", Phase.WAITING, "", "Resources"),
        ("32", Phase.WAITING, "", "JobHeldUser"),
        ("30", Phase.ENDED, "gpu02", "NonZeroExitCode"),
        ("31", Phase.ENDED, "gpu02", ""),
    ],
)
def test_a_line_of_squeue_is_a_job(number, phase, node, reason):
    job = read_queue(Outcome(0, QUEUE))[number]
    assert (job.phase, job.node, job.reason) == (phase, node, reason)


def test_a_job_that_completes_is_ending_and_not_yet_ended():
    jobs = read_queue(Outcome(0, LATER))
    assert [jobs[n].phase for n in ("27", "28", "29")] == [Phase.RUNNING, Phase.ENDING, Phase.ENDED]


@pytest.mark.parametrize(
    "answer",
    [
        SILENT,
        Outcome(0, "27|RUNNING|gpu01|None\n28|RUN"),
        Outcome(0, "JOBID PARTITION NAME"),
        Outcome(-9, ""),
        Outcome(127, "", "squeue: not found"),
    ],
)
def test_half_an_answer_is_none(answer):
    with pytest.raises(SlurmSilent):
        read_queue(answer)


def test_squeue_may_say_that_its_only_job_is_gone():
    gone = Outcome(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert read_queue(gone) == {}


def test_accounting_tells_how_jobs_ended_and_who_cancelled_them():
    ended = read_accounting(Outcome(0, ACCOUNTING))
    assert ended["19"] == Job(Phase.ENDED, "TIMEOUT", "gpu01")
    assert ended["28"].cancelled_by == 6003
    assert ended["29"] == Job(Phase.ENDED, "CANCELLED", "", cancelled_by=0)
    assert {"27", "32"}.isdisjoint(ended), "a job that accounting believes running has not ended"


def test_accounting_that_fails_says_nothing():
    assert read_accounting(Outcome(1, ACCOUNTING)) == {}


def test_one_query_answers_for_all():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        first = await view.look("27", 5)
        slurm.now += 1
        await view.look("28", 5)
        slurm.now += 1
        return first, [await view.look(n, 5) for n in ("27", "28", "27", "28")]

    first, jobs = asyncio.run(scenario())
    assert first.phase is Phase.RUNNING
    assert [job.node for job in jobs] == ["gpu01", "gpu02", "gpu01", "gpu02"]
    assert [argv[-1] for argv in slurm.asked] == ["--jobs=27", "--jobs=27,28"]


def test_many_who_ask_at_once_share_a_query():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        return await asyncio.gather(*(view.look("27", 0) for _ in range(50)))

    assert all(job.phase is Phase.RUNNING for job in asyncio.run(scenario()))
    assert len(slurm.asked) == 1


def test_slurm_is_left_alone_for_twenty_times_what_it_took():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        for _ in range(10):
            await view.look("27", 0)
            slurm.now += 0.05

    asyncio.run(scenario())
    assert len(slurm.asked) == 3, "0.5 s, 0.01 s a query: one each 0.2 s"


def test_absence_is_no_proof():
    slurm = Slurm(Outcome(0, ""))
    assert asyncio.run(slurm.view().look("27", 0)) == UNKNOWN
    assert [argv[0] for argv in slurm.asked] == ["squeue", "sacct"]


def test_absence_and_a_final_record_are_proof():
    job = asyncio.run(Slurm(Outcome(0, ""), Outcome(0, ACCOUNTING)).view().look("19", 0))
    assert (job.phase, job.state) == (Phase.ENDED, "TIMEOUT")


def test_who_cancelled_is_asked_of_accounting():
    job = asyncio.run(Slurm(Outcome(0, LATER), Outcome(0, ACCOUNTING)).view().look("29", 0))
    assert job.cancelled_by == 0


def test_a_silent_slurm_is_unknown_and_asked_again_later():
    slurm = Slurm(SILENT)
    view = slurm.view()

    async def scenario():
        silent = [await view.look("27", 0) for _ in range(5)]
        slurm.answers["squeue"] = Outcome(0, QUEUE)
        slurm.now += 11
        return silent, await view.look("27", 0)

    silent, back = asyncio.run(scenario())
    assert silent == [UNKNOWN] * 5
    assert back.phase is Phase.RUNNING
    assert len(slurm.asked) == 2


def test_a_hanging_slurm_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("davide_hub.slurm._PATIENCE_SECONDS", 0.05)
    asked = []

    async def hang(argv, _seconds):
        asked.append(argv)
        await asyncio.sleep(3600)

    async def scenario():
        view = SlurmView(hang)
        return [await view.look("27", 0) for _ in range(3)]

    assert asyncio.run(scenario()) == [UNKNOWN] * 3
    assert len(asked) == 1, "never more than one hung query"


def test_a_forgotten_job_is_asked_about_no_more():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        await view.look("27", 0)
        view.forget("27")
        slurm.now += 60
        await view.look("28", 0)

    asyncio.run(scenario())
    assert slurm.asked[-1][-1] == "--jobs=28"


def test_a_command_that_takes_too_long_is_killed():
    with pytest.raises(SlurmSilent, match=r"sleep took more than 0.1 s"):
        asyncio.run(run_command(("sleep", "60"), 0.1))


def test_a_command_that_is_missing_is_silence():
    with pytest.raises(SlurmSilent, match="can't be started"):
        asyncio.run(run_command(("no-such-command",), 1))


def test_commands_do_not_get_the_hubs_environment(monkeypatch):
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    assert "secret" not in asyncio.run(run_command(("env",), 5)).out
