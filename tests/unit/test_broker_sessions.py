"""A session has one job, whatever becomes of an order to Slurm; and once ended it has none, for good."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
from davide_hub.broker import owner, sessions
from davide_hub.broker.accounts import NO_DIRECTORY, Account, WrongPassword
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Entry, Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.owner import UserUnknown
from davide_hub.broker.protocol import Cancel, Claim, Close, Log, Look, Recall, Submit
from davide_hub.broker.sessions import Refused, SessionKeeper
from davide_hub.facts import load_site
from fake_slurm import FakeSlurm

ROOT = Path(__file__).resolve().parents[2]
SITE = load_site(ROOT / "ansible/inventory/local/group_vars/all/site.yml")
MARKER = Marker("0a1b2c3d", b"the broker's secret")
WHO = {"user": "student01", "session_key": "ab12"}
ENVIRONMENT = {"JUPYTERHUB_API_TOKEN": "top-secret", "JUPYTERHUB_SERVER_NAME": "my one"}
SUBMIT = Submit(**WHO, server="my one", profile="one-gpu", environment=ENVIRONMENT)
CANCEL, CLOSE, LOOK, RECALL, LOG = Cancel(**WHO), Close(**WHO), Look(**WHO), Recall(**WHO), Log(**WHO)


def account(name: str) -> Account:
    return Account(name, 6000 + int(name[-2:]), 6000, Path("/home", name), "/bin/bash")


@pytest.fixture
def slurm(monkeypatch):
    return FakeSlurm(monkeypatch)


@pytest.fixture
def keeper(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "find_account", account)
    monkeypatch.setattr(sessions, "check_membership", lambda _account, _group: None)
    tickets = Tickets(tmp_path / "tickets")
    for user in ("student01", "student02"):
        tickets.give(user, account(user).uid)
    return SessionKeeper(lambda: SITE, ROOT / "spawner_templates", tickets, Ledger(tmp_path / "ledger"), MARKER)


def refusal(verb, request) -> Refused:
    with pytest.raises(Refused) as refused:
        verb(request)
    return refused.value


def told(answer: str) -> dict[str, object]:
    return json.loads(answer)


# -- starting once


def test_one_key_is_one_job_however_often_it_is_asked(keeper, slurm):
    assert [keeper.submit(SUBMIT) for _ in range(3)] == ["17"] * 3
    assert slurm.ordered == ["submit"]


def test_the_ledger_knows_a_session_before_slurm_does(keeper, slurm, monkeypatch):
    seen = []
    monkeypatch.setattr(sessions.owner, "submit", lambda *_: seen.append(keeper.ledger.find("ab12")) or "17")
    keeper.submit(SUBMIT)
    assert (seen[0].state, seen[0].uid, seen[0].server) == ("intended", 6001, "my one")
    assert keeper.ledger.find("ab12").state == "submitted"


def test_the_ledger_keeps_no_token(keeper):
    keeper.submit(SUBMIT)
    entry = keeper.ledger.find("ab12")
    assert entry.token_digest == hashlib.sha256(b"top-secret").hexdigest()
    assert "top-secret" not in repr(entry)


def test_a_job_whose_number_got_lost_is_found_by_its_mark(keeper, slurm):
    slurm.loses_reply = True
    assert refusal(keeper.submit, SUBMIT).kind == "busy"
    assert keeper.submit(SUBMIT) == "17"
    assert slurm.ordered == ["submit", "jobs"]


def test_a_job_that_never_was_is_submitted_again(keeper, slurm):
    slurm.silent = {"submit"}
    refusal(keeper.submit, SUBMIT)
    slurm.silent, slurm.late = set(), []
    assert keeper.submit(SUBMIT) == "18"
    assert slurm.alive() == ["18"]


def test_while_slurm_is_silent_nothing_is_submitted_a_second_time(keeper, slurm):
    slurm.loses_reply, slurm.silent = True, {"jobs"}
    assert [refusal(keeper.submit, SUBMIT).kind for _ in range(3)] == ["busy"] * 3
    assert slurm.ordered == ["submit", "jobs", "jobs"]


def test_a_restarted_broker_goes_on_where_the_last_one_ended(keeper, slurm, tmp_path):
    slurm.loses_reply = True
    refusal(keeper.submit, SUBMIT)
    keeper.ledger = Ledger(tmp_path / "ledger")
    assert keeper.submit(SUBMIT) == "17"


def test_a_refused_session_is_over_and_its_secrets_are_gone(keeper, slurm):
    slurm.folders["ab12"] = ENVIRONMENT
    slurm.refuses = "Slurm refused the session: Invalid account"
    refused = refusal(keeper.submit, SUBMIT)
    assert (refused.kind, refused.sentence) == ("slurm", "Slurm refused the session: Invalid account")
    assert slurm.folders == {}
    assert refusal(keeper.submit, SUBMIT).kind == "ended"


def test_the_keys_of_others_start_nothing(keeper, slurm):
    keeper.submit(SUBMIT)
    assert refusal(keeper.submit, SUBMIT.model_copy(update={"user": "student02"})).kind == "unknown_session"


def test_a_name_that_was_given_to_somebody_else_reaches_no_session(keeper, monkeypatch):
    keeper.submit(SUBMIT)
    monkeypatch.setattr(sessions, "find_account", lambda name: Account(name, 7007, 6000, Path("/home/x"), "/bin/sh"))
    assert refusal(keeper.cancel, CANCEL).kind == "unknown_session"


def silent_directory(_name):
    raise WrongPassword


def test_while_the_directory_is_silent_a_start_waits(keeper, slurm, monkeypatch):
    monkeypatch.setattr(sessions, "find_account", silent_directory)
    refused = refusal(keeper.submit, SUBMIT)
    assert (refused.kind, refused.sentence) == ("busy", NO_DIRECTORY)
    assert slurm.ordered == []


def test_an_account_that_never_logged_in_is_not_waited_for(keeper, monkeypatch):
    monkeypatch.setattr(sessions, "find_account", silent_directory)
    with pytest.raises(WrongPassword):
        keeper.submit(SUBMIT.model_copy(update={"user": "student03"}))


# -- ending for good


def test_cancelling_ends_the_job_and_a_second_time_finds_it_gone(keeper, slurm):
    keeper.submit(SUBMIT)
    assert [keeper.cancel(CANCEL) for _ in range(3)] == ["asked", "gone", "gone"]
    assert (slurm.alive(), slurm.folders) == ([], {})
    assert keeper.ledger.find("ab12").state == "closed"
    assert refusal(keeper.submit, SUBMIT).kind == "ended"


def test_a_session_is_ended_while_the_directory_is_silent(keeper, slurm, monkeypatch):
    keeper.submit(SUBMIT)
    monkeypatch.setattr(sessions, "find_account", silent_directory)
    assert keeper.cancel(CANCEL) == "asked"
    assert slurm.alive() == []


def test_a_removed_user_has_the_session_ended_by_its_number(keeper, slurm, monkeypatch):
    keeper.submit(SUBMIT)
    everything = owner.jobs

    def unknown(_account):
        raise UserUnknown("Invalid user")

    def one_job(account, number):
        return [job for job in everything(account) if job.number == number]

    monkeypatch.setattr(owner, "jobs", unknown)
    monkeypatch.setattr(owner, "one_job", one_job)
    assert [keeper.cancel(CANCEL) for _ in range(2)] == ["asked", "gone"]
    assert slurm.alive() == []


def test_a_session_without_a_number_waits_until_the_directory_knows_the_user_again(keeper, monkeypatch):
    def unknown(_account):
        raise UserUnknown("Invalid user")

    monkeypatch.setattr(owner, "jobs", unknown)
    keeper.ledger.intend(Entry("ab12", "student01", 6001, 6000, "/home", "", "one-gpu", "intended"))
    assert refusal(keeper.cancel, CANCEL).kind == "busy"


def test_a_session_is_ended_although_the_ledger_cannot_be_written(keeper, slurm, monkeypatch, caplog):
    keeper.submit(SUBMIT)

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("davide_hub.broker.ledger.write", disk_full)
    assert keeper.cancel(CANCEL) == "asked"
    assert slurm.alive() == []
    assert "No space left on device" in caplog.text


def test_without_a_ledger_nothing_is_submitted(keeper, slurm, monkeypatch):
    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("davide_hub.broker.ledger.write", disk_full)
    with pytest.raises(OSError, match="No space left"):
        keeper.submit(SUBMIT)
    assert slurm.ordered == []


def test_nothing_is_ended_for_who_never_logged_in(keeper, slurm):
    stranger = CANCEL.model_copy(update={"user": "student03"})
    refused = refusal(keeper.cancel, stranger)
    assert (refused.kind, refused.sentence) == ("no_ticket", "student03 has no session ab12, and no valid log-in.")
    assert keeper.ledger.find("ab12") is None
    assert slurm.ordered == []


def test_of_an_ended_session_nothing_is_told_without_a_log_in(keeper, slurm):
    keeper.submit(SUBMIT)
    keeper.tickets.drop("student01")
    assert told(keeper.look(LOOK))["number"] == "17", "a session that runs is looked after, whoever is logged in"
    assert keeper.log(LOG) == "log of ab12"
    assert [keeper.cancel(CANCEL) for _ in range(2)] == ["asked", "gone"]
    asked = len(slurm.ordered)
    assert [refusal(verb, request).kind for verb, request in ((keeper.look, LOOK), (keeper.log, LOG))] == ["ended"] * 2
    assert len(slurm.ordered) == asked
    keeper.tickets.give("student01", 6001)
    assert keeper.log(LOG) == "log of ab12"


def test_a_session_that_was_cancelled_before_it_was_asked_for_never_starts(keeper, slurm):
    assert keeper.cancel(CANCEL) == "gone"
    assert refusal(keeper.submit, SUBMIT).kind == "ended"
    assert slurm.alive() == []


def test_a_session_that_was_never_asked_for_is_unknown(keeper):
    refused = refusal(keeper.recall, RECALL)
    assert (refused.kind, refused.sentence) == ("unknown_session", "student01 has no session ab12.")


def test_cancelling_finds_a_job_whose_number_got_lost(keeper, slurm):
    slurm.loses_reply = True
    refusal(keeper.submit, SUBMIT)
    assert keeper.cancel(CANCEL) == "asked"
    assert slurm.alive() == []


def test_a_job_that_comes_after_its_session_ended_finds_no_secrets_and_is_cancelled(keeper, slurm):
    slurm.silent = {"submit"}
    refusal(keeper.submit, SUBMIT)
    slurm.silent = set()
    assert keeper.cancel(CANCEL) == "waiting", "the order may still lie with a controller"
    slurm.late_orders_arrive()
    assert slurm.folders == {}
    assert keeper.cancel(CANCEL) == "asked"
    assert slurm.alive() == []


def test_an_order_that_has_not_come_for_a_minute_does_not_come(keeper, slurm):
    slurm.silent = {"submit"}
    refusal(keeper.submit, SUBMIT)
    keeper.clock = lambda: time.time() + sessions._LATE_SECONDS + 1
    assert keeper.cancel(CANCEL) == "gone"


def test_a_silent_slurm_leaves_a_session_closing(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.silent = {"cancel"}
    assert refusal(keeper.cancel, CANCEL).kind == "busy"
    assert (slurm.folders, keeper.ledger.find("ab12").state) == ({}, "closing")
    slurm.silent = set()
    assert [keeper.cancel(CANCEL) for _ in range(2)] == ["asked", "gone"]


def test_a_session_that_the_hub_saw_end_is_closed_without_asking_slurm(keeper, slurm):
    keeper.submit(SUBMIT)
    assert keeper.close(CLOSE) == "gone"
    assert keeper.ledger.find("ab12").state == "closed"
    assert (slurm.ordered, slurm.folders) == (["submit"], {})


def test_a_session_without_a_number_is_not_let_go_so_easily(keeper, slurm):
    slurm.loses_reply = True
    refusal(keeper.submit, SUBMIT)
    keeper.close(CLOSE)
    assert keeper.ledger.find("ab12").state == "closing"
    assert keeper.cancel(CANCEL) == "asked"


# -- whose job it is


def test_of_two_jobs_of_one_session_the_running_one_stays(keeper, slurm):
    slurm.silent = {"submit"}
    refusal(keeper.submit, SUBMIT)
    slurm.silent = set()
    assert keeper.submit(SUBMIT) == "18"
    slurm.late_orders_arrive()
    slurm.becomes("17", state="PENDING")
    assert told(keeper.look(LOOK))["number"] == "18"
    assert slurm.alive() == ["18"]


def test_the_number_of_a_job_that_was_found_is_noted(keeper, slurm):
    slurm.loses_reply = True
    refusal(keeper.submit, SUBMIT)
    keeper.look(LOOK)
    assert (keeper.ledger.find("ab12").state, keeper.ledger.find("ab12").job) == ("submitted", "17")


def test_looking_at_an_ended_session_does_not_open_it_again(keeper, slurm):
    slurm.loses_reply = True
    refusal(keeper.submit, SUBMIT)
    keeper.cancel(CANCEL)
    keeper.look(LOOK)
    assert keeper.ledger.find("ab12").state == "closing"


@pytest.fixture
def twice(keeper, slurm):
    """Have a session ordered twice: job 18 is known, and the order for 17 has not come yet."""
    slurm.silent = {"submit"}
    refusal(keeper.submit, SUBMIT)
    slurm.silent = set()
    assert keeper.submit(SUBMIT) == "18"
    return keeper


def later(keeper: SessionKeeper, seconds: float) -> None:
    keeper.clock = lambda: time.time() + seconds


def test_a_session_that_was_ordered_twice_is_in_doubt_for_a_minute(twice, slurm):
    assert told(twice.open())["sessions"][0]["doubtful"]
    twice.look(LOOK)
    assert told(twice.open())["sessions"][0]["doubtful"], "the first order may come yet"
    later(twice, sessions._LATE_SECONDS + 1)
    twice.look(LOOK)
    assert not told(twice.open())["sessions"][0]["doubtful"]


def test_the_end_of_one_job_is_not_the_end_of_a_session_in_doubt(twice, slurm):
    slurm.becomes("18", state="FAILED")
    assert twice.close(CLOSE) == "waiting"
    assert twice.cancel(CANCEL) == "waiting"
    slurm.late_orders_arrive()
    assert twice.cancel(CANCEL) == "asked"
    assert slurm.alive() == []
    later(twice, sessions._LATE_SECONDS + 1)
    assert twice.cancel(CANCEL) == "gone"


def test_the_job_that_runs_is_the_sessions_whatever_number_was_known(twice, slurm):
    slurm.late_orders_arrive()
    slurm.becomes("18", state="PENDING")
    assert told(twice.look(LOOK))["number"] == "17"
    assert twice.ledger.find("ab12").job == "17"
    assert slurm.alive() == ["17"]


def test_cancelling_ends_all_jobs_of_a_session(keeper, slurm):
    slurm.silent = {"submit"}
    refusal(keeper.submit, SUBMIT)
    slurm.silent = set()
    keeper.submit(SUBMIT)
    slurm.late_orders_arrive()
    keeper.cancel(CANCEL)
    assert slurm.alive() == []


def test_a_job_whose_owner_erased_the_mark_is_still_known_by_its_number(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.becomes("17", comment="")
    assert told(keeper.look(LOOK))["state"] == "RUNNING"
    assert keeper.cancel(CANCEL) == "asked"


@pytest.mark.parametrize(
    "change",
    [
        {"comment": MARKER.mark("cd34", 6001)},
        {"comment": "", "submitted": "2031-01-01T00:00:00"},
        {"comment": "", "submitted": "N/A"},
    ],
)
def test_a_number_that_is_used_again_is_another_job(keeper, slurm, change):
    keeper.submit(SUBMIT)
    slurm.becomes("17", **change)
    assert told(keeper.look(LOOK))["state"] == "GONE"
    assert keeper.cancel(CANCEL) == "gone"
    assert slurm.alive() == ["17"], "a stranger's job is never touched"


def test_a_number_that_another_user_has_now_is_not_ours(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.becomes("17", uid=6002, comment="")
    assert told(keeper.look(LOOK))["state"] == "GONE"
    keeper.cancel(CANCEL)
    assert slurm.alive() == ["17"]


@pytest.mark.parametrize("mark", [MARKER.mark("ab12", 6002), Marker("0a1b2c3d", b"a guess").mark("ab12", 6001)])
def test_a_forged_mark_makes_no_job_of_ours(keeper, slurm, mark):
    slurm.loses_reply = True
    refusal(keeper.submit, SUBMIT)
    slurm.becomes("17", comment=mark)
    assert told(keeper.look(LOOK)) == {
        "number": "",
        "state": "GONE",
        "node": "",
        "reason": "",
        "uid": 6001,
        "cancelled_by": None,
    }


def test_how_a_job_ended_is_told_by_accounting_when_the_queue_has_forgotten(keeper, slurm):
    keeper.submit(SUBMIT)
    job = slurm.queue.pop("17")
    slurm.records["17"] = sessions.OwnersJob("17", "CANCELLED", job.node, "", job.uid, cancelled_by=0)
    assert (told(keeper.look(LOOK))["state"], told(keeper.look(LOOK))["cancelled_by"]) == ("CANCELLED", 0)


def test_accounting_that_believes_a_vanished_job_alive_proves_nothing(keeper, slurm):
    keeper.submit(SUBMIT)
    job = slurm.queue.pop("17")
    slurm.records["17"] = sessions.OwnersJob("17", "RUNNING", job.node, "", job.uid)
    assert refusal(keeper.look, LOOK).kind == "busy"


# -- taking up


def test_the_open_sessions_are_listed_with_the_hubs_name(keeper, slurm):
    keeper.submit(SUBMIT)
    keeper.submit(SUBMIT.model_copy(update={"session_key": "cd34"}))
    keeper.cancel(CANCEL)
    keeper.cancel(CANCEL)
    row = {"key": "cd34", "user": "student01", "server": "my one", "state": "submitted", "job": "18"}
    row["doubtful"] = False
    assert told(keeper.open()) == {"hub": "0a1b2c3d", "sessions": [row]}


def test_what_a_session_was_started_with_comes_back(keeper):
    keeper.submit(SUBMIT)
    assert told(keeper.recall(RECALL)) == {"token": "top-secret", "profile": "one-gpu", "port": 0}


def test_a_changed_token_is_not_taken_up(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.folders["ab12"] = {"JUPYTERHUB_API_TOKEN": "somebody else's"}
    assert refusal(keeper.recall, RECALL).kind == "not_allowed"


BROKEN = [
    "",
    "{}",
    "[]",
    "null\nnull",
    '{"JUPYTERHUB_API_TOKEN": 7}',
    '{"JUPYTERHUB_API_TOKEN": "top-secret"}\n[1]',
    "{",
]


@pytest.mark.parametrize(
    "text", [*BROKEN, '{"JUPYTERHUB_API_TOKEN": "\\ud800"}', 100_000 * "["], ids=range(len(BROKEN) + 2)
)
def test_secrets_that_are_broken_were_changed(keeper, monkeypatch, text):
    keeper.submit(SUBMIT)
    monkeypatch.setattr(sessions.owner, "recall", lambda *_: text)
    assert refusal(keeper.recall, RECALL).kind == "not_allowed"


def test_secrets_that_are_gone_are_told(keeper, slurm):
    keeper.submit(SUBMIT)
    del slurm.folders["ab12"]
    assert refusal(keeper.recall, RECALL).kind == "gone"


def test_a_home_that_says_nothing_only_delays_a_recall(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.silent.add("recall")
    assert refusal(keeper.recall, RECALL).kind == "busy"
    slurm.silent.clear()
    assert told(keeper.recall(RECALL))["token"] == "top-secret"


@pytest.mark.parametrize("port", [-1, 65536, True, "40123"])
def test_a_port_that_is_none_spoils_what_the_user_kept(port):
    text = json.dumps({"JUPYTERHUB_API_TOKEN": "t"}) + "\n" + json.dumps({"port": port})
    assert sessions._kept(text) == sessions._Kept()


def test_the_log_is_the_owners(keeper):
    keeper.submit(SUBMIT)
    assert keeper.log(LOG) == "log of ab12"


def test_a_marked_job_that_the_ledger_lost_is_taken_up_again(keeper, tmp_path):
    keeper.submit(SUBMIT)
    keeper.ledger = Ledger(tmp_path / "a new host")
    assert keeper.claim(Claim(**WHO, job="17")) == "my one"
    entry = keeper.ledger.find("ab12")
    assert (entry.state, entry.job, entry.profile, entry.uid) == ("submitted", "17", "one-gpu", 6001)
    assert told(keeper.recall(RECALL))["token"] == "top-secret"


def test_a_home_that_says_nothing_only_delays_a_claim(keeper, slurm, tmp_path):
    keeper.submit(SUBMIT)
    keeper.ledger = Ledger(tmp_path / "a new host")
    slurm.silent.add("recall")
    assert refusal(keeper.claim, Claim(**WHO, job="17")).kind == "busy"
    assert keeper.ledger.find("ab12") is None
    slurm.silent.clear()
    assert keeper.claim(Claim(**WHO, job="17")) == "my one"
    assert told(keeper.recall(RECALL))["token"] == "top-secret"


def test_a_marked_job_without_secrets_is_claimed_so_that_it_can_be_ended(keeper, slurm, tmp_path):
    keeper.submit(SUBMIT)
    keeper.ledger = Ledger(tmp_path / "a new host")
    del slurm.folders["ab12"]
    keeper.claim(Claim(**WHO, job="17"))
    assert refusal(keeper.recall, RECALL).kind == "gone"
    slurm.folders["ab12"] = {"JUPYTERHUB_API_TOKEN": ""}
    assert refusal(keeper.recall, RECALL).kind == "not_allowed"


@pytest.mark.parametrize(
    "mark",
    ["", MARKER.mark("cd34", 6001), MARKER.mark("ab12", 6002), Marker("ffffffff", MARKER.key).mark("ab12", 6001)],
)
def test_a_job_without_our_mark_is_never_claimed(keeper, slurm, tmp_path, mark):
    keeper.submit(SUBMIT)
    slurm.becomes("17", comment=mark)
    keeper.ledger = Ledger(tmp_path / "a new host")
    assert refusal(keeper.claim, Claim(**WHO, job="17")).kind == "unknown_session"
    assert keeper.ledger.find("ab12") is None


def test_claiming_a_session_that_was_ended_does_not_bring_it_back(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.becomes("17", state="FAILED")
    keeper.close(CLOSE)
    keeper.claim(Claim(**WHO, job="17"))
    assert keeper.ledger.find("ab12").state == "closed"


def test_a_job_that_slurm_forgot_to_have_ended_is_ended_when_it_is_claimed(keeper, slurm):
    keeper.submit(SUBMIT)
    slurm.becomes("17", state="FAILED")
    keeper.close(CLOSE)
    slurm.becomes("17", state="RUNNING")
    keeper.claim(Claim(**WHO, job="17"))
    assert (slurm.alive(), keeper.ledger.find("ab12").state) == ([], "closing")
    assert keeper.cancel(CANCEL) == "gone"
