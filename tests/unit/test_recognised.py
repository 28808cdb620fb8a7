"""Who shows a log-in cookie is known without the database, for as long as the cookie is good and no longer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from davide_hub import recognised
from davide_hub.recognised import Recognised
from jupyterhub.user import User


class Stock:
    """A handler that asks the database, as JupyterHub's does, and counts how often."""

    cookie_max_age_days = 1

    def __init__(self, hub, cookie):
        self.hub, self.cookie = hub, cookie
        self.application, self.users, self.db = hub.application, hub.users, hub.db

    def get_secure_cookie(self, _name, _value, max_age_days):
        assert max_age_days == 1
        # One that is forged or too old says nothing.
        return self.cookie.removeprefix("signed ").encode() if self.cookie.startswith("signed ") else None

    def _user_for_cookie(self, _name, _value=None):
        self.hub.asked += 1
        said = self.get_secure_cookie(_name, _value, 1)
        return next((one for one in self.hub.rows if said and one.cookie_id == said.decode()), None)

    def find_user(self, name):
        self.hub.asked += 1
        return f"{name} of the database"

    def _record_activity(self, user):
        user.active += 1
        return True


class Handler(Recognised, Stock):
    """The same, with ours before it."""


@pytest.fixture
def hub():
    rows = [SimpleNamespace(id=number, cookie_id=f"c{number}", active=0) for number in (1, 2)]
    hub = SimpleNamespace(rows=rows, users={one.id: one for one in rows}, asked=0, commits=0)
    hub.application = SimpleNamespace(seen_cookies={})
    hub.db = SimpleNamespace(commit=lambda: setattr(hub, "commits", hub.commits + 1))
    return hub


def who(hub, cookie):
    found = Handler(hub, cookie)._user_for_cookie("jupyterhub-hub-login")
    return found.id if found else None


def test_the_database_is_asked_once_for_a_cookie_and_activity_is_noted_each_time(hub):
    assert [who(hub, "signed c1") for _ in range(5)] == [1] * 5
    assert (hub.asked, hub.rows[0].active, hub.commits) == (1, 4, 4)
    assert who(hub, "signed c2") == 2


@pytest.mark.parametrize("cookie", ["c1", "signed c9", "signed ", ""])
def test_a_cookie_that_is_none_lets_nobody_in(hub, cookie):
    assert who(hub, "signed c1") == 1
    assert [who(hub, cookie), who(hub, cookie)] == [None, None]


def test_a_cookie_of_before_the_log_out_lets_nobody_in(hub):
    assert who(hub, "signed c1") == 1
    hub.rows[0].cookie_id = "new"
    assert who(hub, "signed c1") is None
    assert who(hub, "signed new") == 1


def test_a_user_who_was_deleted_is_not_known_any_more(hub):
    assert who(hub, "signed c1") == 1
    hub.rows.remove(hub.users.pop(1))
    assert who(hub, "signed c1") is None


def test_what_is_kept_is_bounded(hub, monkeypatch):
    monkeypatch.setattr(recognised, "_MOST", 1)
    assert [who(hub, f"signed c{number}") for number in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert len(hub.application.seen_cookies) == 1


@pytest.mark.parametrize(
    ("asks", "held", "found"),
    [
        ("ann", True, "ann at hand"),
        ("ann", False, "ann of the database"),  # deleted a moment ago
        ("bob", True, "ann of the database"),
        (None, True, "ann of the database"),
    ],
)
def test_who_asks_about_themselves_is_not_looked_up(hub, asks, held, found):
    handler = Handler(hub, "")
    user = User.__new__(User)
    user.orm_user = SimpleNamespace(id=3, name=asks)
    hub.users.update({3: user} if held else {})
    # A service has a name, too, and is nobody's user.
    handler._jupyterhub_user = user if asks else SimpleNamespace(id=3, name="ann")
    got = handler.find_user("ann")
    assert (f"{got.name} at hand" if got is user else got) == found
    assert hub.asked == (0 if got is user else 1)
