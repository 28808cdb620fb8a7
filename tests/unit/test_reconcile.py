"""No job without a session, no session without its job: the hub's list against the broker's ledger."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from davide_hub import reconcile as module
from davide_hub.answers import Marked
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.questions import SlurmSilent
from davide_hub.reconcile import Reconciler
from davide_hub.spawner import Adoption
from davide_hub.states import UNKNOWN, Job, Phase
from fake_broker import HUB, FakeBroker, listed, looked
from fake_proof import FakeProof
from jupyterhub import orm, roles
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

RUNS = Job(Phase.RUNNING, "RUNNING", "gpu01")
WAITS = Job(Phase.WAITING, "PENDING")
ENDED = Job(Phase.ENDED, "TIMEOUT", "gpu01")
ENDING = Job(Phase.ENDING, "COMPLETING", "gpu01")
RECALLED = json.dumps({"token": "its own token", "profile": "no-gpu", "port": 40123})


class Users(dict):
    """Users with their spawners, by their rows in the database."""

    def __missing__(self, row: orm.User) -> SimpleNamespace:
        self[row] = SimpleNamespace(name=row.name, spawners={})
        return self[row]


class Hub:
    """A hub with some sessions, over a broker that lists others."""

    def __init__(self, *rows: dict[str, str], proof: FakeProof) -> None:
        engine = create_engine("sqlite://")
        orm.Base.metadata.create_all(engine)
        self.db = Session(engine)
        for role in roles.get_default_roles():
            roles.create_role(self.db, role)
        self.users = Users()
        self.broker = proof.broker = FakeBroker(sessions=listed(*rows), recall=RECALLED)
        self.proof = proof
        self.adopted: list[tuple[str, str, Adoption]] = []
        self.ended: list[SimpleNamespace] = []
        resumer = SimpleNamespace(
            adopt=lambda user, name, what: self.adopted.append((user.name, name, what)),
            end=lambda _user, spawner: self.ended.append(spawner),
        )
        app = SimpleNamespace(db=self.db, users=self.users, spawner_class=SimpleNamespace(proof=proof), settings={})
        self.reconciler = Reconciler(app, resumer)

    def owns(self, key: str, user: str = "student01", **state) -> SimpleNamespace:
        row = orm.User.find(self.db, user)
        if row is None:
            row = orm.User(name=user)
            self.db.add(row)
            self.db.commit()
        usual = {"session_key": key, "active": True, "job_id": "99", "pending": None, "_log_name": user}
        self.users[row].spawners[""] = SimpleNamespace(**(usual | state))
        return self.users[row].spawners[""]

    def once(self) -> list[tuple[str, str]]:
        """Compare once; return what the broker was told to do with which session."""
        self.broker.said.clear()
        asyncio.run(self.reconciler.once())
        return [(one.verb, one.session_key) for one in self.broker.said if one.verb != "sessions"]


@pytest.fixture
def hub():
    hubs = []

    def make(*rows, job=UNKNOWN, marks=(), **by_number) -> Hub:
        proof = FakeProof(job, **by_number)
        proof.marks = list(marks)
        hubs.append(Hub(*rows, proof=proof))
        return hubs[-1]

    yield make
    for one in hubs:
        one.db.close()


# -- in the ordinary course


def test_sessions_that_the_hub_has_cost_nothing(hub):
    one = hub({"key": "ab12"})
    one.owns("ab12")
    assert one.once() == []
    assert one.proof.asked == []


@pytest.mark.parametrize("state", ["intended", "submitted", "closing"])
def test_a_session_that_a_server_owns_is_that_servers_business(hub, state):
    one = hub({"key": "ab12", "state": state, "job": ""})
    one.owns("ab12")
    assert one.once() == []


# -- sessions that no server owns


def test_a_running_session_that_the_database_forgot_is_taken_up(hub):
    one = hub({"key": "ab12", "server": "my one"}, job=RUNS)
    assert one.once() == [("recall", "ab12")]
    assert one.adopted == [("student01", "my one", Adoption("ab12", "17", "no-gpu", "its own token"))]


def test_a_forgotten_user_is_known_again(hub):
    one = hub({"user": "student02"}, job=WAITS)
    one.once()
    row = orm.User.find(one.db, "student02")
    assert [role.name for role in row.roles] == ["user"]


@pytest.mark.parametrize("kind", ["gone", "not_allowed"])
def test_a_session_without_its_secrets_is_ended(hub, kind):
    one = hub({"key": "ab12"}, job=RUNS)
    one.broker.answers["recall"] = BrokerRefused(kind, "The session's secrets are gone, or were changed.")
    assert one.once() == [("recall", "ab12"), ("cancel", "ab12")]
    assert one.adopted == []


@pytest.mark.parametrize("kind", ["busy", "failed", "unknown_session", "wrong_password"])
def test_a_session_of_which_nothing_is_known_is_taken_up_in_the_next_round(hub, kind):
    one = hub({"key": "ab12"}, job=RUNS)
    one.broker.answers["recall"] = BrokerRefused(kind, "The home folder can't be read at the moment.")
    assert one.once() == [("recall", "ab12")]
    one.broker.answers["recall"] = RECALLED
    assert one.once() == [("recall", "ab12")]
    assert [what.key for _, _, what in one.adopted] == ["ab12"]


def test_homes_that_say_nothing_do_not_hold_up_the_others(hub):
    one = hub(*({"key": key} for key in ("a1", "b2", "c3", "d4", "e5")), job=RUNS)
    one.broker.answers["recall"] = BrokerRefused("busy", "The home folder can't be read at the moment.")
    assert [key for _, key in one.once()] == ["a1", "b2", "c3"]
    assert [key for _, key in one.once()] == ["d4", "e5", "a1"]


@pytest.mark.parametrize("state", ["submitted", "closing"])
def test_a_session_whose_job_has_ended_is_closed(hub, state):
    one = hub({"key": "ab12", "state": state}, job=ENDED)
    assert one.once() == [("close", "ab12")]
    assert one.proof.forgotten == ["17"]


@pytest.mark.parametrize("job", [UNKNOWN, ENDING])
def test_without_proof_nothing_is_done(hub, job):
    one = hub({"key": "ab12"}, job=job)
    assert one.once() == []


def test_a_job_that_lives_on_after_its_session_is_ended_again_but_not_at_once(hub, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    one = hub({"key": "ab12", "state": "closing"}, job=RUNS)
    told = []
    for _ in range(13):
        told.append(one.once())
        now[0] += 15
    assert [bool(words) for words in told] == [i in (6, 12) for i in range(13)]
    assert told[6] == [("cancel", "ab12")]


def test_an_order_that_may_come_late_is_waited_for_by_the_broker(hub):
    one = hub({"key": "ab12", "state": "closing", "job": ""})
    assert one.once() == [("cancel", "ab12")]
    assert one.proof.asked == []


def test_a_start_that_only_the_ledger_remembers_is_ended(hub):
    one = hub({"key": "ab12", "state": "intended", "job": ""})
    one.broker.answers["look"] = looked("", "GONE", "")
    assert one.once() == [("look", "ab12"), ("cancel", "ab12")]


def test_few_orders_are_given_in_one_round(hub):
    rows = [{"key": f"k{i}", "state": "closing", "job": ""} for i in range(8)]
    one = hub(*rows)
    rounds = [one.once() for _ in range(4)]
    assert [len(told) for told in rounds] == [3, 3, 2, 0]
    assert {key for told in rounds for _, key in told} == {row["key"] for row in rows}


# -- two sessions of one server


def test_of_two_jobs_of_one_server_the_unowned_one_is_ended(hub):
    one = hub({"key": "cd34"}, {"key": "ab12", "job": "99"}, job=RUNS)
    one.owns("ab12")
    assert one.once() == [("cancel", "cd34")]
    assert one.adopted == []


@pytest.mark.parametrize(
    ("own", "state"),
    [(UNKNOWN, {}), (ENDED, {}), (RUNS, {"pending": "stop"}), (RUNS, {"job_id": ""})],
    ids=["unknown", "ended", "stopping", "no job yet"],
)
def test_a_second_job_stays_while_the_first_is_not_certainly_alive(hub, own, state):
    one = hub({"key": "cd34"}, {"key": "ab12", "job": "99"}, j17=RUNS, j99=own)
    one.owns("ab12", **state)
    assert one.once() == []
    assert one.adopted == []


def test_a_second_job_stays_while_the_first_is_not_in_the_ledger(hub):
    one = hub({"key": "cd34"}, {"key": "ab12", "state": "closing", "job": "99"}, job=RUNS)
    one.owns("ab12", pending="stop")
    one.owns("ab12")
    assert ("cancel", "cd34") not in one.once()


def test_a_user_who_presses_start_meanwhile_keeps_that_start(hub):
    one = hub({"key": "cd34"}, job=RUNS)

    async def recall():
        one.owns("ab12", job_id="")
        one.reconciler._users = {user.name: user for user in one.users.values()}
        return RECALLED

    one.broker.answers["recall"] = recall
    one.once()
    assert one.adopted == []


def test_of_two_forgotten_sessions_the_one_that_runs_is_taken_up(hub):
    one = hub({"key": "a1", "job": "16"}, {"key": "b2", "job": "17"}, j16=WAITS, j17=RUNS)
    one.once()
    assert [what.key for _, _, what in one.adopted] == ["b2"]


@pytest.mark.parametrize("rival", [{"state": "intended", "job": ""}, {"doubtful": True}], ids=["intended", "doubtful"])
def test_a_session_is_not_taken_up_before_another_of_its_server_is_known(hub, rival):
    one = hub({"key": "a1", **rival}, {"key": "b2", "job": "18"}, job=RUNS)
    one.once()
    assert one.adopted == []


def test_a_session_of_another_server_is_no_rival(hub):
    one = hub({"key": "a1", "state": "intended", "job": "", "server": "two"}, {"key": "b2", "job": "18"}, job=RUNS)
    one.broker.answers["look"] = looked()
    one.once()
    assert [what.key for _, _, what in one.adopted] == ["b2"]


# -- what the hub or the broker is not sure of


@pytest.mark.parametrize("owned", [True, False])
def test_a_session_in_doubt_is_looked_at_now_and_then(hub, monkeypatch, owned):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    one = hub({"key": "ab12", "doubtful": True})
    if owned:
        one.owns("ab12", job_id="17")
    told = []
    for _ in range(5):
        told.append(one.once())
        now[0] += 15
    assert told == [[("look", "ab12")], [], [("look", "ab12")], [], [("look", "ab12")]]


def test_a_start_whose_job_is_found_after_all_is_not_ended(hub):
    one = hub({"key": "ab12", "state": "intended", "job": ""})
    one.broker.answers["look"] = looked("17")
    assert one.once() == [("look", "ab12")]


def test_an_end_that_leaves_a_doubt_is_brought_to_its_end(hub):
    one = hub({"key": "ab12"}, job=ENDED)
    one.broker.answers["close"] = "waiting"
    assert one.once() == [("close", "ab12"), ("cancel", "ab12")]


def test_an_end_that_the_database_forgot_is_gone_on_with(hub):
    one = hub({"key": "ab12", "state": "closing"})
    spawner = one.owns("ab12")
    one.once()
    assert one.ended == [], "a start that failed just now ends itself"
    one.once()
    assert one.ended == [spawner]


def test_an_end_that_is_under_way_is_left_alone(hub):
    one = hub({"key": "ab12", "state": "closing"})
    one.owns("ab12", pending="stop")
    for _ in range(3):
        one.once()
    assert one.ended == []


# -- what must not stop the comparison


@pytest.mark.parametrize("verb", ["cancel", "close", "recall"])
def test_one_session_that_is_refused_does_not_hold_up_the_others(hub, verb):
    refused = BrokerRefused("wrong_password", "Wrong user name or password.")
    rows = {
        "cancel": ({"key": "a1", "state": "closing", "job": ""}, {"key": "b2", "state": "closing", "job": ""}),
        "close": ({"key": "a1", "job": "16"}, {"key": "b2"}),
        "recall": ({"key": "a1", "job": "15"}, {"key": "b2", "job": "15"}),
    }
    one = hub(*rows[verb], j16=ENDED, j17=ENDED, j15=RUNS)
    one.broker.answers[verb] = refused
    told = [key for asked, key in one.once() if asked == verb]
    assert told == ["a1", "b2"]


def test_a_server_name_that_jupyterhub_refuses_does_not_hold_up_the_others(hub):
    one = hub({"key": "a1", "server": "../x"}, {"key": "b2"}, job=RUNS)
    adopt = one.reconciler.resumer.adopt

    def refuse(user, name, adoption):
        if name:
            raise ValueError(f"Invalid server_name: {name}")
        adopt(user, name, adoption)

    one.reconciler.resumer.adopt = refuse
    one.once()
    assert [what.key for _, _, what in one.adopted] == ["b2"]


def test_a_silent_broker_is_asked_again_next_time(hub):
    one = hub({"key": "ab12"}, job=RUNS)
    one.broker.answers["sessions"] = BrokerUnreachable()
    with pytest.raises(BrokerUnreachable):
        one.once()
    one.broker.answers["sessions"] = listed({"key": "ab12"})
    one.once()
    assert len(one.adopted) == 1


def test_the_comparison_goes_on_whatever_happens(hub, monkeypatch):
    one = hub()
    trouble = iter([BrokerUnreachable(), BrokerRefused("busy", "Later."), ZeroDivisionError(), None])
    rounds, logged = [], []
    monkeypatch.setattr(module._log, "exception", logged.append)

    async def once():
        rounds.append(True)
        if (error := next(trouble)) is not None:
            raise error

    async def pause():
        if len(rounds) == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(one.reconciler, "once", once)
    monkeypatch.setattr(one.reconciler, "_pause", pause)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(one.reconciler.run())
    assert len(rounds) == 4
    assert logged == ["comparing with the ledger failed; the next round follows"]


# -- jobs that even the ledger has forgotten


def test_marked_jobs_that_the_ledger_lost_are_claimed_once(hub):
    marks = [Marked("23", "student01", HUB, "cd34"), Marked("24", "student01", "ffffffff", "ef56")]
    one = hub({"key": "ab12"}, marks=[*marks, Marked("17", "student01", HUB, "ab12")])
    assert one.once() == [("claim", "cd34")]
    assert one.once() == []


def test_what_the_ledger_lists_does_not_wait_for_a_queue_that_cannot_be_read(hub):
    one = hub({"key": "ab12"}, job=RUNS, marks=[Marked("23", "student01", HUB, "cd34")])
    told, there = one.proof.view.marked, []

    async def marked():
        if not there:
            raise SlurmSilent("squeue took more than 15 s")
        return await told()

    one.proof.view.marked = marked
    one.once()
    assert [adoption.key for _, _, adoption in one.adopted] == ["ab12"]
    there.append(True)
    assert ("claim", "cd34") in one.once()


def test_a_forged_mark_is_not_claimed_and_not_touched(hub):
    one = hub(marks=[Marked("23", "student01", HUB, "cd34"), Marked("24", "student02", HUB, "ef56")])
    one.broker.answers["claim"] = BrokerRefused("unknown_session", "Job 23 does not carry the mark of that session.")
    assert one.once() == [("claim", "cd34"), ("claim", "ef56")]
    assert one.once() == []


@pytest.mark.parametrize("kind", ["busy", "failed", "wrong_password"])
def test_a_claim_that_was_not_decided_is_made_again(hub, kind):
    one = hub(marks=[Marked("23", "student01", HUB, "cd34")])
    one.broker.answers["claim"] = BrokerRefused(kind, "Slurm, or a home, or the directory does not answer.")
    assert one.once() == [("claim", "cd34")]
    one.broker.answers["claim"] = ""
    assert one.once() == [("claim", "cd34")]
    assert one.once() == []


def test_a_job_that_is_alive_again_after_its_end_is_claimed_by_its_mark_at_once(hub, monkeypatch):
    one = hub(marks=[Marked("23", "student01", HUB, "cd34")])
    compare, rounds = one.reconciler.once, []
    monkeypatch.setattr(module, "_EVERY_SECONDS", 0.1)

    async def once():
        one.broker.said.clear()
        await compare()
        rounds.append([said.verb for said in one.broker.said if said.verb != "sessions"])
        if len(rounds) == 4:
            raise asyncio.CancelledError
        if len(rounds) != 2:
            one.proof.view.risen.set()

    monkeypatch.setattr(one.reconciler, "once", once)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(one.reconciler.run(), 5))
    assert rounds == [["claim"], ["claim"], [], ["claim"]]


@pytest.mark.parametrize(
    "mark",
    [
        Marked("23", "6001", HUB, "cd34"),
        Marked("23", "Student01", HUB, "cd34"),
        Marked("23", "student01", HUB, "-x"),
        Marked("23", "student01", HUB, "a" * 65),
        Marked("1" * 11, "student01", HUB, "cd34"),
    ],
)
def test_a_mark_that_no_broker_would_make_stops_nothing(hub, mark):
    one = hub({"key": "ab12"}, marks=[mark, Marked("24", "student01", HUB, "ef56")], job=ENDED)
    assert one.once() == [("claim", "ef56"), ("close", "ab12")]
