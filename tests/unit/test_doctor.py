"""What the doctor makes of a hub that is installed: silence where it is well, else the cause with its fix."""

from __future__ import annotations

import copy
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from davide_hub.certificates import make_authority, sign
from davide_hub.cli import main
from davide_hub.drain import Drain
from davide_hub.health import doctor
from davide_hub.health import judge_hub as judge
from davide_hub.health.findings import Finding, problem, warning
from davide_hub.questions import Outcome
from looked import GOOD, LOCAL, SITE

NOW = 1_800_000_000.0
KEY = "0123456789abcdef"
HUB = "ab12cd34"
UNIT = """Id={}.service
LoadState=loaded
ActiveState=active
Result=success
NRestarts=0
UnitFileState=enabled"""
UNITS = "\n\n".join(UNIT.format(name) for name in judge.UNITS)
ANSWERS = {name: {"status": 200, "body": "", "why": ""} for name in ("front", "proxy", "api")}
ENTRIES = [{"key": KEY, "user": "student01", "state": "submitted", "job": "7"}]
ROUTES = {
    "/": {"target": "https://10.77.0.10:8081"},
    "/student01.davide.localhost/user/student01": {"target": f"https://gpu01.{KEY}.sessions.internal:40001"},
}
QUEUE = (
    "JOBID|STATE|EXEC_HOST|UID|PARTITION|PRIORITY|SUBMIT_TIME|START_TIME|END_TIME|REASON\n"
    f"7|RUNNING|gpu01|6001|dvd_usr_prod|1|{NOW - 5000:.0f}|{NOW - 4000:.0f}|{NOW + 4000:.0f}|None\n"
)
MARKS = f"JOBID|STATE|USER|COMMENT\n7|RUNNING|student01|davide-hub:{HUB}:{KEY}:{32 * '0'}\n"
NODES = "gpu01|dvd_usr_prod*|idle|none\ngpu02|dvd_usr_prod*|mixed|none\n"


def sentences(found: Any) -> list[str]:
    return [f"{one.level}: {one.sentence}" for one in found]


def units(old: str = "", new: str = "", of: str = "jupyterhub") -> list[str]:
    """Return what is said of the units where one of them is another."""
    changed = UNIT.format(of).replace(old, new) if old else UNIT.format(of)
    return sentences(judge.judge_units(judge.read_units(UNITS.replace(UNIT.format(of), changed))))


@pytest.mark.parametrize(
    ("old", "new", "of", "sentence"),
    [
        (
            "ActiveState=active\nResult=success",
            "ActiveState=failed\nResult=exit-code",
            "davide-broker",
            "problem: davide-broker is not running (failed, exit-code), so nobody can log in, start or stop: systemctl",
        ),
        (
            "ActiveState=active\nResult=success\nNRestarts=0",
            "ActiveState=activating\nResult=exit-code\nNRestarts=17",
            "jupyterhub",
            "problem: jupyterhub is not running (activating, exit-code)",
        ),
        ("ActiveState=active", "ActiveState=inactive", "munge", "problem: munge is not running"),
        ("LoadState=loaded", "LoadState=not-found", "davide-front", "run the plays with --tags front"),
        ("NRestarts=0", "NRestarts=17", "jupyterhub", "warning: jupyterhub has ended and been started again 17 times"),
        ("=enabled", "=disabled", "jupyterhub-proxy", "warning: jupyterhub-proxy does not start at boot"),
    ],
)
def test_a_unit_that_is_not_well_is_told(old, new, of, sentence):
    assert units() == []
    (found,) = units(old, new, of)
    assert sentence in found


def answers(**changed: dict[str, Any]) -> list[str]:
    """Return what is said of the answers where some are other ones, and all units run."""
    return sentences(judge.judge_answers(SITE, ANSWERS | changed, judge.read_units(UNITS)))


def test_what_runs_and_does_not_answer_is_told():
    silent = {"status": 0, "body": "", "why": "Connection refused"}
    busy = {"status": 503, "body": "", "why": ""}
    assert answers() == []
    assert answers(api={"status": 403, "body": "", "why": ""})[0].startswith(
        "problem: the proxy does not take the token"
    )
    assert "the proxy's API does not answer (Connection refused)" in answers(api=silent)[0]
    (hub,) = answers(proxy=busy, front=busy)
    assert "the hub does not answer through the proxy (status 503)" in hub
    assert "the front does not answer at port 8000 (Connection refused)" in answers(front=silent)[0]


