"""One view of all jobs: how often Slurm is asked, and what it is believed."""

from __future__ import annotations

import asyncio

import pytest
from davide_hub.questions import MOST_COMPLAINTS, Outcome, Question, SlurmSilent, command
from davide_hub.slurm import SlurmView, run_command
from davide_hub.states import UNKNOWN, Phase
from slurm_samples import ACCOUNTING, HEADER, LATER, MARKS, NONE, QUEUE, SILENT


class Slurm:
    """Answers as it is told, and counts how often it is asked."""

    def __init__(
        self,
        queue: Outcome,
        accounting: Outcome | SlurmSilent = Outcome(0, ""),  # noqa: B008 - frozen
        takes: float = 0.01,
    ) -> None:
        self.answers = {"squeue": queue, "sacct": accounting}
        self.asked: list[tuple[str, ...]] = []
        self.now = 1000.0
        self.takes = takes
        self.version = "slurm-wlm 22.05.8"

    async def ask(self, question: Question, jobs: frozenset[str]) -> Outcome:
        argv = command(question, jobs)
        if argv == ("squeue", "--version"):
            return Outcome(0, self.version)  # asks no controller
        self.asked.append(argv)
        self.now += self.takes
        answer = self.answers[argv[0]]
        if isinstance(answer, SlurmSilent):
            raise answer
        return answer

    def view(self) -> SlurmView:
        return SlurmView(self.ask, lambda: self.now)


def waiting(number: int, partition: str, priority: int) -> str:
    return f"{number}|PENDING|n/a|6001|{partition}|{priority}|1764440000|N/A|N/A|Priority\n"


def test_a_place_is_counted_among_those_that_wait_for_the_same_partition():
    rows = [("prod", 5), ("prod", 9), ("debug", 99), ("prod", 5)]
    lines = "".join(waiting(30 + place, *row) for place, row in enumerate(rows))
    view = Slurm(Outcome(0, HEADER + lines + "40|RUNNING|gpu01|6001|prod|99|1|2|3|None\n")).view()

    async def places() -> list[tuple[int, int] | None]:
        for number in ("30", "31", "32", "33", "40", "99"):
            view.expect(number)
        await view.look("30")
        return [view.place(number) for number in ("30", "31", "32", "33", "40", "99")]

    assert asyncio.run(places()) == [(2, 3), (1, 3), (1, 1), (3, 3), None, None]


def asked_twice(version: str, states: str) -> list[str]:
    """Return in which format a view asks at first, and when it knows that all jobs run."""
    slurm = Slurm(Outcome(0, QUEUE))
    slurm.version = version
    view = slurm.view()

    async def scenario():
        await view.look("20")
        slurm.now += 16
        slurm.answers["squeue"] = Outcome(0, states)
        assert (await view.look("20")).phase is Phase.RUNNING

    asyncio.run(scenario())
    return [word for argv in slurm.asked for word in argv if word.startswith("--format")]


def test_where_all_jobs_run_only_states_are_asked_for():
    assert asked_twice("slurm-wlm 24.11.5", "JOBID|STATE\n20|RUNNING\n")[1] == "--format=%i|%T"


def test_an_older_slurm_is_asked_for_all():
    assert asked_twice("slurm-wlm 22.05.8", QUEUE)[1] == "--format=%i|%T|%B|%U|%P|%Q|%V|%S|%e|%r"


@pytest.mark.parametrize(("takes", "rest"), [(0.5, 10), (15, 60)])
def test_the_whole_queue_is_not_read_again_before_slurm_has_had_its_rest(takes, rest):
    slurm = Slurm(Outcome(0, MARKS), takes=takes)
    view = slurm.view()

    async def scenario():
        await view.marked()
        slurm.now += rest - 0.1
        with pytest.raises(SlurmSilent):
            await view.marked()
        slurm.now += 0.2
        return await view.marked()

    assert len(asyncio.run(scenario())) == 5
    assert len(slurm.asked) == 2


# -- one view for all


def test_one_query_answers_for_all():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        first = await view.look("20")
        slurm.now += 1
        await view.look("21")
        slurm.now += 15
        return first, [await view.look(n) for n in ("21", "20", "21", "20")]

    first, jobs = asyncio.run(scenario())
    assert first.phase is Phase.RUNNING
    assert [job.uid for job in jobs] == [6001, 6004, 6001, 6004]
    assert [argv[-1] for argv in slurm.asked] == ["--jobs=20", "--jobs=20,21"]


