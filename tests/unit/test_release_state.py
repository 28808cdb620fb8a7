"""What a release consists of on a host: kept, and put back as it was."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ansible/library"))
import release_state as state


@pytest.fixture
def host(tmp_path):
    """Return a folder as a host has it, with an environment behind a link, a file and a folder of files."""
    (tmp_path / "envs/hub-1").mkdir(parents=True)
    (tmp_path / "envs/hub-2").mkdir()
    (tmp_path / "envs/hub").symlink_to("hub-1")
    (tmp_path / "site.yml").write_text("old")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/session").write_text("old")
    (tmp_path / "scripts/session").chmod(0o640)
    return tmp_path


def paths(host: Path) -> list[str]:
    return [str(host / name) for name in ("envs/hub", "site.yml", "scripts", "new.service")]


def upgrade(host: Path) -> None:
    (host / "envs/hub").unlink()
    (host / "envs/hub").symlink_to("hub-2")
    (host / "site.yml").write_text("new")
    (host / "scripts/session").write_text("new")
    (host / "scripts/training").write_text("new")
    (host / "new.service").write_text("new")


def test_all_is_put_back_as_it_was(host):
    state.keep(host / "kept", "one", paths(host), None)
    upgrade(host)
    changed = state.restore(host / "kept", "one")
    assert (host / "envs/hub").readlink() == Path("hub-1")
    assert (host / "site.yml").read_text() == (host / "scripts/session").read_text() == "old"
    assert (host / "scripts/session").stat().st_mode & 0o777 == 0o640
    assert not (host / "scripts/training").exists()
    assert not (host / "new.service").exists()
    assert len(changed) == 5


def test_what_is_as_it_was_stays_untouched(host):
    """A service restarts where its configuration is younger than its start."""
    state.keep(host / "kept", "one", paths(host), None)
    os.utime(host / "site.yml", (1, 1))
    assert state.restore(host / "kept", "one") == []
    assert (host / "site.yml").stat().st_mtime == 1


def test_what_is_kept_is_for_root_alone(host):
    state.keep(host / "kept", "one", paths(host), None)
    assert (host / "kept").stat().st_mode & 0o777 == 0o700


def test_a_release_that_was_left_half_installed_is_not_kept_over_the_good_one(host):
    state.keep(host / "kept", "one", paths(host), None)
    upgrade(host)
    assert state.look(host / "kept") == (["one"], "one")
    assert state.keep(host / "kept", "one", paths(host), None) == []
    state.restore(host / "kept", "one")
    assert (host / "site.yml").read_text() == "old"


def test_one_that_ended_well_is_closed_and_the_latest_comes_first(host):
    state.keep(host / "kept", "20260302T1", paths(host), None)
    state._close(host / "kept", {"name": "20260302T1"})
    state.keep(host / "kept", "20260303T1", paths(host), None)
    assert state.look(host / "kept") == (["20260303T1", "20260302T1"], "20260303T1")


def test_what_was_broken_off_while_it_was_kept_counts_for_nothing(host):
    (host / "kept/one/files").mkdir(parents=True)
    assert state.look(host / "kept") == ([], "")


def test_an_environment_that_is_gone_is_named(host):
    state.keep(host / "kept", "one", paths(host), None)
    upgrade(host)
    (host / "envs/hub-1").rmdir()
    with pytest.raises(state.Refused, match="hub led to hub-1, which is gone; deploy that release again"):
        state.check(host / "kept", "one")


def test_before_the_first_release_there_is_none(host):
    state.keep(host / "kept", "one", [str(host / "nothing")], None)
    with pytest.raises(state.Refused, match="there was no release on this host before this one"):
        state.check(host / "kept", "one")


def test_a_few_releases_are_kept_and_the_oldest_forgotten(host):
    for day in range(1, 9):
        state.keep(host / "kept", f"2026030{day}", paths(host), None)
    assert state.look(host / "kept")[0] == [f"2026030{day}" for day in (8, 7, 6, 5, 4)]


def database(path: Path, schema: str, user: str) -> Path:
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE alembic_version (version_num)")
        made.execute("INSERT INTO alembic_version VALUES (?)", (schema,))
        made.execute("CREATE TABLE users (name)")
        made.execute("INSERT INTO users VALUES (?)", (user,))
    return path


def test_the_copy_with_the_older_schema_takes_the_databases_place(host):
    hubs = database(host / "hub.sqlite", "old", "ann")
    state.keep(host / "kept", "one", [], str(hubs))
    (host / "kept/databases").mkdir()
    database(host / "kept/databases/hub.sqlite.old.20260302T1", "old", "older")
    database(host / "kept/databases/hub.sqlite.old.20260303T1", "old", "latest")
    hubs.unlink()
    database(hubs, "new", "ann").chmod(0o600)
    assert state.schema_of(str(hubs)) == "new"
    state.put_database(host / "kept", "one", hubs)
    assert state.schema_of(str(hubs)) == "old"
    assert sqlite3.connect(hubs).execute("SELECT name FROM users").fetchall() == [("latest",)]
    assert hubs.stat().st_mode & 0o777 == 0o600


def test_without_such_a_copy_the_database_stays(host):
    hubs = database(host / "hub.sqlite", "old", "ann")
    state.keep(host / "kept", "one", [], str(hubs))
    with pytest.raises(state.Refused, match=r"holds no hub\.sqlite with schema old"):
        state.put_database(host / "kept", "one", hubs)
    assert state.schema_of(str(hubs)) == "old"
