"""Turning out: sessions end with the reason, tokens and cookies are void, and nobody else is touched."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from davide_hub.broker.client import BrokerUnreachable
from davide_hub.doorkeeper import Doorkeeper
from fake_broker import FakeBroker
from jupyterhub import orm, roles
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

SINCE = datetime(2026, 11, 24, 12, tzinfo=UTC)
EARLIER, LATER = (SINCE.replace(tzinfo=None) + timedelta(hours=hours) for hours in (-1, 1))


class Hub:
    """A hub with two users who have a session, a token and a cookie each."""

    def __init__(self) -> None:
        engine = create_engine("sqlite://")
        orm.Base.metadata.create_all(engine)
        self.db = Session(engine)
        for role in roles.get_default_roles():
            roles.create_role(self.db, role)
        self.db.add(orm.OAuthClient(identifier="jupyterhub"))  # whose tokens people make for themselves
        self.users, self.stopped, self.routes = {}, [], []
        self.broker = FakeBroker(done="")
        for name in ("ann", "bob"):
            row = orm.User(name=name)
            self.db.add(row)
            roles.assign_default_roles(self.db, entity=row)
            self.db.commit()
            row.new_api_token(note="own")
            self.users[row] = SimpleNamespace(
                name=name, orm_user=row, spawners={"": self.session(name)}, stop=self.stop
            )
        proxy = SimpleNamespace(delete_user=self.delete_user)
        self.doorkeeper = Doorkeeper(SimpleNamespace(db=self.db, users=self.users, proxy=proxy), self.broker)

    def session(self, name: str) -> SimpleNamespace:
        made = SimpleNamespace(
            name="", active=True, pending=None, stopping="", ended="", _log_name=name, _spawn_future=None,
            orm_spawner=SimpleNamespace(started=EARLIER),
        )  # fmt: skip
        made.end_as = lambda ending: setattr(made, "ended", ending.sentence)
        return made

    async def stop(self, name: str) -> None:
        self.stopped.append(name)

    async def delete_user(self, user: SimpleNamespace, _name: str) -> None:
        self.routes.append(user.name)

    def of(self, name: str) -> SimpleNamespace:
        return self.users[orm.User.find(self.db, name)]

    def tokens(self, name: str) -> int:
        return len(orm.User.find(self.db, name).api_tokens)

    def once(self, *refusals: dict[str, object]) -> None:
        usual = {"user": "ann", "kind": "banned", "sentence": "You are banned.", "since": SINCE.timestamp()}
        self.broker.answers["refusals"] = json.dumps([usual | one for one in refusals])

        async def look() -> None:
            await self.doorkeeper.once()
            await asyncio.gather(*self.doorkeeper._tasks)

        asyncio.run(look())


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.db.close()


@pytest.mark.parametrize("kind", ["banned", "refused", "revoked"])
def test_who_is_to_leave_leaves_with_the_reason_and_nobody_else(hub, kind):
    cookies = {name: hub.of(name).orm_user.cookie_id for name in ("ann", "bob")}
    for token in hub.of("ann").orm_user.api_tokens:
        token.created = EARLIER
    hub.once({"kind": kind})
    assert hub.routes == ["ann"]
    assert hub.of("ann").spawners[""].ended == "You are banned."
    assert hub.of("bob").spawners[""].ended == ""
    assert (hub.tokens("ann"), hub.tokens("bob")) == (0, 1)
    assert hub.of("ann").orm_user.cookie_id != cookies["ann"]
    assert hub.of("bob").orm_user.cookie_id == cookies["bob"]
    assert ("done" in hub.broker.verbs()) is (kind == "revoked")


def test_what_began_after_a_revocation_stays(hub):
    hub.of("ann").spawners[""].orm_spawner.started = LATER
    for token in hub.of("ann").orm_user.api_tokens:
        token.created = LATER
    hub.once({"kind": "revoked"})
    assert hub.routes == []
    assert hub.tokens("ann") == 1


def test_a_second_look_ends_nothing_twice(hub):
    hub.once({})
    cookie = hub.of("ann").orm_user.cookie_id
    hub.once({})
    assert hub.routes == ["ann"]
    assert hub.of("ann").orm_user.cookie_id == cookie


def test_a_start_under_way_is_cancelled(hub):
    async def scenario():
        start = asyncio.ensure_future(asyncio.sleep(60))
        hub.of("ann").spawners[""]._spawn_future = start
        hub.broker.answers["refusals"] = json.dumps(
            [{"user": "ann", "kind": "banned", "sentence": "You are banned.", "since": 1.0}]
        )
        await hub.doorkeeper.once()
        await asyncio.gather(*hub.doorkeeper._tasks)
        return start.cancelled()

    assert asyncio.run(scenario())
    assert hub.stopped == [""]


def test_a_session_that_ends_already_is_left_alone(hub):
    hub.of("ann").spawners[""].pending = "stop"
    hub.once({})
    assert hub.routes == []


def test_somebody_whom_the_hub_does_not_know_is_no_problem(hub):
    hub.once({"user": "stranger", "kind": "revoked"})
    assert hub.routes == []
    assert "done" in hub.broker.verbs()


def test_nobody_leaves_while_the_broker_is_silent(hub):
    hub.broker.answers["refusals"] = BrokerUnreachable()
    with pytest.raises(BrokerUnreachable):
        asyncio.run(hub.doorkeeper.once())
    assert (hub.routes, hub.tokens("ann")) == ([], 1)
