"""The hub's database from one schema to another and back, as the plays do it, with JupyterHub's own revisions."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

SCHEMA = Path(__file__).parents[2] / "ansible/roles/jupyterhub/files/schema.py"
# Of JupyterHub 5.5; the newest is whatever the tools' JupyterHub has.
OF_JUPYTERHUB_5 = "4621fec11365"
MADE = (
    "from jupyterhub import orm; s = orm.new_session_factory('sqlite:///{}')(); s.add(orm.User(name='ann')); s.commit()"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a database as the hub makes it."""
    path = tmp_path_factory.mktemp("made") / "hub.sqlite"
    subprocess.run([sys.executable, "-c", MADE.format(path)], check=True, capture_output=True)
    path.chmod(0o600)
    return path


@pytest.fixture
def change(made, tmp_path):
    """Return a function that runs the program on a copy of that database."""
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "systemctl").chmod(0o755)
    database = tmp_path / "hub.sqlite"
    database.write_bytes(made.read_bytes())
    database.chmod(0o600)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, SCHEMA, database, tmp_path / "kept", *words],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def ask(database: Path, question: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(question).fetchall()


def test_nothing_is_done_where_the_schema_is_right(change, tmp_path):
    done = change()
    assert (done.returncode, done.stdout) == (0, "")
    assert not (tmp_path / "asked").exists()


def test_what_was_written_with_the_newer_schema_survives_the_way_back_and_up_again(change, tmp_path):
    database = tmp_path / "hub.sqlite"
    newest = ask(database, "SELECT version_num FROM alembic_version")
    done = change(OF_JUPYTERHUB_5)
    assert done.returncode == 0, done.stderr
    assert f"is {OF_JUPYTERHUB_5}; as it was: {tmp_path}/kept/hub.sqlite." in done.stdout
    assert ask(database, "SELECT version_num FROM alembic_version") == [(OF_JUPYTERHUB_5,)]
    assert "display_name" not in [row[1] for row in ask(database, "PRAGMA table_info(spawners)")]
    assert ask(database, "SELECT name FROM users") == [("ann",)]
    assert (tmp_path / "asked").read_text() == "stop jupyterhub\n"
    assert database.stat().st_mode & 0o777 == 0o600

    assert change().returncode == 0
    assert ask(database, "SELECT version_num FROM alembic_version") == newest
    assert ask(database, "SELECT name FROM users") == [("ann",)]
    kept = sorted((tmp_path / "kept").iterdir())
    assert [ask(one, "SELECT version_num FROM alembic_version") for one in kept] == [[(OF_JUPYTERHUB_5,)], newest]


def test_a_database_of_a_newer_jupyterhub_is_refused_with_the_way_out(change, tmp_path):
    with closing(sqlite3.connect(tmp_path / "hub.sqlite")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of_tomorrow'")
    done = change()
    assert done.returncode == 1
    assert "its schema of_tomorrow is of a newer JupyterHub than this release's; ./davide rollback SITE" in done.stderr
    assert not (tmp_path / "asked").exists()
