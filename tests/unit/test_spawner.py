"""The life of a session as the hub sees it, with a broker and a Slurm that do as they are told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from davide_hub import spawner as module
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.spawner import SessionFailed, digest
from davide_hub.states import UNKNOWN, Job, Phase
from fake_session import FAILED, RUNS, WAITS, calls_home, in_turn, start_and, until, url
from jupyterhub import apihandlers

# -- starting


def test_a_session_that_calls_home_is_up(session):
    spawner = session(WAITS, RUNS)
    assert asyncio.run(start_and(spawner, calls_home(spawner))) == url(spawner, "gpu01", 40123)
    submit = spawner.broker.said[0]
    assert (submit.user, submit.profile, submit.session_key) == ("student01", "one-gpu", spawner.session_key)
    tls = {"JUPYTERHUB_TLS_KEY": f"of {spawner.session_key}"}
    assert submit.environment == {"JUPYTERHUB_API_TOKEN": "t"} | tls, "nothing but the hub's own variables"


def test_the_key_is_saved_before_anybody_is_asked_for_a_job(session):
    spawner = session(RUNS)
    saved = []

    async def submit():
        saved.extend(spawner.saved)
        return "17"

    spawner.broker.answers["submit"] = submit
    asyncio.run(start_and(spawner, calls_home(spawner)))
    (before,) = saved
    assert (before["session_key"], before.get("job_id")) == (spawner.session_key, None)
    assert before["token_digest"] == digest("t")


def test_the_job_is_saved_when_it_is_submitted_and_the_place_when_it_is_known(session):
    spawner = session(WAITS, RUNS)
    asyncio.run(start_and(spawner, calls_home(spawner)))
    _, submitted, last = spawner.saved
    assert (submitted["job_id"], submitted.get("node")) == ("17", None)
    assert (last["node"], last["port"]) == ("gpu01", 40123)
    assert "t" not in last.values()


def test_what_was_saved_is_taken_up_again(session):
    spawner, again = session(RUNS), session(RUNS)
    asyncio.run(start_and(spawner, calls_home(spawner)))
    again.load_state(spawner.get_state())
    assert again.get_state() == spawner.get_state()
    assert again._at_home.is_set()


def test_a_lost_reply_is_asked_for_again_with_the_same_key(session):
    spawner = session(RUNS)
    answer = in_turn(BrokerUnreachable(), BrokerRefused("busy", "Slurm does not answer."), "17")
    told = []

    async def submit():
        told.append(spawner.news.message)
        return await answer()

    spawner.broker.answers["submit"] = submit
    asyncio.run(start_and(spawner, calls_home(spawner)))
    assert len({request.session_key for request in spawner.broker.said if request.verb == "submit"}) == 1
    assert spawner.broker.verbs() == ["submit"] * 3
    assert told[1:] == [
        "A part of the hub is not running. The session is submitted as soon as it is back.",
        "Slurm does not answer. The session is submitted as soon as it does.",
    ]


def test_waiting_in_the_queue_is_no_failure_and_the_page_says_why(session, hours):
    spawner = session(WAITS)

    async def run_at_last():
        await until(lambda: "all fitting GPUs" in spawner.news.message)
        spawner.proof.jobs = [RUNS]
        await spawner.call_home(40123, "192.0.2.21")

    assert asyncio.run(start_and(spawner, run_at_last)) == url(spawner, "gpu01", 40123)


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
    ("error", "todo"),
    [
        (BrokerRefused("slurm", "Slurm refused the session: Invalid account."), " Ask your teacher"),
        (BrokerRefused("no_ticket", "Log in again."), ""),
    ],
)
def test_a_refused_submission_is_told_in_its_own_words(session, error, todo):
    spawner = session(UNKNOWN)
    spawner.broker.answers["submit"] = error
    with pytest.raises(SessionFailed) as failure:
        asyncio.run(spawner.start())
    assert failure.value.jupyterhub_message.startswith(f"{error}{todo}")
    assert spawner.ended == str(error)


def test_a_user_has_as_many_sessions_as_the_site_allows(session):
    spawner = session(RUNS)
    active = [SimpleNamespace(active=flag) for flag in (True, False, True)]
    spawner.user.spawners = dict(enumerate([*active, spawner]))
    with pytest.raises(SessionFailed, match=r"You have 2 running; this site allows 2 sessions at a time\. End one"):
        asyncio.run(spawner.start())
    assert spawner.broker.said == []


def test_a_user_below_the_limit_starts_another(session):
    spawner = session(RUNS)
    spawner.user.spawners = {"": SimpleNamespace(active=True), "two": spawner}
    assert asyncio.run(start_and(spawner, calls_home(spawner)))


# -- the call home


def test_the_place_comes_from_the_connection(session):
    spawner = session(RUNS)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123, "192.0.2.21"))
    assert (spawner.node, spawner.port) == ("gpu01", 40123)


def test_a_call_home_from_another_node_than_the_jobs_is_not_heard(session):
    spawner = session(RUNS)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123, "192.0.2.22")) is False
    assert (spawner.node, spawner.port) == ("", 0)


def test_a_call_home_is_heard_before_slurm_tells_the_node(session):
    spawner = session(WAITS)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123, "192.0.2.21"))


def test_a_second_call_from_another_node_is_not_heard_although_slurm_has_told_none(session):
    spawner = session(WAITS)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123, "192.0.2.21"))
    assert asyncio.run(spawner.call_home(40123, "192.0.2.22")) is False
    assert asyncio.run(spawner.call_home(40123, "192.0.2.21"))
    assert spawner.node == "gpu01"


def test_an_address_that_no_name_explains_is_explained_by_slurm(session):
    spawner = session(RUNS)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123, "198.51.100.7"))
    assert spawner.node == "gpu01"


@pytest.mark.parametrize("job", [WAITS, UNKNOWN, FAILED])
def test_a_strange_address_before_slurm_knows_the_node_comes_too_early(session, job):
    spawner = session(job)
    spawner.job_id = "17"
    assert asyncio.run(spawner.call_home(40123, "198.51.100.7")) is False
    assert (spawner.node, spawner.port) == ("", 0)


# -- polling


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
    assert spawner.get_state() == {"ended": "The session reached its time limit.", "ended_as": "time_limit"}
    assert spawner.proof.forgotten == ["17"]


@pytest.mark.parametrize(
    ("name", "words"), [("teacher01", "teacher01 cancelled"), ("", "The user with the number 5003 cancelled")]
)
def test_who_cancelled_a_session_is_asked_of_the_directory(session, monkeypatch, name, words):
    async def name_of(_uid):
        return name

    monkeypatch.setattr(module, "name_of", name_of)
    spawner = session(Job(Phase.ENDED, "CANCELLED", "gpu01", cancelled_by=5003))
    spawner.job_id = "17"
    assert asyncio.run(spawner.poll()) == 1
    assert spawner.ended.startswith(words)


def test_a_failed_job_is_told_with_the_end_of_its_log(session):
    spawner = session(FAILED)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"
    spawner.broker.answers["log"] = "line 1\nOSError: [Errno 122] Disk quota exceeded"
    assert asyncio.run(spawner.poll()) == 1
    assert spawner.ended_log.endswith("Disk quota exceeded")
    assert (spawner.ended_as, "Your home is full" in spawner.ended) == ("home_full", True)


def test_a_running_session_that_slurm_put_back_into_the_queue_has_ended(session):
    spawner = session(WAITS)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"
    assert asyncio.run(spawner.poll()) == 1
    assert "put back into the queue" in spawner.ended


def test_an_answer_of_slurms_from_before_the_call_home_ends_no_session(session, monkeypatch):
    """A job waits, Slurm is asked, the job starts and calls home: what Slurm said counts for a while yet."""
    spawner = session(WAITS)
    spawner.job_id, spawner.session_key = "17", "ab12"
    assert asyncio.run(spawner.call_home(40123, "192.0.2.21"))
    assert asyncio.run(spawner.poll()) is None
    monkeypatch.setattr(module, "_OLDEST_ANSWER_SECONDS", 0)
    assert asyncio.run(spawner.poll()) == 1, "nothing that is said now is so old"


def test_who_stops_a_session_here_is_not_told_that_it_ended(session):
    spawner = session(Job(Phase.ENDED, "CANCELLED"))
    spawner.job_id, spawner.session_key = "17", "ab12"
    asyncio.run(spawner.stop())
    assert asyncio.run(spawner.poll()) == 1
    assert spawner.ended == ""


def test_a_session_whose_job_is_not_known_yet_may_live(session):
    spawner = session(UNKNOWN)
    assert asyncio.run(spawner.poll()) == 1, "nothing was ever started"
    spawner.session_key = "ab12"
    assert asyncio.run(spawner.poll()) is None
    asyncio.run(spawner.stop())
    assert asyncio.run(spawner.poll()) == 1


# -- options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"profile": "huge; rm -rf ~"}, "this site has one-gpu, four-gpus, no-gpu"),
        ({"profile": ["one-gpu"]}, "this site has one-gpu"),
        ({"profile": None}, "this site has one-gpu"),
        ({"profile": "one-gpu", "partition": "x"}, "There is no option 'partition'; there is profile, gpus, hours"),
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
