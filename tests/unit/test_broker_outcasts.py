"""Bans, revocations, and accounts that the cluster refuses by now."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pamela
import pytest
from davide_hub.broker import directory, standing, verbs
from davide_hub.broker.accounts import Account
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Entry, Ledger
from davide_hub.broker.outcasts import Outcasts
from davide_hub.broker.protocol import Ban, Done, Login, Refusals, Revoke, Submit, Ticket, Unban
from davide_hub.broker.sessions import Refused
from davide_hub.broker.standing import UNKNOWN, Standing
from davide_hub.broker.verbs import SiteFile
from davide_hub.broker.watch import HUBS_SECONDS
from pydantic import SecretStr
from support.broker import verbs_over

HUB = Path(__file__).parents[2] / "hub"
SITE = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
ANN = Account("ann", 3001, 2000, Path("/home/ann"), "/bin/bash")
SUBMIT = Submit(user="ann", server="", profile="one-gpu", session_key="k1", environment={})
LOGIN = Login(user="ann", password=SecretStr("right"), address="192.0.2.7")
GOOD, LOCKED = Standing("good"), Standing("refused", "Your account ann is locked.")
GONE = Standing("refused", "There is no account.", absent=True)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keeper(tmp_path, clock):
    """Return sessions that only note what is cancelled."""
    ended = []

    def cancel(request):
        ended.append(request.session_key)
        return "asked"

    return SimpleNamespace(
        tickets=Tickets(tmp_path / "tickets", clock),
        ledger=Ledger(tmp_path / "ledger", clock),
        cancel=cancel,
        submit=lambda _request: "17",
        ended=ended,
    )


@pytest.fixture
def broker(tmp_path, keeper, clock, monkeypatch):
    """Return verbs with one user, ann, whose password is always right."""
    monkeypatch.setattr(verbs, "find_account", lambda _name: ANN)
    monkeypatch.setattr(verbs, "check_password", lambda *_: None)
    monkeypatch.setattr(verbs, "check_membership", lambda *_: None)
    made = verbs_over(tmp_path, SiteFile(SITE), keeper)
    made.outcasts._clock = made.watch.clock = made.audit.clock = clock
    assert made.answer(LOGIN).ok
    return made


def session(keeper, key="k1", user="ann"):
    keeper.ledger.intend(Entry(key, user, 3001, 2000, "/home", "", "one-gpu", "intended"))


def told(broker):
    return [(one["user"], one["kind"]) for one in json.loads(broker.answer(Refusals()).value)]


# -- root's orders


@pytest.mark.parametrize("order", [Ban(user="ann"), Unban(user="ann"), Revoke(user="ann")])
def test_only_root_gives_these_orders(broker, order):
    assert broker.answer(order, 990).kind == "not_allowed"
    assert broker.answer(SUBMIT).ok
    assert told(broker) == []


def test_a_banned_user_gets_nothing_and_is_told_why(broker):
    assert broker.answer(Ban(user="ann", reason="mining"), 0).ok
    for request in (Ticket(user="ann"), SUBMIT, LOGIN):
        refusal = broker.answer(request)
        assert refusal.kind == "not_allowed"
        assert "closed this service to ann (mining)" in refusal.sentence
    assert told(broker) == [("ann", "banned")]


def test_a_ban_is_told_only_to_who_knows_the_password(broker, monkeypatch):
    def wrong(*_):
        raise verbs.WrongPassword

    broker.answer(Ban(user="ann"), 0)
    monkeypatch.setattr(verbs, "check_password", wrong)
    assert broker.answer(LOGIN).kind == "wrong_password"


def test_a_ban_lasts_until_it_is_lifted_also_over_a_restart(broker, tmp_path):
    broker.answer(Ban(user="ann"), 0)
    assert Outcasts(tmp_path).ban_of("ann") is not None
    assert broker.answer(Unban(user="ann"), 0).ok
    assert broker.answer(LOGIN).ok
    assert broker.answer(SUBMIT).ok
    assert broker.answer(Unban(user="ann"), 0).kind == "unknown_user"


def test_after_a_revocation_the_password_is_asked_for_again(broker):
    broker.answer(Revoke(user="ann"), 0)
    assert broker.answer(Ticket(user="ann")).value == "no"
    (one,) = json.loads(broker.answer(Refusals()).value)
    assert one["kind"] == "revoked"
    assert broker.answer(LOGIN).ok
    assert broker.answer(Ticket(user="ann")).value == "yes"
    broker.answer(Done(user="ann", since=one["since"] - 1))
    assert told(broker) == [("ann", "revoked")], "what was done is not this one"
    broker.answer(Done(user="ann", since=one["since"]))
    assert told(broker) == []


def test_what_the_hub_leaves_open_the_broker_ends(broker, keeper, clock):
    session(keeper)
    session(keeper, "other", user="bob")
    clock.now += 10
    broker.answer(Ban(user="ann"), 0)
    broker.watch.once()
    assert keeper.ended == [], "the hub has its time first"
    clock.now += HUBS_SECONDS + 1
    broker.watch.once()
    assert keeper.ended == ["k1"]


def test_a_revocation_ends_nothing_that_began_later(broker, keeper, clock):
    session(keeper, "before")
    clock.now += 10
    broker.answer(Revoke(user="ann"), 0)
    clock.now += 1
    session(keeper, "after")
    clock.now += HUBS_SECONDS + 1
    broker.watch.once()
    assert keeper.ended == ["before"]


def test_one_session_that_cannot_be_ended_does_not_hold_up_the_others(broker, keeper, clock, monkeypatch):
    def cancel(request):
        keeper.ended.append(request.session_key)
        raise Refused("busy", "Slurm does not answer.")

    keeper.cancel = cancel
    session(keeper, "one")
    session(keeper, "two")
    broker.answer(Ban(user="ann"), 0)
    clock.now += HUBS_SECONDS + 1
    broker.watch.once()
    assert keeper.ended == ["one", "two"]


# -- the watch over accounts


def watch_over(broker, *rounds):
    answers = iter(rounds)
    broker.watch.look = lambda users: {user: next(answers)[user] for user in users}
    for _ in rounds:
        broker.watch.once()
    return broker.watch


def test_an_account_that_is_refused_twice_is_turned_out(broker):
    watch_over(broker, {"ann": LOCKED})
    assert broker.answer(SUBMIT).ok, "one answer may be that of a directory that restarts"
    watch_over(broker, {"ann": LOCKED})
    assert told(broker) == [("ann", "refused")]
    assert broker.answer(SUBMIT).sentence == "Your account ann is locked."
    assert not broker.tickets.holds("ann", None)


@pytest.mark.parametrize("rounds", [[UNKNOWN] * 5, [LOCKED, UNKNOWN, LOCKED], [LOCKED, GOOD, LOCKED]])
def test_a_silent_directory_ends_nothing(broker, rounds):
    watch_over(broker, *({"ann": one} for one in rounds))
    assert told(broker) == []
    assert broker.answer(Ticket(user="ann")).value == "yes"


def test_an_account_that_is_good_again_may_log_in(broker, keeper):
    session(keeper)
    watch_over(broker, {"ann": LOCKED}, {"ann": LOCKED}, {"ann": GOOD})
    assert told(broker) == []
    assert broker.answer(LOGIN).ok


def test_a_directory_that_loses_everybody_is_broken(broker, keeper):
    users = ["ann", "bob", "cleo", "dan", "eve"]
    for user in users:
        broker.tickets.give(user, 3001)

    def look(asked):
        return dict.fromkeys(asked, GONE)

    broker.watch.look = look
    broker.watch.once()
    broker.watch.once()
    assert told(broker) == []
    broker.watch.look = lambda asked: {user: GONE if user == "eve" else GOOD for user in asked}
    broker.watch.once()
    broker.watch.once()
    assert told(broker) == [("eve", "refused")]


def test_a_whole_course_that_leaves_the_group_is_believed(broker):
    users = ["ann", "bob", "cleo", "dan", "eve"]
    for user in users:
        broker.tickets.give(user, 3001)
    broker.watch.look = lambda asked: {user: Standing("refused", "not in the group") for user in asked}
    broker.watch.once()
    broker.watch.once()
    assert len(told(broker)) == 5


# -- what the directory and PAM say


@pytest.fixture
def accounts(monkeypatch):
    """Return what the directory says, to be changed: an exception is raised."""
    says = {"user": 2000, "group": 2000, "list": [2000], "membership": 0, "closed": "", "pam": None}

    def of(name):
        def say(*_arguments, **_more):
            if isinstance(says[name], Exception):
                raise says[name]
            return says[name]

        return say

    monkeypatch.setattr(directory, "gid_of_user", of("user"))
    monkeypatch.setattr(directory, "gid_of_group", of("group"))
    monkeypatch.setattr(directory, "closed", of("closed"))
    monkeypatch.setattr(directory.os, "getgrouplist", of("list"))
    monkeypatch.setattr(directory, "_services", lambda *_: ["made_up"])
    monkeypatch.setattr(directory, "_membership_status", of("membership"))
    monkeypatch.setattr(standing.pamela, "check_account", of("pam"))
    return says


def pam_error(number):
    error = pamela.PAMError("no")
    error.errno = number
    return error


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "good", ""),
        ({"user": None}, "refused", "There is no account ann any more."),
        ({"list": [100]}, "refused", "not in the group davide"),
        ({"list": [100], "membership": 1}, "refused", "not in the group davide"),
        ({"list": [100], "membership": -1}, "unknown", ""),
        ({"list": [100], "membership": -2}, "unknown", ""),
        ({"list": [100], "membership": OSError()}, "unknown", ""),
        ({"membership": -1}, "good", ""),
        ({"closed": "locked"}, "refused", "is locked"),
        ({"closed": "expired"}, "refused", "has expired"),
        ({"pam": pam_error(7)}, "unknown", ""),
        ({"pam": pam_error(13)}, "refused", "has expired"),
        ({"pam": pam_error(6)}, "refused", "may not log in here"),
        ({"pam": pam_error(12)}, "good", ""),
        ({"pam": pam_error(27)}, "good", ""),
        ({"pam": pam_error(4)}, "unknown", ""),
        ({"pam": pam_error(9)}, "unknown", ""),
        ({"user": directory.Silent()}, "unknown", ""),
        ({"group": directory.Silent()}, "unknown", ""),
        ({"group": None, "user": None}, "unknown", ""),
        ({"closed": directory.Silent()}, "unknown", ""),
        ({"list": OSError()}, "unknown", ""),
    ],
)
def test_refused_is_said_only_where_something_says_no(accounts, change, verdict, words):
    accounts.update(change)
    found = standing.look("ann", "davide", "davide-hub")
    assert found.verdict == verdict
    assert words in found.sentence


def test_a_directory_that_falls_silent_in_between_removes_nobody_from_a_group(accounts, monkeypatch):
    answers = iter([2000, None])
    monkeypatch.setattr(directory, "gid_of_user", lambda _name: next(answers))
    accounts["list"] = [100]
    assert standing.look("ann", "davide", "davide-hub") == UNKNOWN


def test_a_list_made_while_the_directory_was_away_is_made_once_more(accounts, monkeypatch):
    lists = iter([[100], [100, 2000]])
    monkeypatch.setattr(directory.os, "getgrouplist", lambda *_: next(lists))
    assert standing.look("ann", "davide", "davide-hub") == GOOD


def test_a_directory_that_does_not_tell_memberships_turns_nobody_out(broker, accounts):
    broker.tickets.give("ann", 3001)
    broker.watch.look = lambda users: {user: standing.look(user, "davide", "davide-hub") for user in users}
    accounts.update({"list": [100], "membership": -1})
    broker.watch.once()
    broker.watch.once()
    assert told(broker) == []
    assert broker.answer(Ticket(user="ann")).value == "yes"


def test_the_look_is_a_child_that_answers_for_everybody():
    # As on the hub's host, where the package is installed.
    run = f"import sys; sys.path.insert(0, {str(HUB)!r}); from davide_hub.broker.standing import main; main()"
    told = standing.ask(["root", "nobody-of-that-name"], "root", "login", (sys.executable, "-I", "-c", run))
    assert told["nobody-of-that-name"].absent
    assert told["root"].verdict != "refused"


@pytest.mark.parametrize("program", [("sleep", "60"), ("false",), ("echo", "[]"), ("echo", '{"ann": {"x": 1}}')])
def test_a_look_that_hangs_or_fails_says_unknown(program, monkeypatch):
    monkeypatch.setattr(standing, "_SECONDS", 0.3)
    assert standing.ask(["ann"], "davide", "davide-hub", program) == {"ann": UNKNOWN}
