"""The hub's database: what `tune` and `Checkpointer` do to a real SQLite."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from davide_hub.configure import configure
from davide_hub.database import Checkpointer, checkpoint, keep, postgresql, require_driver, tune
from davide_hub.facts import Database, FactsError, load_site
from jupyterhub import orm
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm.exc import StaleDataError
from traitlets.config import Config

LOCAL = Path(__file__).resolve().parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
POSTGRESQL = Database(host="db01", name="davide_hub", user="hub", authority="/etc/davide-hub/db.crt")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.sqlite"


@pytest.fixture
def connection(path: Path):
    made = sqlite3.connect(path)
    tune(made, None)
    made.execute("create table kept (text)")
    made.commit()
    yield made
    made.close()


def write(connection: sqlite3.Connection, rows: int) -> None:
    connection.executemany("insert into kept values (?)", [("x" * 1000,)] * rows)
    connection.commit()


def rows_without_log(path: Path, copy: Path) -> int:
    """Count the rows that stand in the database itself."""
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as found:
        return int(found.execute("select count(*) from kept").fetchone()[0])


def test_a_commit_does_not_make_a_checkpoint(connection, path):
    checkpoint(path)
    size = path.stat().st_size
    # SQLite would make one by itself after 1,000 pages.
    write(connection, 8000)
    assert path.stat().st_size == size


def test_a_checkpoint_brings_what_was_committed_into_the_database(connection, path, tmp_path):
    write(connection, 10)
    checkpoint(path)
    assert rows_without_log(path, tmp_path / "copy") == 10


def test_a_checkpoint_keeps_no_writer_waiting(connection, path, tmp_path):
    write(connection, 10)
    connection.execute("insert into kept values ('not yet')")
    checkpoint(path)
    connection.commit()
    assert rows_without_log(path, tmp_path / "copy") == 10
    assert connection.execute("select count(*) from kept").fetchone() == (11,)


def test_what_was_committed_outlives_a_connection_that_breaks_off(connection, path, tmp_path):
    write(connection, 3)
    # As after kill -9: what is on the disk, and nobody who closes the connection.
    for end in ("", "-wal"):
        (tmp_path / f"left{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    with sqlite3.connect(tmp_path / "left") as found:
        assert found.execute("select count(*) from kept").fetchone() == (3,)


def test_a_checkpoint_that_fails_is_in_the_log_and_ends_nothing(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    asyncio.run(Checkpointer.make(tmp_path / "away" / "hub.sqlite"))
    assert "No checkpoint of" in caplog.text


def test_another_database_makes_its_own():
    asyncio.run(asyncio.wait_for(Checkpointer("postgresql://hub@host/hub").run(), timeout=5))


# -- where it is


def test_without_the_fact_it_is_a_file_of_the_hubs(tmp_path):
    made = Config()
    configure(made, load_site(LOCAL), state=tmp_path)
    assert made.JupyterHub.db_url == f"sqlite:///{tmp_path}/jupyterhub.sqlite"


def test_the_address_of_a_postgresql_says_all_that_libpq_needs_and_no_password():
    found = make_url(postgresql(POSTGRESQL, Path("/etc/davide-hub/database.pgpass")))
    assert (found.drivername, found.username, found.host, found.port) == ("postgresql+psycopg", "hub", "db01", 5432)
    assert (found.database, found.password) == ("davide_hub", None)
    assert found.query["passfile"] == "/etc/davide-hub/database.pgpass"
    assert (found.query["sslmode"], found.query["sslrootcert"]) == ("verify-full", "/etc/davide-hub/db.crt")
    assert found.query["options"] == "-cstatement_timeout=10s -clock_timeout=1s"


def test_alembics_file_takes_the_address_as_it_is():
    """It goes into a file in which a percent sign would begin a reference."""
    assert "%" not in postgresql(POSTGRESQL, Path("/etc/davide-hub/database.pgpass"))


def test_a_driver_that_is_not_there_is_a_sentence(monkeypatch, tmp_path):
    # What the import system takes for a module that can't be imported.
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FactsError, match=r"can't be loaded .*install the system's libpq5"):
        require_driver(tmp_path / "pgpass")


def test_a_password_that_is_not_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "psycopg", object())
    with pytest.raises(FactsError, match="write jupyterhub_database_password into a vault"):
        require_driver(tmp_path / "pgpass")


@pytest.mark.parametrize("facts", [{"host": "db01"}, {"host": "127.0.0.1"}, {"host": "db01", "authority": "/a.crt"}])
def test_a_database_elsewhere_needs_somebody_who_vouches_for_it(tmp_path, facts):
    site = yaml.safe_load(LOCAL.read_text())
    site["site"]["database"] = facts | {"name": "davide_hub", "user": "hub"}
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump(site))
    if facts == {"host": "db01"}:
        with pytest.raises(FactsError, match=r"site.database.*write authority"):
            load_site(path)
    else:
        assert load_site(path).database.host == facts["host"]


@pytest.fixture
def hub_database(path):
    factory = orm.new_session_factory(f"sqlite:///{path}")
    database = factory()
    database.add(orm.User(name="ann"))
    database.add(orm.Spawner(name="", user=database.query(orm.User).one(), state={"job_id": "1"}))
    database.commit()
    return database


def state_in(path: Path) -> object:
    with closing(sqlite3.connect(path)) as other:
        return json.loads(other.execute("select state from spawners").fetchone()[0])


def test_what_is_kept_is_in_the_database_and_in_the_object_with_all_that_had_changed(hub_database, path):
    row = hub_database.query(orm.Spawner).one()
    row.user.name = "bob"
    keep(hub_database, row, state={"job_id": "2"})
    assert state_in(path) == row.state == {"job_id": "2"}
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("select name from users").fetchone() == ("bob",)
    assert not hub_database.dirty


def test_what_a_locked_database_does_not_take_is_undone_and_told(hub_database, path):
    row = hub_database.query(orm.Spawner).one()
    hub_database.execute(text("pragma busy_timeout = 0"))
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin exclusive")
        with pytest.raises(OperationalError):
            keep(hub_database, row, state={"job_id": "2"})
        other.rollback()
    assert row.state == state_in(path) == {"job_id": "1"}
    keep(hub_database, row, state={"job_id": "3"})
    assert state_in(path) == {"job_id": "3"}


def test_a_row_that_is_gone_keeps_nothing(hub_database, path):
    row = hub_database.query(orm.Spawner).one()
    hub_database.commit()
    with closing(sqlite3.connect(path)) as other:
        other.execute("delete from spawners")
        other.commit()
    with pytest.raises(StaleDataError, match="Spawner 1 is not in the database"):
        keep(hub_database, row, state={"job_id": "2"})
