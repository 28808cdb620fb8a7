"""`davide-hub report`: hours from what sacct printed on the local cluster, and what it says when it can't tell them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from davide_hub import report, slurm
from davide_hub.cli import main
from davide_hub.facts import load_site
from davide_hub.operate import OrderFailed
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.report import bounds, question
from davide_hub.usage import FIELDS, Unreadable, course_of, is_ours, read_jobs

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"
LOCAL = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
# One with GPUs of each kind: a session, a training, a session in a reservation, and a job whose name has our separator.
DAY = (DATA / "sacct-report-22.05.txt").read_text()
# Twenty seconds of the same day, with three jobs that Slurm lost when its controller was set up anew.
WINDOW = (DATA / "sacct-report-window-22.05.txt").read_text()
# What sacct says while slurmdbd is away.
AWAY = """\
sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:127.0.0.1:6819: Connection refused
sacct: error: Sending PersistInit msg: Connection refused
sacct: error: Problem talking to the database: Connection refused
"""  # noqa: E501
NOW = datetime(2026, 11, 30, 9, 20, 30, 5)


class Slurm:
    """Says what Slurm said.

    Attributes
    ----------
    sacct, tres, queue
        What each command prints.
    code
        sacct's exit code.
    asked
        The commands.
    """

    def __init__(self) -> None:
        self.sacct, self.tres, self.queue = DAY, "cpu|\nmem|\ngres|gpu\n", "29\n30\n"
        self.code, self.complaint = 0, ""
        self.asked: list[tuple[str, ...]] = []

    async def run(self, argv, _seconds):
        self.asked.append(argv)
        if argv[0] != "sacct":
            return Outcome(0, self.tres if argv[0] == "sacctmgr" else self.queue)
        delimiter = next(word for word in argv if word.startswith("--delimiter=")).partition("=")[2]
        return Outcome(
            self.code, "".join(_with(delimiter, line) for line in self.sacct.splitlines(True)), self.complaint
        )


def _with(delimiter: str, line: str) -> str:
    return delimiter.join(line.split("|", len(FIELDS) - 1))


@pytest.fixture
def said(monkeypatch) -> Iterator[Slurm]:
    made = Slurm()
    monkeypatch.setattr(slurm, "run_command", made.run)
    monkeypatch.setattr(report.os, "geteuid", lambda: 0)
    return made


def told(capsys, *words: str, site: Path = LOCAL) -> dict:
    assert main(["report", "--json", "--site", str(site), *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_hours_are_gpus_times_seconds_within_the_time(said, capsys):
    # 25 s of one GPU, 12 s of two, 52 s of four, 20 s of four.
    assert told(capsys)["gpu_hours"] == round((25 + 24 + 208 + 80) / 3600, 3)


def test_users_accounts_and_kinds_each_add_up_to_the_whole(said, capsys):
    found = told(capsys)
    assert [row["user"] for row in found["users"]][:3] == ["student02", "student03", "student01"]
    assert {row["kind"]: row["jobs"] for row in found["kinds"]} == {"sessions": 10, "other jobs": 2}
    for part in ("users", "accounts", "courses", "kinds"):
        assert sum(row["jobs"] for row in found[part]) == found["jobs"] == 12
        assert sum(row["gpu_hours"] for row in found[part]) == pytest.approx(found["gpu_hours"], abs=0.002)


def test_one_user_alone(said, capsys):
    found = told(capsys, "--user", "student01")
    assert [row["user"] for row in found["users"]] == ["student01"]
    assert found["gpu_hours"] == round(49 / 3600, 3)


def test_a_job_that_slurm_lost_is_not_counted_and_named(said, capsys):
    said.sacct = WINDOW
    found = told(capsys)
    assert (found["lost_jobs"], found["jobs"]) == (["9", "10", "11"], 2)
    assert found["gpu_hours"] == round((20 * 4 + 7 * 4) / 3600, 3)
    assert main(["report", "--site", str(LOCAL)]) == 0
    assert "Not counted: 9, 10, 11, which accounting believes to run" in capsys.readouterr().out


def test_people_read_a_table(said, capsys):
    assert main(["report", "--site", str(LOCAL), "--since", "2026-11-30", "--until", "2026-11-30T09:17"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:4] == ["Cluster", "davide,", "2026-11-30T00:00:00", "to"]
    assert ["student02", "3", "0.1", "0.1"] not in rows
    assert ["student02", "2", "0.1", "0.1"] in rows


def course(tmp_path: Path, **facts) -> Path:
    site = yaml.safe_load(LOCAL.read_text())
    site["site"]["course"] |= facts
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump(site))
    return path


@pytest.mark.parametrize(
    ("facts", "jobs"),
    [
        ({"reservation": "dl-report"}, {"29"}),
        ({"account": "tra26_other"}, set()),
        ({"account": "tra26_davide", "first_day": "2026-12-01"}, set()),
        ({"first_day": "2026-11-30", "last_day": "2026-11-30"}, {"all"}),
        ({}, {"all"}),
    ],
)
def test_a_job_is_of_the_course_by_reservation_account_and_days(tmp_path, facts, jobs):
    site = load_site(course(tmp_path, **facts))
    read = read_jobs(DAY, "|")
    inside = {job.job for job in read if course_of(site)(job) == site.course.title}
    assert inside == ({job.job for job in read} if jobs == {"all"} else jobs)


def test_jobs_of_other_projects_do_not_count_but_sessions_charged_to_them_do():
    other = DAY.replace("tra26_davide", "phys_x")
    assert {job.kind for job in filter(is_ours(load_site(LOCAL)), read_jobs(other, "|"))} == {"sessions"}


def test_a_name_can_not_write_a_line_of_the_report():
    fields = ["31", "student03", "tra26_davide", "", "1796030151", "COMPLETED", "20", "gres/gpu=1"]
    forged = "~".join(fields) + "~x\n99|student01|tra26_davide||1796030151|COMPLETED|999999|gres/gpu=4|jupyter-0\n"
    jobs = read_jobs("~".join(FIELDS) + f"\n{forged}", "~")
    assert [(job.user, job.gpu_seconds) for job in jobs] == [("student03", 20)]
    delimiters = [question(NOW, NOW, d)[6] for d in ("a", "b")]
    assert delimiters == ["--delimiter=a", "--delimiter=b"]


def test_each_report_has_a_separator_of_its_own(said, capsys):
    for _ in range(2):
        told(capsys)
    used = [word for argv in said.asked for word in argv if word.startswith("--delimiter=")]
    assert len(set(used)) == 2


def test_gpus_that_are_stored_by_type_alone_count():
    typed = DAY.replace("gres/gpu=4", "gres/gpu:tesla=3,gres/gpu:a100=1")
    assert sum(job.gpu_seconds for job in read_jobs(typed, "|")) == 25 + 24 + 208 + 80
    both = DAY.replace("gres/gpu=4", "gres/gpu=4,gres/gpu:tesla=4")
    assert sum(job.gpu_seconds for job in read_jobs(both, "|")) == 25 + 24 + 208 + 80


@pytest.mark.parametrize("text", ["", "no such thing\n", DAY.replace("|52|", "|x|")])
def test_half_an_answer_is_none(text):
    with pytest.raises(Unreadable, match="sacct printed"):
        read_jobs(text, "|")


def test_an_accounting_that_is_away_is_a_sentence(said, capsys):
    said.code, said.complaint, said.sacct = 1, AWAY, ""
    assert main(["report", "--site", str(LOCAL)]) == 1
    complaint = capsys.readouterr().err
    assert "Problem talking to the database: Connection refused; run this as root on hub01" in complaint
    assert len(complaint.splitlines()) == 1


def test_a_host_without_slurm_is_a_sentence(said, monkeypatch, capsys):
    async def none(_argv, _seconds):
        raise SlurmSilent("sacct can't be started: No such file or directory")

    monkeypatch.setattr(slurm, "run_command", none)
    assert main(["report", "--site", str(LOCAL)]) == 1
    assert "sacct can't be started" in capsys.readouterr().err


def test_an_accounting_without_gpus_is_a_sentence(said, capsys):
    said.tres = "cpu|\nmem|\ngres|nic\n"
    assert main(["report", "--site", str(LOCAL)]) == 1
    assert "set AccountingStorageTRES=gres/gpu" in capsys.readouterr().err


def test_only_root_sees_everybody(said, monkeypatch, capsys):
    monkeypatch.setattr(report.os, "geteuid", lambda: 1000)
    assert main(["report", "--site", str(LOCAL)]) == 1
    assert "run it as root on hub01" in capsys.readouterr().err
    assert said.asked == []


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("", "", ("2026-11-01T00:00:00", "2026-11-30T09:20:30")),
        ("2026-11-02", "2026-11-03", ("2026-11-02T00:00:00", "2026-11-04T00:00:00")),
        ("2026-11-02T08:30", "2026-11-02T09:30", ("2026-11-02T08:30:00", "2026-11-02T09:30:00")),
        ("2026-11-30", "2027-01-01", ("2026-11-30T00:00:00", "2026-11-30T09:20:30")),
    ],
)
def test_the_time_that_is_asked_about(since, until, expected):
    assert tuple(moment.isoformat() for moment in bounds(since, until, NOW)) == expected


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("yesterday", "", "--since 'yesterday' is no time; write for example"),
        ("2026-11-01; rm", "", "is no time"),
        ("2026-02-30", "", "is no time of the calendar"),
        ("٢٠٢٦-11-01", "", "is no time"),
        ("2026-12-01", "", "is in the future"),
        ("2026-11-02", "2026-11-01", "is not after 2026-11-02T00:00"),
        ("", "2026-10-01", "is not after 2026-11-01T00:00"),
        ("2025-11-01", "", "that is 394 days; ask about 366 at most"),
    ],
)
def test_a_time_that_can_not_be_is_refused_with_the_fix(since, until, words):
    with pytest.raises(OrderFailed, match=words):
        bounds(since, until, NOW)
