"""The end of a session is written down in the end, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from davide_hub import users as module
from davide_hub.app import DavideHub
from davide_hub.users import SteadyUser, SteadyUsers
from jupyterhub.user import User
from sqlalchemy.exc import OperationalError, PendingRollbackError
from sqlalchemy.orm.exc import StaleDataError

LOCKED = OperationalError("DELETE", {}, Exception("database is locked"))


class Database:
    is_active = True
    undone = 0

    def rollback(self):
        self.undone += 1


class Known(SteadyUser):
    """A user with one session, without the rest of JupyterHub."""

    db = None

    def __init__(self):
        self.db = Database()
        self.spawners = {"": SimpleNamespace(_log_name="student01:")}


@pytest.fixture
def tried(monkeypatch):
    """Let JupyterHub's own `stop` do what is told, one after the other; return what it did."""
    done = []

    def begin(*outcomes):
        left = iter(outcomes)

        async def stop(user, name):
            outcome = next(left)
            done.append(outcome)
            if callable(outcome):
                outcome = outcome(user)
            if outcome is not None:
                raise outcome
            user.spawners.pop(name)

        monkeypatch.setattr(User, "stop", stop)
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0)
        return done

    return begin


def test_an_end_that_can_not_be_written_down_is_tried_again(tried):
    done = tried(LOCKED, PendingRollbackError("broken off"), None)
    user = Known()
    asyncio.run(user.stop(""))
    assert len(done) == 3
    assert user.spawners == {}
    assert user.db.undone == 2


def test_what_another_try_does_not_mend_is_told(tried):
    done = tried(StaleDataError("no such row"))
    with pytest.raises(StaleDataError):
        asyncio.run(Known().stop(""))
    assert len(done) == 1


def test_the_next_session_of_the_same_name_is_left_alone(tried):
    def another_begins(user):
        user.spawners[""] = SimpleNamespace(_log_name="student01:")
        return LOCKED

    done = tried(another_begins)
    asyncio.run(Known().stop(""))
    assert len(done) == 1


def test_the_hub_has_such_users():
    hub = DavideHub(tornado_settings={"made": "up"})
    assert isinstance(hub.users, SteadyUsers)
