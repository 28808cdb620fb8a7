"""The life of a session as the hub sees it, with a broker and a Slurm that do as they are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub import counted
from davide_hub import spawner as module
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.facts import load_site
from davide_hub.spawner import Adoption, DavideSpawner, NeverSubmitted, SessionFailed, digest
from davide_hub.states import UNKNOWN, Job, Phase
from fake_broker import FakeBroker, looked, recalled
from fake_proof import FakeProof
from jupyterhub import apihandlers

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
WAITS = Job(Phase.WAITING, "PENDING", reason="Resources")
RUNS = Job(Phase.RUNNING, "RUNNING", "gpu01")
TIMED_OUT = Job(Phase.ENDED, "TIMEOUT", "gpu01")
FAILED = Job(Phase.ENDED, "FAILED", "gpu01")
NODES = {"192.0.2.21": "gpu01", "192.0.2.22": "gpu02"}


class Nodes:
    async def name_of(self, address: str) -> str:
        return NODES.get(address, "")


class Certificates:
    def for_session(self, key: str) -> dict[str, str]:
        return {"JUPYTERHUB_TLS_KEY": f"of {key}"}


@pytest.fixture
def session(monkeypatch):
    """Return a function that makes a session's spawner over some words of Slurm."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(
        DavideSpawner, "_save", lambda self: self.__dict__.setdefault("saved", []).append(self.get_state())
    )
    monkeypatch.setattr(DavideSpawner, "_use_token", lambda self, token: setattr(self, "api_token", token))
    environment = {"JUPYTERHUB_API_TOKEN": "t", "PATH": "/bin", "CONFIGPROXY_AUTH_TOKEN": "x"}
    monkeypatch.setattr(DavideSpawner, "get_env", lambda _self: environment)
    monkeypatch.setattr(DavideSpawner, "server", None)

    def make(*jobs: Job) -> DavideSpawner:
        made = DavideSpawner(site=SITE, broker=FakeBroker(), user=SimpleNamespace(name="student01", spawners={}))
        made.proof, made.nodes, made.certificates = FakeProof(*jobs), Nodes(), Certificates()
        made.api_token = "t"
        return made

    return make