def test_a_unit_that_is_down_is_not_told_again_for_its_silence():
    silent = {"status": 0, "body": "", "why": "Connection refused"}
    down = judge.read_units(UNITS.replace("ActiveState=active", "ActiveState=failed"))
    assert list(judge.judge_answers(SITE, dict.fromkeys(ANSWERS, silent), down)) == []


def test_a_firewall_that_somebody_flushed_is_told():
    assert list(judge.judge_firewall(Outcome(0, "table inet davide_hub {}"))) == []
    (found,) = judge.judge_firewall(Outcome(1, "", "Error: No such file or directory"))
    assert found.sentence.endswith("systemctl restart davide-firewall")


def test_certificates_within_that_end_are_told_with_how_they_are_renewed():
    authority = make_authority("gate")
    soon = sign(authority, "hub", [], timedelta(days=5)).certificate_text
    now = time.time()
    assert list(judge.judge_internal_certificates({"/tls/gate.crt": authority.certificate_text}, now)) == []
    (found,) = judge.judge_internal_certificates({"/tls/hub.crt": soon}, now)
    assert found.sentence.endswith("run the plays, which renew it (an authority: davide-hub rotate ca)")
    (found,) = judge.judge_internal_certificates({"/tls/hub.crt": "nothing"}, now)
    assert found.level == "problem"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "gpu01|dvd_usr_prod*|idle|none",
            "gpu01|dvd_usr_prod*|down*|Not responding",
            "warning: partition dvd_usr_prod has 1 of 2",
        ),
        ("|mixed|none", "|drained|disk", "out are gpu02 (drained: disk): see there slurmd"),
    ],
)
def test_nodes_out_of_service_are_told(old, new, sentence):
    assert list(judge.judge_nodes(SITE, Outcome(0, NODES))) == []
    (found,) = sentences(judge.judge_nodes(SITE, Outcome(0, NODES.replace(old, new))))
    assert sentence in found


def test_a_partition_without_any_node_in_service_is_a_problem():
    (found,) = judge.judge_nodes(SITE, Outcome(0, NODES.replace("idle", "down").replace("mixed", "down")))
    assert (found.level, "has no node in service" in found.sentence) == ("problem", True)


def sessions(**changed: Any) -> list[str]:
    """Return what is said of the sessions where something is another."""
    good = {"entries": ENTRIES, "routes": ROUTES, "queue": QUEUE, "marks": MARKS} | changed
    told = {"hub": HUB, "entries": good["entries"]}
    queue, marks = Outcome(0, good["queue"]), Outcome(0, good["marks"])
    return sentences(judge.judge_sessions(SITE, told, good["routes"], queue, marks, NOW))


def test_sessions_that_ledger_slurm_and_proxy_agree_on_are_right():
    assert sessions() == []
    assert sessions(entries=[], routes={}, queue="", marks="JOBID|STATE|USER|COMMENT\n") == []


def test_a_route_to_no_session_is_told():
    stale = ROUTES | {"/student02": {"target": "https://gpu02.fedcba9876543210.sessions.internal:1"}}
    (found,) = sessions(routes=stale)
    assert found.startswith("problem: the proxy leads /student02 to gpu02:1, where no session is any more")
    (found,) = sessions(queue=QUEUE.replace("RUNNING", "FAILED"))
    assert "where no session is any more" in found


def test_a_route_to_another_node_than_the_jobs_is_told():
    (found,) = sessions(queue=QUEUE.replace("gpu01", "gpu02"))
    assert "the session's job 7 runs on gpu02" in found


def test_a_session_without_a_route_is_told_once_it_has_had_its_time():
    (found,) = sessions(routes={})
    assert "runs for more than 5 minutes, and the proxy has no route to it" in found
    young = QUEUE.replace(f"{NOW - 4000:.0f}", f"{NOW - 30:.0f}")
    assert sessions(routes={}, queue=young) == []
    assert sessions(routes=None) == []


def test_a_marked_job_that_no_session_knows_is_told():
    orphan = f"9|RUNNING|student02|davide-hub:{HUB}:fedcba9876543210:{32 * '1'}\n"
    (found,) = sessions(marks=MARKS + orphan)
    assert found.startswith(
        "problem: job 9 of student02 is marked as a session of this hub, and the broker's ledger has"
    )
    assert sessions(marks=MARKS + orphan.replace(HUB, "00000000")) == [], "of another hub on the same cluster"


