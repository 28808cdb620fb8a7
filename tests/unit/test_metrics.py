"""What Prometheus is told: sessions as they are, what happened to them, and how Slurm answers."""

from __future__ import annotations

import ast
import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub import counted, endings
from davide_hub.facts import load_site
from davide_hub.metrics import Sessions
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.spawner import DavideSpawner
from davide_hub.states import Job, Phase
from prometheus_client import REGISTRY

ROOT = Path(__file__).resolve().parents[2]
SITE = load_site(ROOT / "ansible/inventory/local/group_vars/all/site.yml")
RUNS = Job(Phase.RUNNING, "RUNNING", "gpu01")
WAITS = Job(Phase.WAITING, "PENDING")


def session(job: Job, profile: str = "one-gpu", **more):
    proof = SimpleNamespace(view=SimpleNamespace(last=lambda _number: job))
    usual = {"pending": "spawn", "ready": False, "stopping": "", "active": True, "user_options": {}, "job_id": "17"}
    return SimpleNamespace(profile_name=profile, proof=proof, **(usual | more))


@pytest.fixture
def told(monkeypatch):
    """Return a function that tells what Prometheus reads of some sessions, by name and labels."""
    view = SimpleNamespace(silent=False)
    monkeypatch.setattr(DavideSpawner, "proof", SimpleNamespace(view=view), raising=False)

    def read(*sessions, silent: bool = False) -> dict[tuple[str, ...], float]:
        view.silent = silent
        users = {"student01": SimpleNamespace(spawners=dict(enumerate(sessions)))}
        families = Sessions(SimpleNamespace(users=users), SITE).collect()
        return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}

    return read


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (session(WAITS), "waiting"),
        (session(Job(Phase.UNKNOWN)), "waiting"),
        (session(RUNS), "starting"),
        (session(RUNS, pending=None, ready=True), "running"),
        (session(RUNS, pending="stop"), "ending"),
        (session(RUNS, pending=None, ready=True, stopping="yes"), "ending"),
    ],
)
def test_a_session_is_counted_in_its_state(told, found, state):
    numbers = told(found)
    counted_in = {key[1:] for key, value in numbers.items() if key[0] == "davide_sessions" and value}
    assert counted_in == {(state, "one-gpu")}


def test_who_has_ended_is_not_counted(told):
    assert sum(value for key, value in told(session(RUNS, active=False)).items() if key[0] == "davide_sessions") == 0


def test_gpus_are_those_that_were_chosen_or_the_profiles_own(told):
    ready = {"pending": None, "ready": True}
    numbers = told(
        session(RUNS, **ready), session(RUNS, user_options={"gpus": 3}, **ready), session(RUNS, "no-gpu", **ready)
    )
    assert numbers["davide_session_gpus", "running", "one-gpu"] == 4
    assert numbers["davide_session_gpus", "running", "no-gpu"] == 0
    assert numbers["davide_partition_gpus", "dvd_usr_prod"] == 8


def test_a_profile_that_is_no_more_is_another(told):
    assert told(session(WAITS, "gone"))["davide_sessions", "waiting", "other"] == 1


def test_a_silent_slurm_is_told(told):
    assert (told()["davide_slurm_silent",], told(silent=True)["davide_slurm_silent",]) == (0, 1)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def asked(answer) -> tuple[float, float, float]:
    """Let Slurm be asked once; return by how much questions and failures grew, and when the last answer came."""
    labels = {"question": "queue"}
    names = ("davide_slurm_query_seconds_count", "davide_slurm_query_failures_total")
    before = [value(name, **labels) for name in names]

    async def ask(_question, _jobs):
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        asyncio.run(counted.counting(ask)("queue", frozenset("1")))
    except SlurmSilent:
        assert isinstance(answer, SlurmSilent)
    grown = [value(name, **labels) - old for name, old in zip(names, before, strict=True)]
    return grown[0], grown[1], value("davide_slurm_last_answer_timestamp_seconds", **labels)


@pytest.mark.parametrize(
    "outcome", [Outcome(0, "JOBID|\n"), Outcome(1, "", "slurm_load_jobs error: Invalid job id specified")]
)
def test_an_answer_of_slurms_is_counted_and_dated(outcome):
    counted.LAST_ANSWER.labels("queue").set(0)
    questions, failures, when = asked(outcome)
    assert (questions, failures) == (1, 0)
    assert time.time() - when < 60


@pytest.mark.parametrize("answer", [SlurmSilent("squeue took more than 15 s"), Outcome(1, "", "Unable to contact")])
def test_a_silence_of_slurms_is_counted_and_leaves_the_date(answer):
    counted.LAST_ANSWER.labels("queue").set(7)
    assert asked(answer) == (1, 1, 7)


def test_every_reason_is_there_before_the_first_of_its_kind():
    """Else an alert would miss it: Prometheus takes a number that appears for no increase."""
    written = {endings.of_refusal(kind, "").kind for kind in ("slurm", "home")}
    written |= {name for _, name in endings._REFUSALS} | set(endings._KINDS.values())
    for path in (ROOT / "hub/davide_hub").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Ending", "SessionFailed"):
                given = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "reason")]
                reasons = [one.value for one in given if isinstance(one, ast.Constant) and " " not in str(one.value)]
                written |= set(reasons)
    assert "by_teacher" in written, "this test looks for the wrong thing"
    # Refused before there was a session.
    written -= {"options", "query", "limit", "drained"}
    assert written <= {*counted.KNOWN_ENDS, *counted.KNOWN_FAILURES}
