"""The life of a session as the hub sees it, with a broker and a Slurm that do as they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub import spawner as module
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.facts import load_site
from davide_hub.slurm import UNKNOWN, Job, Phase
from davide_hub.spawner import DavideSpawner, SessionFailed, digest
from fake_broker import FakeBroker
from jupyterhub import apihandlers

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
WAITS = Job(Phase.WAITING, "PENDING", reason="Resources")
RUNS = Job(Phase.RUNNING, "RUNNING", "gpu01")
FAILED = Job(Phase.ENDED, "FAILED", "gpu01")


class Slurm:
    """Says of every job what it is told to say; the last word stands."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = list(jobs)

    async def look(self, _job_id: str, _max_age: float) -> Job:
        return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]

    def forget(self, _job_id: str) -> None:
        pass


@pytest.fixture
def session(monkeypatch):
    """Return a function that makes a session's spawner over some words of Slurm."""
    monkeypatch.setattr(module, "_STARTING_SECONDS", 0.01)
    monkeypatch.setattr(module, "_STOPPING_SECONDS", 0.01)
    monkeypatch.setattr(
        DavideSpawner, "_save", lambda self: self.__dict__.setdefault("saved", []).append(self.get_state())
    )
    environment = {"JUPYTERHUB_API_TOKEN": "t", "PATH": "/bin", "CONFIGPROXY_AUTH_TOKEN": "x"}
    monkeypatch.setattr(DavideSpawner, "get_env", lambda _self: environment)

    def make(*jobs: Job) -> DavideSpawner:
        made = DavideSpawner(site=SITE, broker=FakeBroker(), user=SimpleNamespace(name="student01"))
        made.slurm = Slurm(*jobs)
        made.api_token = "t"
        return made

    return make