def test_two_jobs_of_one_session_are_told():
    (found,) = sessions(marks=MARKS + MARKS.splitlines()[1].replace("7|", "8|", 1) + "\n")
    assert f"session {KEY} has 2 jobs: 7, 8" in found


def test_a_job_that_slurm_does_not_list_is_told():
    (found,) = sessions(queue=QUEUE.splitlines()[0] + "\n", routes={})
    assert found.startswith(f"warning: session {KEY} of student01 has job 7, which Slurm does not list")


def test_a_broker_or_a_slurm_that_says_nothing_is_not_taken_for_no_sessions():
    (found,) = judge.judge_sessions(SITE, {"why": "no answer"}, ROUTES, Outcome(0, ""), Outcome(0, ""), NOW)
    assert found.sentence.startswith("the broker does not tell its sessions (no answer)")
    silent = Outcome(1, "", "connect failure")
    assert list(judge.judge_sessions(SITE, {"hub": HUB, "entries": ENTRIES}, ROUTES, silent, silent, NOW)) == []


def test_kernels_that_are_not_whole_are_told():
    good = {"folder": "/k/tf-cpu", "installed": True, "missing": "", "passed": True}
    assert list(judge.judge_kernels({"tf-cpu": good})) == []
    for changed, sentence in (
        ({"installed": False}, "problem: kernel tf-cpu is not installed in /k/tf-cpu"),
        ({"missing": "/envs/x/bin/python"}, "problem: kernel tf-cpu lacks /envs/x/bin/python"),
        ({"passed": False}, "warning: the test of kernel tf-cpu has not passed as it is now: davide-hub kernels test"),
    ):
        (found,) = sentences(judge.judge_kernels({"tf-cpu": good | changed}))
        assert found.startswith(sentence)


def test_a_job_that_can_not_be_had_is_no_fault_and_one_that_fails_is():
    (found,) = judge.judge_job("admin01", 1, "srun: error: Unable to allocate resources: Requested nodes are busy")
    assert found.level == "warning"
    (found,) = judge.judge_job("admin01", 2, "slurmstepd: error: execve(): /software/x: No such file or directory")
    assert (found.level, "is the software folder mounted there" in found.sentence) == ("problem", True)


@pytest.fixture
def job_here(tmp_path, monkeypatch):
    """Let the doctor's job run here: a runuser that becomes nobody, and a command without srun."""
    (tmp_path / "runuser").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    (tmp_path / "runuser").chmod(0o755)
    top = Path(__file__).parents[2]
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(top / "hub"))
    monkeypatch.setenv("SLURMD_NODENAME", "localhost")
    real = doctor.job

    def here(*words: Any) -> list[str]:
        command = real(*words)
        return ["python3", *command[command.index("-m") :]]

    monkeypatch.setattr(doctor, "job", here)


def test_the_job_opens_both_directions(job_here):
    here: dict[str, Any] = {}
    plan = {"called": [["127.0.0.1", 9]], "room": ["/tmp"]}
    told, broken = doctor._run_job(SITE, "admin01", plan, here)
    assert broken == []
    (node,) = told.values()
    assert node["visitor"].endswith("127.0.0.1") or node["visitor"] == "::1"
    assert node["called"]["127.0.0.1:9"]["heard"] is False
    (call,) = here["called"].values()
    assert call["heard"]
    assert abs(node["time"] - node["clock"][1]) < 5


def test_a_job_that_fails_tells_what_srun_said(job_here, monkeypatch):
    monkeypatch.setattr(
        doctor, "job", lambda *_: ["sh", "-c", "echo 'execve(): /x: No such file or directory' >&2; exit 2"]
    )
    told, broken = doctor._run_job(SITE, "admin01", {}, {})
    assert told == {}
    assert "failed as a session would" in broken[0].sentence


def test_the_job_is_small_and_takes_no_gpu():
    command = doctor.job(SITE, {})
    assert "--account=tra26_davide" in command
    assert not any("gres" in word for word in command)


