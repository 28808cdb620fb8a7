"""The hub's database: what `tune` and `Checkpointer` do to a real SQLite."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest
from davide_hub.database import Checkpointer, checkpoint, tune


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
