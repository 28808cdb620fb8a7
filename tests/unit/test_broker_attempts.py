"""Trying passwords: counted per account, never per address alone."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub.broker import verbs
from davide_hub.broker.accounts import Account, WrongPassword
from davide_hub.broker.attempts import FREE, Attempts
from davide_hub.broker.keep import Tickets
from davide_hub.broker.protocol import Login
from davide_hub.broker.verbs import SiteFile
from pydantic import SecretStr
from support.broker import verbs_over

SITE = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
CLASSROOM, ELSEWHERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture
def attempts():
    clock = SimpleNamespace(now=0.0)
    made = Attempts(lambda: clock.now)
    made.time = clock
    return made


@pytest.fixture
def broker(tmp_path, monkeypatch):
    """Return verbs for which "right" is everybody's password; `tried` counts how often PAM was asked."""

    def check(_account, password, _service):
        made.tried += 1
        if password != "right":
            raise WrongPassword

    monkeypatch.setattr(verbs, "find_account", lambda name: Account(name, 3001, 2000, Path("/home"), "/bin/bash"))
    monkeypatch.setattr(verbs, "check_password", check)
    monkeypatch.setattr(verbs, "check_membership", lambda *_: None)
    made = verbs_over(tmp_path, SiteFile(SITE), SimpleNamespace(tickets=Tickets(tmp_path / "tickets")))
    made.tried = 0
    return made


def log_in(broker, user="ann", password="right", address=CLASSROOM):  # noqa: S107
    reply = broker.answer(Login(user=user, password=SecretStr(password), address=address))
    return "ok" if reply.ok else reply.kind


def test_sixty_students_behind_one_address_log_in_at_once(broker):
    answers = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(log_in(broker, f"student{number:02}")))
        for number in range(60)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == ["ok"] * 60


def test_others_log_in_while_one_account_is_guessed_at_from_the_same_address(broker):
    for number in range(20):
        log_in(broker, "ann", f"guess {number}")
    assert log_in(broker, "bob") == "ok"


def test_after_some_wrong_passwords_not_even_pam_is_asked(broker):
    assert [log_in(broker, password="wrong") for _ in range(FREE + 2)] == ["wrong_password"] * FREE + ["too_many"] * 2
    assert broker.tried == FREE
    assert log_in(broker) == "too_many", "a right one is not told from a wrong one"


def test_guesses_at_the_same_instant_are_counted_one_by_one(broker):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(log_in(broker, password="wrong"))) for _ in range(3 * FREE)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers.count("wrong_password") == FREE
    assert broker._trying._locks == {}


def test_a_right_password_begins_the_count_anew(broker):
    for _ in range(3):
        assert [log_in(broker, password="wrong") for _ in range(FREE - 1)] == ["wrong_password"] * (FREE - 1)
        assert log_in(broker) == "ok"


def test_guessing_from_elsewhere_locks_nobody_out_of_the_place_where_they_work(broker):
    log_in(broker, address=CLASSROOM)
    for _ in range(FREE + 1):
        log_in(broker, password="wrong", address=ELSEWHERE)
    assert log_in(broker, address=ELSEWHERE) == "too_many"
    assert log_in(broker, address=CLASSROOM) == "ok"


def test_the_wait_grows_and_ends(attempts):
    waits = []
    for _ in range(FREE + 8):
        attempts.wrong("ann", "")
        waits.append(attempts.wait("ann", ""))
    assert waits[: FREE - 1] == [0] * (FREE - 1)
    assert waits[FREE - 1 : FREE + 3] == [2, 4, 8, 16]
    assert waits[-1] == 60
    attempts.time.now += 60
    assert attempts.wait("ann", "") == 0
    attempts.time.now += 15 * 60
    attempts.wrong("ann", "")
    assert attempts.wait("ann", "") == 0, "forgotten"


def test_made_up_names_do_not_fill_the_memory(attempts, monkeypatch):
    monkeypatch.setattr("davide_hub.broker.attempts._MOST", 100)
    for number in range(1000):
        attempts.wrong(f"name{number}", "")
        attempts.right(f"name{number}", CLASSROOM)
        attempts.wrong(f"name{number}", CLASSROOM)
    assert len(attempts._counts) == len(attempts._known) == 100
