"""The hub's application: what it spares itself for each line of the log and each transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from davide_hub.app import DavideHub
from davide_hub.database import tune
from jupyterhub import orm
from sqlalchemy import event, text
from sqlalchemy.engine import Engine


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DavideHub]:
    monkeypatch.setattr(orm, "register_ping_connection", orm.register_ping_connection)
    made = DavideHub(db_url=f"sqlite:///{tmp_path}/hub.sqlite")
    yield made
    if event.contains(Engine, "connect", tune):
        event.remove(Engine, "connect", tune)


@pytest.mark.parametrize(("level", "made"), [("INFO", False), ("DEBUG", True)])
def test_lines_below_the_level_of_the_log_are_not_even_made(hub, level, made):
    hub.log_level = level
    hub.init_logging()
    assert hub.log.isEnabledFor(logging.DEBUG) is made
    assert logging.getLogger("jupyterhub.davide").isEnabledFor(logging.DEBUG) is made


def test_a_transaction_begins_without_a_question_whether_the_database_is_there(hub):
    hub.init_db()
    asked: list[str] = []
    event.listen(hub.db.get_bind(), "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert hub.db.execute(text("SELECT 2")).scalar() == 2
    assert asked == ["SELECT 2"]