@pytest.fixture
def hours(monkeypatch):
    """Let an hour pass between any two looks at the clock."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=iter(range(0, 10**9, 3600)).__next__))


async def start_and(spawner: DavideSpawner, meanwhile) -> tuple[str, int]:
    start = asyncio.create_task(spawner.start())
    await asyncio.sleep(0.05)
    await meanwhile()
    return await start


def test_a_session_that_calls_home_is_up(session):
    spawner = session(WAITS, RUNS)
    assert asyncio.run(start_and(spawner, lambda: spawner.call_home(40123))) == ("gpu01", 40123)
    submit = spawner.broker.said[0]
    assert (submit.user, submit.profile, submit.session_key) == ("student01", "one-gpu", spawner.session_key)
    assert submit.environment == {"JUPYTERHUB_API_TOKEN": "t"}, "nothing but the hub's own variables"


def test_the_job_is_saved_when_it_is_submitted(session):
    spawner = session(WAITS, RUNS)
    asyncio.run(start_and(spawner, lambda: spawner.call_home(40123)))
    first, last = spawner.saved[0], spawner.saved[-1]
    assert (first["job_id"], first.get("node")) == ("17", None)
    assert (last["node"], last["port"]) == ("gpu01", 40123)
    assert first["token_digest"] == digest("t")
    assert "t" not in first.values()


def test_what_was_saved_is_taken_up_again(session):
    spawner, again = session(RUNS), session(RUNS)
    asyncio.run(start_and(spawner, lambda: spawner.call_home(40123)))
    again.load_state(spawner.get_state())
    assert again.get_state() == spawner.get_state()
    again.server = SimpleNamespace(orm_server=None, base_url="/user/student01/")
    assert asyncio.run(again.get_url()) == "http://gpu01:40123/user/student01/"


def test_a_call_home_before_slurm_knows_the_node_comes_too_early(session):
    spawner = session(WAITS)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123)) is False
    assert (spawner.node, spawner.port) == ("", 0)


def test_waiting_in_the_queue_is_no_failure_and_the_page_says_why(session, hours):
    spawner = session(WAITS)

    async def run_at_last():
        assert "all fitting GPUs" in spawner._news
        spawner.slurm.jobs = [RUNS]
        await spawner.call_home(40123)

    assert asyncio.run(start_and(spawner, run_at_last)) == ("gpu01", 40123)


def test_a_job_that_runs_and_never_calls_is_given_up(session, hours):
    spawner = session(RUNS)
    spawner.broker.answers["log"] = "line 1\nNo space left on device"
    with pytest.raises(SessionFailed, match="did not come up on gpu01 within 5 minutes") as failure:
        asyncio.run(spawner.start())
    assert failure.value.session_log.endswith("No space left on device")


def test_a_job_that_dies_at_once_says_so(session):
    spawner = session(FAILED)
    spawner.broker.answers["log"] = BrokerUnreachable()
    with pytest.raises(SessionFailed, match="ended before JupyterLab was up"):
        asyncio.run(spawner.start())
    assert spawner.ended.startswith("The session ended before JupyterLab was up. The session's job failed.")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (BrokerRefused("slurm", "Invalid account"), "Slurm refused the session: Invalid account"),
        (BrokerRefused("no_ticket", "Log in again."), "Log in again."),
        (BrokerUnreachable(), "A part of the hub is not running"),
    ],
)
def test_a_refused_submission_is_told_in_its_own_words(session, error, sentence):
    spawner = session(UNKNOWN)
    spawner.broker.answers["submit"] = error
    with pytest.raises(SessionFailed) as failure:
        asyncio.run(spawner.start())
    assert sentence in failure.value.jupyterhub_message
    assert asyncio.run(spawner.poll()) == 1


@pytest.mark.parametrize("job", [UNKNOWN, WAITS, RUNS, Job(Phase.ENDING, "COMPLETING", "gpu01")])
def test_only_an_end_ends_a_session(session, job):
    spawner = session(job)
    spawner.job_id = "17"
    assert asyncio.run(spawner.poll()) is None


def test_an_end_is_told(session):
    spawner = session(Job(Phase.ENDED, "TIMEOUT", "gpu01"))
    spawner.job_id = "17"
    assert asyncio.run(spawner.poll()) == 1
    spawner.clear_state()
    assert spawner.get_state() == {"ended": "The session reached its time limit."}


def test_stop_while_pending_cancels_the_job(session):
    spawner = session(WAITS, WAITS, Job(Phase.ENDED, "CANCELLED"))

    async def scenario():
        start = asyncio.create_task(spawner.start())
        await asyncio.sleep(0.03)
        start.cancel()
        await spawner.stop()

    asyncio.run(scenario())
    assert spawner.broker.verbs() == ["submit", "cancel"]


def test_stop_in_the_middle_of_the_submission_cancels_what_comes_of_it(session):
    spawner = session(FAILED)

    async def slow():
        await asyncio.sleep(0.1)
        return "17"

    spawner.broker.answers["submit"] = slow

    async def scenario():
        start = asyncio.create_task(spawner.start())
        await asyncio.sleep(0.01)
        start.cancel()
        alive = await spawner.poll()
        await spawner.stop()
        return alive

    assert asyncio.run(scenario()) is None
    assert spawner.broker.verbs() == ["submit", "cancel"]


def test_stop_goes_on_until_the_broker_is_back(session, monkeypatch):
    spawner = session(FAILED)
    spawner.job_id, spawner.session_key = "17", "ab12"
    spawner.broker.answers["cancel"] = BrokerUnreachable()
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            spawner.broker.answers["cancel"] = "17"

    monkeypatch.setattr(module.asyncio, "sleep", pause)
    asyncio.run(spawner.stop())
    assert spawner.broker.verbs() == ["cancel"] * 4
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"profile": "huge; rm -rf ~"}, "this site has one-gpu, four-gpus, no-gpu"),
        ({"profile": ["one-gpu"]}, "this site has one-gpu"),
        ({"profile": None}, "this site has one-gpu"),
        ({"profile": "one-gpu", "partition": "x"}, "There is no option 'partition'; there is only profile."),
    ],
)
def test_options_are_the_name_of_a_profile_and_nothing_else(session, options, sentence):
    with pytest.raises(SessionFailed, match=sentence) as failure:
        session(RUNS).apply_user_options(None, options)
    assert failure.value.status_code == 400


def test_options_are_checked_again_at_the_start(session):
    spawner = session(RUNS)
    spawner.user_options = {"profile": "huge"}
    with pytest.raises(SessionFailed, match="no profile 'huge'"):
        asyncio.run(spawner.start())
    assert spawner.broker.said == []


def test_no_options_are_the_first_profile(session):
    spawner = session(RUNS)
    spawner.apply_user_options(None, {})
    assert spawner.profile_name == "one-gpu"


def test_a_form_gives_the_profiles_name(session):
    assert session(RUNS).options_from_form({"profile": ["no-gpu"], "_xsrf": ["x"]}) == {"profile": "no-gpu"}


def test_following_a_link_starts_nothing(session):
    with pytest.raises(SessionFailed, match="press Start"):
        session(RUNS).options_from_query({"profile": ["four-gpus"]})


def test_batchspawners_own_handler_is_gone():
    paths = [handler[0] for handler in apihandlers.default_handlers]
    assert paths
    assert not [path for path in paths if "batchspawner" in path]
