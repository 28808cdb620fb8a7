"""Minimum versions: the table, and what is held against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from davide_hub import versions
from davide_hub.cli import main
from davide_hub.versions import Minimum, VersionsError, installed, locked, minimums, too_old

TOP = Path(__file__).parents[2]
LOCAL = TOP / "ansible/inventory/local/group_vars/all/site.yml"
LOCKS = sorted([*(TOP / "hub/locks").glob("*.lock"), TOP / "hub/locks/proxy/package-lock.json"])
ROW = Minimum("jupyterhub", "5.5.1", "sharing", "https://example.org/advisory")


@pytest.mark.parametrize("row", minimums(), ids=lambda row: row.package)
def test_every_minimum_has_a_reason_and_a_source(row):
    assert row.why
    assert row.source.startswith("https://")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_what_our_locks_install_is_new_enough(lock):
    assert list(too_old(locked(lock), lock.name)) == []


def test_the_table_speaks_of_what_we_install():
    ours = {name for lock in LOCKS for name in locked(lock)}
    assert {"jupyterhub", "jupyter-server", "configurable-http-proxy", "tornado"} <= ours & {
        row.package for row in minimums()
    }


@pytest.mark.parametrize("version", ["5.5.0", "4.1.6", "5.5.1rc1", "nobody-knows"])
def test_an_old_version_is_told_with_its_fix(version):
    (sentence,) = too_old({"jupyterhub": version}, "the hub", [ROW])
    assert sentence.startswith(f"the hub: jupyterhub {version} is older than 5.5.1")
    assert "install 5.5.1 or newer, see https://example.org/advisory" in sentence


@pytest.mark.parametrize("found", [{"jupyterhub": "5.5.1"}, {"jupyterhub": "6.1.1"}, {"jupyterhub": "5.10"}, {}])
def test_a_new_version_and_an_absent_package_are_good(found):
    assert list(too_old(found, "the hub", [ROW])) == []


def test_names_are_compared_as_pypi_writes_them(tmp_path):
    lock = tmp_path / "old.lock"
    lock.write_text("# made up\nJupyter_Server==2.17.0 \\\n    --hash=sha256:00\ntornado==6.6 ; python_version > '3'\n")
    assert locked(lock) == {"jupyter-server": "2.17.0", "tornado": "6.6"}


def test_a_python_and_a_node_environment_are_read(tmp_path):
    package = tmp_path / "lib/python3.11/site-packages/jupyterhub-5.0.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: JupyterHub\nVersion: 5.0.0\n")
    proxy = tmp_path / "node_modules/configurable-http-proxy"
    proxy.mkdir(parents=True)
    (proxy / "package.json").write_text(json.dumps({"name": "configurable-http-proxy", "version": "4.6.2"}))
    assert installed(tmp_path) == {"jupyterhub": "5.0.0", "configurable-http-proxy": "4.6.2"}
    assert len(list(too_old(installed(tmp_path), "there"))) == 2


def test_what_is_no_environment_and_no_lock_is_said(tmp_path):
    with pytest.raises(VersionsError, match="holds no environment; give a folder"):
        installed(tmp_path)
    with pytest.raises(VersionsError, match="can't be read"):
        locked(tmp_path / "missing")
    (tmp_path / "empty").write_text("")
    with pytest.raises(VersionsError, match="pins nothing"):
        locked(tmp_path / "empty")


def test_check_refuses_an_old_lock(tmp_path, capsys):
    lock = tmp_path / "old.lock"
    lock.write_text("jupyterhub==5.0.0\n")
    assert main(["check", str(LOCAL), "--lock", str(lock)]) == 1
    assert f"{lock}: jupyterhub 5.0.0 is older than" in capsys.readouterr().err
    assert main(["check", "--json", str(LOCAL), "--lock", str(lock)]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1


def test_check_refuses_to_run_in_an_old_environment(monkeypatch, capsys):
    monkeypatch.setattr(versions, "_of", lambda _distributions: {"jupyterhub": "5.0.0"})
    assert main(["check", str(LOCAL)]) == 1
    assert "this environment: jupyterhub 5.0.0 is older than" in capsys.readouterr().err