def test_the_first_to_look_after_a_restart_asks_for_all():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()
    view.expect("21")

    async def scenario():
        await view.look("20")
        return await view.look("21")

    assert asyncio.run(scenario()).phase is Phase.RUNNING
    assert [argv[-1] for argv in slurm.asked] == ["--jobs=20,21"]


def test_many_who_ask_at_once_share_a_query():
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        return await asyncio.gather(*(view.look("20") for _ in range(50)))

    assert all(job.phase is Phase.RUNNING for job in asyncio.run(scenario()))
    assert len(slurm.asked) == 1


@pytest.mark.parametrize(
    ("took", "minutes", "queries"), [(0.01, 10, 40), (2, 10, 14), (10, 10, 9)], ids=["quick", "slow", "very slow"]
)
def test_slurm_is_left_alone_for_twenty_times_what_it_took(took, minutes, queries):
    slurm = Slurm(Outcome(0, QUEUE), takes=took)
    view = slurm.view()

    async def scenario():
        end = slurm.now + 60 * minutes
        while slurm.now < end:
            await view.look("20")
            slurm.now += 0.5

    asyncio.run(scenario())
    assert abs(len(slurm.asked) - queries) <= 1, "two RPCs each: less than ten a minute even when it is quick"


def test_absence_is_no_proof_but_noticed():
    slurm = Slurm(NONE)
    view = slurm.view()
    assert not view.missing("20")
    assert asyncio.run(view.look("20")) == UNKNOWN
    assert [argv[0] for argv in slurm.asked] == ["squeue", "sacct"]
    assert view.missing("20")
    assert not view.missing("21"), "nobody has asked about it"


def test_absence_and_a_final_record_are_proof():
    job = asyncio.run(Slurm(NONE, Outcome(0, ACCOUNTING)).view().look("24"))
    assert (job.phase, job.state) == (Phase.ENDED, "FAILED")


def test_who_cancelled_is_asked_of_accounting():
    job = asyncio.run(Slurm(Outcome(0, LATER), Outcome(0, ACCOUNTING)).view().look("25"))
    assert job.cancelled_by == 0


def test_how_a_job_ended_is_known_while_its_node_cleans_up():
    job = asyncio.run(Slurm(Outcome(0, LATER), Outcome(0, ACCOUNTING)).view().look("26"))
    assert (job.phase, job.state, job.cancelled_by) == (Phase.ENDED, "CANCELLED", 6007)


@pytest.mark.parametrize("accounting", [Outcome(0, ""), Outcome(0, "26|RUNNING|gpu01|6007\n"), SlurmSilent("sacct")])
def test_a_job_that_completes_has_not_ended_before_accounting_says_so(accounting):
    assert asyncio.run(Slurm(Outcome(0, LATER), accounting).view().look("26")).phase is Phase.ENDING


def test_a_silent_accounting_takes_nothing_away():
    view = Slurm(Outcome(0, LATER), SlurmSilent("sacct took more than 15 s")).view()
    assert asyncio.run(view.look("25")).state == "CANCELLED"
    assert not view.silent


def test_a_silent_slurm_is_unknown_and_asked_again_later():
    slurm = Slurm(SILENT)
    view = slurm.view()

    async def scenario():
        silent = [await view.look("20") for _ in range(5)]
        assert view.silent
        assert not view.missing("20")
        slurm.answers["squeue"] = Outcome(0, QUEUE)
        slurm.now += 11
        return silent, await view.look("20")

    silent, back = asyncio.run(scenario())
    assert silent == [UNKNOWN] * 5
    assert back.phase is Phase.RUNNING
    assert not view.silent
    assert len(slurm.asked) == 2


def test_an_answer_that_breaks_the_reading_is_silence_too(monkeypatch):
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()
    monkeypatch.setattr("davide_hub.slurm.read_queue", lambda _outcome: 1 / 0)

    async def scenario():
        return [await view.look("20") for _ in range(5)]

    assert asyncio.run(scenario()) == [UNKNOWN] * 5
    assert view.silent
    assert len(slurm.asked) == 1, "Slurm is asked again at each look"


def test_many_that_vanish_at_once_are_an_alarm_and_no_end(monkeypatch):
    alarms = []
    monkeypatch.setattr("davide_hub.slurm._log.critical", lambda *words: alarms.append(words))
    slurm = Slurm(Outcome(0, QUEUE))
    view = slurm.view()

    async def scenario():
        await asyncio.gather(*(view.look(n) for n in ("20", "21", "22", "23")))
        slurm.now += 16
        await view.look("20")
        slurm.answers["squeue"] = NONE
        slurm.now += 16
        return [await view.look(n) for n in ("20", "21", "22", "23")]

    assert asyncio.run(scenario()) == [UNKNOWN] * 4
    ((words, vanished, watched),) = alarms
    assert (vanished, watched) == (4, 4)
    assert "PrivateData" in words