@pytest.fixture
def well(monkeypatch, tmp_path):
    """Let everything that the doctor looks at be well; return what it sees, to be made otherwise."""
    seen = {
        "units": judge.read_units(UNITS),
        "here": copy.deepcopy(GOOD["hub01"]),
        "node": ({name: copy.deepcopy(GOOD[name]) for name in ("gpu01", "gpu02")}, []),
        "answers": ANSWERS,
        "software": True,
    }
    for name in ("jupyterhub.service", "davide-broker.service"):
        (tmp_path / name).touch()
    monkeypatch.setattr(doctor, "_UNIT_FILES", tmp_path)
    monkeypatch.setattr(doctor.socket, "gethostname", lambda: "hub01.example.org")
    monkeypatch.setattr(doctor, "_units", lambda *_: seen["units"])
    monkeypatch.setattr(doctor, "_look_here", lambda *_, **__: seen["here"])
    monkeypatch.setattr(doctor, "_look_from_a_node", lambda *_: seen["node"])
    monkeypatch.setattr(doctor, "_answers", lambda *_: seen["answers"])
    monkeypatch.setattr(doctor, "_outcome", lambda argv: Outcome(0, NODES if argv[0] == "sinfo" else ""))
    monkeypatch.setattr(doctor, "_certificates", dict)
    monkeypatch.setattr(doctor, "_judge_sessions", lambda *_, **__: [])
    monkeypatch.setattr(doctor, "_sees_software", lambda _: seen["software"])
    monkeypatch.setattr(
        doctor, "_kernel", lambda *_: {"folder": "/k", "installed": True, "missing": "", "passed": True}
    )
    return seen


def test_a_hub_that_is_well_is_told_to_be(well):
    assert doctor.examine(SITE, with_job=True) == []


def test_a_forgotten_drain_is_told(well, monkeypatch):
    monkeypatch.setattr(doctor, "standing", lambda: Drain("14:00"))
    (found,) = doctor.examine(SITE, with_job=True)
    assert (found.level, found.check) == ("warning", "sessions")
    assert "drained until 14:00" in found.sentence
    assert "davide-hub undrain" in found.sentence


def test_the_cause_comes_before_what_follows(well):
    """munge is dead on the hub's host: Slurm does not believe it, and the node can't check its credential."""
    well["units"]["munge"]["ActiveState"] = "failed"
    well["here"]["encoded"] = {"code": 6, "out": "", "err": "munge: Error: Failed to access munge.socket.2"}
    silent = {"code": 1, "out": "", "err": "error: Munge encode failed: Failed to access munge.socket.2"}
    well["here"]["commands"] = dict.fromkeys(well["here"]["commands"], silent)
    well["node"] = ({}, [warning("reach", "no node was free")])
    found = doctor.examine(SITE, with_job=True)
    assert [one.check for one in found] == ["munge", "units", "slurm", "reach"]


def test_a_shared_folder_that_is_away_is_told(well):
    well["software"] = False
    (found,) = doctor.examine(SITE, with_job=True)
    assert (found.level, found.sentence.startswith("hub01 has no /software/davide")) == ("warning", True)


def test_what_passes_by_itself_is_not_told(monkeypatch):
    monkeypatch.setattr(doctor, "SETTLE_SECONDS", 0)
    looks = iter([[problem("sessions", "gone soon"), problem("sessions", "stays")], [problem("sessions", "stays")]])
    assert [one.sentence for one in doctor._settled(lambda: next(looks))] == ["stays"]


@pytest.mark.parametrize(
    ("found", "words", "status"),
    [
        ([], [], 0),
        ([warning("limits", "w")], [], 1),
        ([warning("limits", "w")], ["--ignore", "limits"], 0),
        ([problem("limits", "p"), warning("limits", "w")], ["--ignore", "limits"], 2),
    ],
)
def test_the_status_is_for_monitoring(monkeypatch, capsys, found: list[Finding], words, status):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: found)
    monkeypatch.setattr(doctor, "is_here", lambda _: True)
    assert main(["doctor", "--site", str(LOCAL), "--json", *words]) == status
    assert json.loads(capsys.readouterr().out)["ok"] is (status < 2)
    assert main(["doctor", "--site", str(LOCAL), *words]) == status
    assert ("all is right" in capsys.readouterr().out) is (status == 0)


def test_a_host_without_hub_and_broker_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor, "is_here", lambda _: False)
    assert main(["doctor", "--site", str(LOCAL)]) == 3
    assert capsys.readouterr().err.endswith("run this as root on hub01\n")


def test_whoever_is_not_root_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    assert main(["doctor", "--site", str(LOCAL)]) == 3
    assert "run it as root on the hub's host" in capsys.readouterr().err