@pytest.fixture
def hours(monkeypatch):
    """Let an hour pass between any two looks at the clock."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=iter(range(0, 10**9, 3600)).__next__))


def url(spawner: DavideSpawner, node: str, port: int) -> str:
    return f"https://{node}.{spawner.session_key}.sessions.internal:{port}"


async def until(what) -> None:
    """Let the others run until something is true."""
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0)


async def start_and(spawner: DavideSpawner, meanwhile) -> str:
    start = asyncio.create_task(spawner.start())
    await until(lambda: (spawner.job_id and spawner.proof.asked) or start.done())
    await meanwhile()
    return await start


def calls_home(spawner: DavideSpawner, port: int = 40123, address: str = "192.0.2.21"):
    return lambda: spawner.call_home(port, address)


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
    answers = iter([BrokerUnreachable(), BrokerRefused("busy", "Slurm does not answer."), "17"])
    told = []

    async def submit():
        told.append(spawner.news.message)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

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


def test_a_failed_job_is_told_with_the_end_of_its_log(session):
    spawner = session(FAILED)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"
    spawner.broker.answers["log"] = "line 1\nOSError: [Errno 122] Disk quota exceeded"
    assert asyncio.run(spawner.poll()) == 1
    assert spawner.ended_log.endswith("Disk quota exceeded")
    assert (spawner.ended_as, "Your home is full" in spawner.ended) == ("home_full", True)


def test_the_pending_page_hears_all_there_is_to_know(session):
    spawner = session(WAITS)
    spawner.asked_at = 1764440000

    async def first_two():
        await spawner._look_after_start()
        events = spawner.progress()
        return await anext(events)

    spawner.job_id = "17"
    event = asyncio.run(first_two())
    assert (event["state"], event["job"], event["kind"], event["since"]) == ("waiting", "17", "queue", 1764440000)
    assert event["reason"] == "Resources"
    assert event["advice"]


def test_a_change_wakes_the_pending_page(session, monkeypatch):
    spawner = session(WAITS)
    monkeypatch.setattr("davide_hub.record._AGAIN_SECONDS", 3600)

    async def told():
        events = spawner.progress()
        said = [(await anext(events))["message"]]
        # While the first is on its way to the page.
        spawner._say("one")
        said.append((await anext(events))["message"])
        waits = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        spawner._say("one")
        await asyncio.sleep(0.01)
        assert not waits.done(), "what was told already is no news"
        spawner._say("two")
        async with asyncio.timeout(5):
            return [*said, (await waits)["message"]]

    assert asyncio.run(told())[1:] == ["one", "two"]


def test_the_pending_page_hears_again_that_nothing_has_changed(session, monkeypatch):
    spawner = session(WAITS)
    monkeypatch.setattr("davide_hub.record._AGAIN_SECONDS", 0.01)

    async def twice():
        events = spawner.progress()
        return [await anext(events) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first["message"] == second["message"]


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


# -- a session that Slurm took twice


def doubtful(session, *jobs: Job, looks: object) -> DavideSpawner:
    spawner = session(*jobs)
    spawner.load_state({"session_key": "ab12", "job_id": "18", "unsure": "yes"})
    spawner.broker.answers["look"] = looks
    return spawner


def test_where_an_attempt_to_submit_failed_there_may_be_another_job(session):
    spawner = session(RUNS)
    answers = iter([BrokerUnreachable(), "17"])

    async def submit():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    spawner.broker.answers["submit"] = submit
    asyncio.run(start_and(spawner, calls_home(spawner)))
    assert spawner.saved[-1]["unsure"]


def test_the_end_of_one_job_leaves_a_session_that_has_another(session):
    spawner = doubtful(session, FAILED, looks=looked("17"))
    assert asyncio.run(spawner.poll()) is None
    assert (spawner.job_id, spawner.saved[-1]["job_id"], spawner.proof.forgotten) == ("17", "17", ["18"])


def test_a_job_that_waits_is_not_the_one_of_a_session_that_is_up(session):
    spawner = doubtful(session, WAITS, looks=looked("17"))
    spawner.node = "gpu01"
    assert asyncio.run(spawner.poll()) is None
    assert spawner.job_id == "17"


def test_a_number_that_the_owner_was_told_is_taken_over(session):
    spawner = doubtful(session, replace(RUNS, number="17"), looks=looked("17"))
    assert asyncio.run(spawner.poll()) is None
    assert (spawner.job_id, spawner.broker.verbs()) == ("17", [])


@pytest.mark.parametrize(
    ("looks", "status"),
    [
        (looked("18", "FAILED"), 1),
        (looked("17", "FAILED"), 1),
        (looked("", "GONE", ""), 1),
        (BrokerRefused("unknown_session", "student01 has no session ab12."), 1),
        (BrokerRefused("ended", "This session has ended."), 1),
        (BrokerRefused("busy", "Slurm does not answer."), None),
        (BrokerUnreachable(), None),
    ],
)
def test_without_another_job_the_end_is_the_end_and_silence_is_none(session, looks, status):
    assert asyncio.run(doubtful(session, FAILED, looks=looks).poll()) == status


def test_a_session_without_doubts_asks_nobody_at_its_end(session):
    spawner = session(FAILED)
    spawner.job_id = "18"
    assert asyncio.run(spawner.poll()) == 1
    assert spawner.broker.said == []


# -- stopping


def test_stop_while_pending_cancels_the_session(session):
    spawner = session(WAITS)

    async def scenario():
        start = asyncio.create_task(spawner.start())
        await until(lambda: spawner.job_id)
        start.cancel()
        await spawner.stop()

    asyncio.run(scenario())
    assert spawner.broker.verbs() == ["submit", "cancel"]
    assert spawner.saved[-1]["stopping"]


def test_stop_while_the_broker_is_silent_gives_up_the_submission(session):
    spawner = session(UNKNOWN)
    spawner.broker.answers["submit"] = BrokerRefused("busy", "Slurm does not answer.")

    async def scenario():
        start = asyncio.create_task(spawner.start())
        await until(lambda: spawner.broker.said)
        start.cancel()
        await spawner.stop()

    asyncio.run(scenario())
    assert spawner.broker.verbs()[-1] == "cancel"
    assert set(spawner.broker.verbs()[:-1]) == {"submit"}


def test_stop_in_the_middle_of_the_submission_cancels_what_comes_of_it(session):
    spawner = session(FAILED)

    async def scenario():
        reply = asyncio.Event()

        async def slow():
            await reply.wait()
            return "17"

        spawner.broker.answers["submit"] = slow
        start = asyncio.create_task(spawner.start())
        await until(lambda: spawner.broker.said)
        start.cancel()
        alive = await spawner.poll()
        stop = asyncio.create_task(spawner.stop())
        reply.set()
        await stop
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

    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(module.asyncio, "sleep", pause)
    asyncio.run(spawner.stop())
    assert spawner.broker.verbs() == ["cancel"] * 4
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("kind", ["unknown_session", "no_ticket"])
def test_stop_does_not_wait_for_what_will_never_mend(session, kind):
    spawner = session(RUNS)
    spawner.job_id, spawner.session_key = "17", "ab12"
    spawner.broker.answers["cancel"] = BrokerRefused(kind, "student01 has no session ab12.")
    asyncio.run(spawner.stop())
    assert spawner.broker.verbs() == ["cancel"]


@pytest.mark.parametrize(("job", "verb"), [(TIMED_OUT, "close"), (WAITS, "cancel")], ids=["ended", "requeued"])
def test_a_session_that_ended_by_itself_is_closed_and_its_token_revoked(session, monkeypatch, job, verb):
    revoked = []
    monkeypatch.setattr(DavideSpawner, "_revoke_token", lambda _self: revoked.append(True))
    spawner = session(job)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"

    async def scenario():
        assert await spawner.poll() == 1
        await spawner.run_post_stop_hook()

    asyncio.run(scenario())
    assert (spawner.broker.verbs(), revoked) == ([verb], [True])


@pytest.mark.parametrize("error", [BrokerUnreachable(), BrokerRefused("busy", "Too many people.")])
def test_a_token_is_revoked_even_if_the_broker_is_silent(session, monkeypatch, error):
    revoked = []
    monkeypatch.setattr(DavideSpawner, "_revoke_token", lambda _self: revoked.append(True))
    spawner = session(FAILED)
    spawner.session_key = "ab12"
    spawner.broker.answers["close"] = error
    asyncio.run(spawner.run_post_stop_hook())
    assert revoked == [True]


# -- what is counted of it


def counts() -> dict[tuple[str, ...], float]:
    families = [family for one in (counted.STARTS, counted.FAILURES, counted.ENDS) for family in one.collect()]
    samples = [sample for family in families for sample in family.samples if sample.name.endswith("_total")]
    return {(one.name, *one.labels.values()): one.value for one in samples}


def grown(before) -> dict[tuple[str, ...], float]:
    return {key: value - before.get(key, 0) for key, value in counts().items() if value != before.get(key, 0)}


@pytest.fixture
def tokenless(monkeypatch):
    monkeypatch.setattr(DavideSpawner, "_revoke_token", lambda _self: None)


def test_a_start_that_succeeds_is_counted(session):
    before, spawner = counts(), session(RUNS)
    asyncio.run(start_and(spawner, lambda: spawner.call_home(40000, "192.0.2.21")))
    assert grown(before) == {("davide_session_starts_total", "one-gpu"): 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BrokerRefused("slurm", "Slurm refused the session: Invalid account"), "account"),
        (RuntimeError("a slip of ours"), "error"),
    ],
)
def test_a_start_that_fails_is_counted_once_by_its_reason(session, tokenless, answer, reason):
    before, spawner = counts(), session(RUNS)
    spawner.broker.answers["submit"] = answer

    async def scenario():
        with pytest.raises((SessionFailed, RuntimeError)):
            await spawner.start()
        await spawner.run_post_stop_hook()
        spawner.clear_state()
        await spawner.run_post_stop_hook()

    asyncio.run(scenario())
    assert grown(before) == {("davide_session_failures_total", reason): 1}


@pytest.mark.parametrize(("job", "reason"), [(TIMED_OUT, "time_limit"), (RUNS, "stopped")])
def test_an_end_is_counted_by_its_reason(session, tokenless, job, reason):
    before, spawner = counts(), session(job)
    spawner.job_id, spawner.session_key, spawner.node = "17", "ab12", "gpu01"

    async def scenario():
        if await spawner.poll() is None:
            await spawner.stop()
        await spawner.run_post_stop_hook()

    asyncio.run(scenario())
    assert grown(before) == {("davide_session_ends_total", reason): 1}


# -- taking up what an earlier hub began


def resumed(spawner: DavideSpawner, **state):
    spawner.load_state({"session_key": "ab12", "token_digest": digest("t")} | state)
    return spawner.resume()


def test_a_session_that_was_waiting_goes_on_waiting(session):
    spawner = session(RUNS)

    async def scenario():
        resume = asyncio.create_task(resumed(spawner, job_id="17"))
        await until(lambda: spawner.proof.asked)
        await spawner.call_home(40123, "192.0.2.21")
        await resume

    asyncio.run(scenario())
    assert set(spawner.broker.verbs()) <= {"recall"}, "nothing is submitted or looked for"


def test_a_call_home_that_the_last_hub_heard_is_not_waited_for(session):
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = recalled(40123)
    asyncio.run(resumed(spawner, job_id="17"))
    assert (spawner.node, spawner.port, spawner.saved[-1]["port"]) == ("gpu01", 40123, 40123)


def test_while_it_is_not_known_whether_a_session_listens_it_is_waited_for(session):
    spawner = session(RUNS)
    spawner.broker.answers["recall"] = BrokerUnreachable()

    async def scenario():
        resume = asyncio.create_task(resumed(spawner, job_id="17"))
        await until(lambda: len(spawner.broker.said) > 1)
        spawner.broker.answers["recall"] = recalled(40123)
        await resume

    asyncio.run(scenario())
    assert spawner.port == 40123


def test_a_job_whose_number_the_last_hub_never_heard_is_found(session):
    spawner = session(RUNS)
    spawner.broker.answers["look"] = looked("23")

    async def scenario():
        resume = asyncio.create_task(resumed(spawner))
        await until(lambda: spawner.proof.asked)
        await spawner.call_home(40123, "192.0.2.21")
        await resume

    asyncio.run(scenario())
    assert (spawner.job_id, spawner.saved[0]["job_id"]) == ("23", "23")


def test_while_slurm_is_silent_the_search_goes_on(session):
    spawner = session(RUNS)
    silence = [BrokerUnreachable(), BrokerRefused("busy", "Slurm does not answer.")]
    words = iter([*silence, looked("23", "FAILED", ""), looked("23", "FAILED", "")])

    async def look():
        word = next(words)
        if isinstance(word, Exception):
            raise word
        return word

    spawner.broker.answers["look"] = look
    spawner.proof.jobs = [FAILED]
    with pytest.raises(SessionFailed, match="ended before JupyterLab was up"):
        asyncio.run(resumed(spawner))
    assert spawner.broker.verbs() == ["look"] * 4 + ["log"], "three for its number, one for another job of its own"


def test_a_session_that_slurm_never_heard_of_is_closed_before_a_new_one(session):
    spawner = session(UNKNOWN)
    spawner.broker.answers["look"] = looked("", "GONE", "")
    with pytest.raises(NeverSubmitted):
        asyncio.run(resumed(spawner))
    assert spawner.broker.verbs() == ["look", "cancel"]


@pytest.mark.parametrize("cancel", ["gone", BrokerRefused("no_ticket", "student01 has no session ab12.")])
def test_a_session_that_the_broker_never_heard_of_is_closed_all_the_same(session, cancel):
    spawner = session(UNKNOWN)
    spawner.broker.answers["cancel"] = cancel
    spawner.broker.answers["look"] = BrokerRefused("unknown_session", "student01 has no session ab12.")
    with pytest.raises(NeverSubmitted):
        asyncio.run(resumed(spawner))
    assert spawner.broker.verbs() == ["look", "cancel"], "a late order for it is refused from now on"


ADOPTION = Adoption("cd34", "23", "no-gpu", "its own token")


def test_a_running_session_is_adopted_with_its_own_token(session):
    spawner = session(UNKNOWN, RUNS)
    spawner.broker.answers["recall"] = recalled(40123)
    spawner.to_adopt = ADOPTION
    assert asyncio.run(spawner.start()) == url(spawner, "gpu01", 40123)
    assert (spawner.session_key, spawner.job_id, spawner.profile_name) == ("cd34", "23", "no-gpu")
    assert (spawner.api_token, spawner.token_digest) == ("its own token", digest("its own token"))
    assert set(spawner.broker.verbs()) == {"recall"}, "nothing is submitted"


def test_an_adopted_session_that_has_not_called_yet_is_waited_for(session):
    spawner = session(RUNS)
    spawner.to_adopt = ADOPTION
    assert asyncio.run(start_and(spawner, calls_home(spawner, 41000))) == url(spawner, "gpu01", 41000)


def test_a_session_that_ends_while_it_is_adopted_has_ended(session):
    spawner = session(FAILED)
    spawner.to_adopt = ADOPTION
    with pytest.raises(SessionFailed, match="ended before JupyterLab was up"):
        asyncio.run(spawner.start())


def test_an_adopted_session_keeps_its_profile(session):
    spawner = session(RUNS)
    spawner.to_adopt = ADOPTION
    spawner.profile_name = "no-gpu"
    spawner.apply_user_options(None, {})
    assert spawner.profile_name == "no-gpu"


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