def test_a_hanging_slurm_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("davide_hub.slurm._PATIENCE_SECONDS", 0.05)
    asked = []

    async def hang(question, _jobs):
        asked.append(question)
        await asyncio.Event().wait()

    async def scenario():
        view = SlurmView(hang)
        return [await view.look("20") for _ in range(3)]

    assert asyncio.run(scenario()) == [UNKNOWN] * 3
    assert len(asked) == 1, "never more than one hung query"


def line(number: str, state: str) -> str:
    return f"{number}|{state}|gpu01|6001|prod|99|1|2|3|None\n"


def test_a_forgotten_job_is_told_to_nobody_and_after_a_minute_not_asked_about():
    slurm = Slurm(Outcome(0, HEADER + line("20", "COMPLETED") + line("21", "RUNNING")))
    view = slurm.view()

    async def scenario():
        await view.look("20")
        view.forget("20")
        for _ in range(2):
            slurm.now += 61
            await view.look("21")
            assert view.last("20") == UNKNOWN

    asyncio.run(scenario())
    assert [argv[-1] for argv in slurm.asked] == ["--jobs=20", "--jobs=20,21", "--jobs=21"]
    assert not view.risen.is_set()


@pytest.mark.parametrize("version", ["22.05.8", "24.11.5"])
@pytest.mark.parametrize("silent_seconds", [0, 600])
def test_a_job_that_a_killed_controller_takes_for_running_again_is_noticed(version, silent_seconds):
    before = Outcome(0, HEADER + line("20", "FAILED") + line("21", "RUNNING"))
    after = HEADER + line("20", "RUNNING") + line("21", "RUNNING")
    slurm = Slurm(before)
    slurm.version = f"slurm-wlm {version}"
    view = slurm.view()

    async def scenario():
        await view.look("21")
        view.forget("20")
        for seconds, answer in ((20, SILENT), (silent_seconds, SILENT), (20, Outcome(0, after))):
            slurm.now += seconds
            slurm.answers["squeue"] = answer
            await view.look("21")

    asyncio.run(scenario())
    assert view.risen.is_set()
    assert view.last("21").phase is Phase.RUNNING


def test_an_end_is_looked_at_again_where_no_session_is_left():
    slurm = Slurm(Outcome(0, HEADER + line("20", "COMPLETED")))
    view = slurm.view()

    async def scenario():
        await view.watch_the_buried()
        await view.look("20")
        view.forget("20")
        slurm.now += 16
        slurm.answers["squeue"] = Outcome(0, HEADER + line("20", "PENDING"))
        await view.watch_the_buried()

    asyncio.run(scenario())
    assert view.risen.is_set()
    assert len(slurm.asked) == 2, "nothing is asked where nothing is buried"


def test_a_command_that_takes_too_long_is_killed():
    with pytest.raises(SlurmSilent, match=r"sleep took more than 0.1 s"):
        asyncio.run(run_command(("sleep", "60"), 0.1))


def test_a_command_that_prints_without_end_is_killed():
    with pytest.raises(SlurmSilent, match="yes printed more than 100000 bytes"):
        asyncio.run(run_command(("yes",), 30, 100_000))


def test_complaints_without_end_cost_no_memory_and_no_answer():
    complains = "head --bytes=500000 /dev/zero | tr '\\0' x >&2; echo 'JOBID|'"
    assert asyncio.run(run_command(("sh", "-c", complains), 30)) == Outcome(0, "JOBID|\n", "x" * MOST_COMPLAINTS)


def test_a_command_that_is_missing_is_silence():
    with pytest.raises(SlurmSilent, match="can't be started"):
        asyncio.run(run_command(("no-such-command",), 1))


def test_commands_do_not_get_the_hubs_environment(monkeypatch):
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    assert "secret" not in asyncio.run(run_command(("env",), 5)).out


def test_without_more_words_the_hub_runs_the_commands_itself(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    outcome = asyncio.run(SlurmView().ask("states", frozenset({"21", "20"})))
    assert outcome.out.split() == ["--local", "--only-job-state", "--states=all", "--format=%i|%T", "--jobs=20,21"]
