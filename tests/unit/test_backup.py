"""Backup and restore on a pretended host: whole or refused, consistent while others write, and nothing is lost."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import jupyterhub
import pytest
import yaml
from alembic.script import ScriptDirectory
from cryptography.hazmat.primitives.serialization import Encoding
from davide_hub.backup import archive, restore
from davide_hub.backup.gather import gather
from davide_hub.backup.places import places
from davide_hub.certificates import make_authority, prepare, sign
from davide_hub.cli import main
from davide_hub.facts import Database, load_site
from davide_hub.operate import OrderFailed

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
SITE = load_site(FACTS)
SCHEMA = ScriptDirectory(str(Path(jupyterhub.__file__).parent / "alembic")).get_heads()[0]


class Host:
    """A host's folders, as hub and broker leave them."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, places(SITE, root)
        for name in ("hub", "broker", "audit", "tls", "templates"):
            self.where[name].mkdir(mode=0o700, parents=True)
        self.write("site.yml", FACTS.read_text())
        self.database = self.where["hub"] / "jupyterhub.sqlite"
        with closing(sqlite3.connect(self.database)) as made, made:
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("CREATE TABLE alembic_version (version_num TEXT)")
            made.execute("INSERT INTO alembic_version VALUES (?)", (SCHEMA,))
            made.execute("CREATE TABLE first (n INTEGER)")
            made.execute("CREATE TABLE second (n INTEGER)")
        self.write("hub/jupyterhub_cookie_secret", "cookie", 0o600)
        self.write("broker/mark.json", json.dumps({"hub": root.name, "key": "00"}), 0o600)
        (self.where["broker"] / "ledger").mkdir(mode=0o700)
        prepare(self.where["tls"], "127.0.0.1")

    def path(self, name: str) -> Path:
        """Return where a member of a backup lies."""
        place, _, rest = name.partition("/")
        return self.where[place] / rest

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file by its name in a backup."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def rows(self) -> list[int]:
        """Return how much is in the database's tables."""
        with closing(sqlite3.connect(self.database)) as opened:
            counted = "SELECT (SELECT count(*) FROM first), (SELECT count(*) FROM second)"
            return list(opened.execute(counted).fetchone())

    def run(self, verb: str, file: Path) -> int:
        """Give an order."""
        return main([verb, str(file), "--root", str(self.root), "--site", str(self.where["site.yml"])])

    def all(self) -> dict[str, bytes]:
        """Return every file, to see that nothing was changed."""
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path):
    made = Host(tmp_path / "old")
    made.write("proxy.env", "CONFIGPROXY_AUTH_TOKEN=old\n", 0o600)
    made.write("drain.json", '{"until": "noon"}')
    made.write("templates/login.html", "ours")
    made.write("audit/audit-2026-11-29.jsonl", '{"verb": "login"}\n', 0o640)
    made.write("broker/ledger/k1", json.dumps({"user": "student01", "state": "submitted"}), 0o600)
    made.write("broker/ledger/.k2.draft", "half")
    made.write("broker/bans/student09", "{}", 0o600)
    os.utime(made.path("broker/ledger/k1"), (1000, 1000))
    return made


@pytest.fixture
def new(tmp_path):
    return Host(tmp_path / "new")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "backup.tar.gz"


def test_a_lost_host_is_as_it_was_on_a_new_one(old, new, file, capsys):
    with closing(sqlite3.connect(old.database)) as running, running:
        running.execute("INSERT INTO first VALUES (1)")
        running.commit()
        assert old.run("backup", file) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new.write("jupyterhub_config.d/site.py", "stays")
    assert new.run("restore", file) == 0
    for name in (
        "hub/jupyterhub_cookie_secret",
        "broker/mark.json",
        "broker/ledger/k1",
        "broker/bans/student09",
        "proxy.env",
        "drain.json",
        "templates/login.html",
        "audit/audit-2026-11-29.jsonl",
        "tls/sessions.key",
        "tls/hub.crt",
    ):
        assert new.path(name).read_bytes() == old.path(name).read_bytes(), name
        assert new.path(name).stat().st_mode == old.path(name).stat().st_mode, name
    assert new.path("broker/ledger/k1").stat().st_mtime == 1000  # by which the broker forgets what is old
    assert not new.path("broker/ledger/.k2.draft").exists()
    assert new.rows() == [1, 0]
    assert new.path("jupyterhub_config.d/site.py").read_text() == "stays"
    assert stat.S_IMODE(new.where["hub"].stat().st_mode) == 0o700
    assert list(new.where["tls"].parent.glob("tls.before-*"))
    assert "put back" in capsys.readouterr().out
    # And once more: a restore that was broken off is begun again.
    assert new.run("restore", file) == 0
    assert new.path("audit/audit-2026-11-29.jsonl").read_text() == '{"verb": "login"}\n'


def test_the_copy_of_the_database_is_whole_while_the_hub_writes(old, new, file):
    enough, written = threading.Event(), threading.Event()

    def write():
        with closing(sqlite3.connect(old.database, timeout=30)) as opened:
            while not enough.is_set():
                # Both or none, as a session is in several tables.
                with opened:
                    opened.execute("INSERT INTO first VALUES (1)")
                    opened.execute("INSERT INTO second VALUES (1)")
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(10)
        seen = []
        for _ in range(3):
            _, members = gather(SITE, old.root)
            new.database.unlink()
            new.database.write_bytes(members["hub/jupyterhub.sqlite"].content)
            seen.append(new.rows())
    finally:
        enough.set()
        writer.join()
    assert all(first == second > 0 for first, second in seen), seen


def test_a_database_that_is_damaged_is_told_and_makes_no_backup(old, file, capsys):
    old.database.write_bytes(b"SQLite format 3\0" + bytes(5000))
    for more in ("-wal", "-shm"):
        old.database.with_name(f"jupyterhub.sqlite{more}").unlink(missing_ok=True)
    assert old.run("backup", file) == 1
    assert "no copy of the database was made" in capsys.readouterr().err
    assert not file.exists()


def test_a_link_in_the_hubs_folder_leads_root_nowhere(old, file, tmp_path, capsys):
    (tmp_path / "shadow").write_text("root's own")
    old.path("hub/jupyterhub_cookie_secret").unlink()
    old.path("hub/jupyterhub_cookie_secret").symlink_to(tmp_path / "shadow")
    assert old.run("backup", file) == 1
    assert "jupyterhub_cookie_secret" in capsys.readouterr().err


def test_a_torn_file_is_refused_and_nothing_is_changed(old, new, file, capsys):
    assert old.run("backup", file) == 0
    whole, before = file.read_bytes(), new.all()
    for share in range(10):
        file.write_bytes(whole[: len(whole) * share // 10])
        assert new.run("restore", file) == 1
        assert "backup" in capsys.readouterr().err.splitlines()[0]
    file.write_bytes(whole[:-1])
    assert new.run("restore", file) == 1
    assert new.all() == before


def test_a_changed_byte_is_noticed(old, file):
    assert old.run("backup", file) == 0
    whole = file.read_bytes()
    about, members = archive.read(file)
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found = archive.read(file)
        except OrderFailed:
            continue
        assert found == (about, members), "a change passed"  # in gzip's header there are bytes that mean nothing


@pytest.mark.parametrize("change", ["content", "missing", "more", "elsewhere"])
def test_members_are_those_that_were_written(old, file, monkeypatch, change):
    about, members = gather(SITE, old.root)
    kept = members["proxy.env"]
    told = {name: one.digest for name, one in members.items()}
    match change:
        case "content":
            members["proxy.env"] = archive.Kept(b"other", kept.mode, kept.owner, kept.group, kept.modified)
        case "missing":
            del members["proxy.env"]
        case "more":
            members["tls/more"] = kept
        case "elsewhere":
            members["tls/../../../more"] = kept
            told["tls/../../../more"] = kept.digest
    manifest = {"format": 1, "about": vars(about), "members": told}
    monkeypatch.setattr(archive.json, "dumps", lambda *_, real=json.dumps, **__: real(manifest))
    packed = archive._packed(about, members)
    monkeypatch.undo()
    file.write_bytes(packed)
    with pytest.raises(OrderFailed, match="is damaged"):
        archive.read(file)


def test_other_files_and_other_formats_are_no_backups(old, file):
    file.write_text("hello")
    with pytest.raises(OrderFailed, match="torn, or no backup"):
        archive.read(file)
    with pytest.raises(OrderFailed, match="No such file"):
        archive.read(file.with_name("nothing"))


def test_a_backup_of_elsewhere_is_refused(old, new, file, capsys):
    assert old.run("backup", file) == 0
    facts = yaml.safe_load(FACTS.read_text())
    facts["site"]["public_url"] = "https://other.example.org"
    new.write("site.yml", yaml.safe_dump(facts))
    assert new.run("restore", file) == 1
    assert "this is the backup of https://davide.localhost:8000" in capsys.readouterr().err


def test_another_release_of_jupyterhub_is_refused_with_what_to_do(old, new):
    about, members = gather(SITE, old.root)
    with pytest.raises(OrderFailed, match=r"install that release, restore, then upgrade"):
        restore.check(SITE, archive.About(**vars(about) | {"schema": "an older one"}), members, new.root)


def test_a_host_without_our_accounts_or_folders_is_told_to_be_provisioned(old, new):
    about, members = gather(SITE, old.root)
    kept = members["proxy.env"]
    strange = members | {"proxy.env": archive.Kept(b"", kept.mode, "no-such-account", kept.group, 0)}
    with pytest.raises(OrderFailed, match=r"no account no-such-account.*run the plays"):
        restore.check(SITE, about, strange, new.root)
    new.where["hub"].rename(new.root / "away")
    with pytest.raises(OrderFailed, match=r"run the plays on this host first"):
        restore.check(SITE, about, members, new.root)


def test_sessions_that_nobody_would_know_afterwards_are_named(old, new):
    about, members = gather(SITE, old.root)
    new.write("broker/ledger/k7", json.dumps({"user": "student07", "state": "submitted"}))
    new.write("broker/ledger/k8", json.dumps({"user": "student08", "state": "closed"}))
    with pytest.raises(OrderFailed, match=r"davide-hub revoke student07; then again"):
        restore.check(SITE, about, members, new.root)
    # With the same mark they are taken up by it.
    new.write("broker/mark.json", old.path("broker/mark.json").read_text())
    restore.check(SITE, about, members, new.root)


def test_a_host_on_which_hub_or_broker_never_ran_has_no_backup(old, file, capsys):
    old.path("broker/mark.json").unlink()
    assert old.run("backup", file) == 1
    assert "broker/mark.json: not there" in capsys.readouterr().err


def test_a_restore_that_is_broken_off_goes_on(old, new, monkeypatch):
    _, members = gather(SITE, old.root)
    real, calls = restore._exchange, []

    def breaks(target, tree, stamp):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(target, tree, stamp)

    monkeypatch.setattr(restore, "_exchange", breaks)
    with pytest.raises(KeyboardInterrupt):
        restore.put_back(SITE, members, new.root)
    monkeypatch.undo()
    restore.put_back(SITE, members, new.root)
    for name in ("broker/ledger/k1", "tls/gate.key", "proxy.env"):
        assert new.path(name).read_bytes() == old.path(name).read_bytes()


def test_no_line_of_the_trail_is_lost(old, new):
    new.write("audit/audit-2026-11-29.jsonl", '{"verb": "ban"}\n')
    _, members = gather(SITE, old.root)
    restore.put_back(SITE, members, new.root)
    assert new.path("audit/audit-2026-11-29.jsonl").read_text() == '{"verb": "login"}\n{"verb": "ban"}\n'


def test_facts_of_the_plays_stay_and_a_difference_is_told(old, new):
    _, members = gather(SITE, old.root)
    new.write("site.yml", f"# newer\n{FACTS.read_text()}")
    told = restore.put_back(SITE, members, new.root)
    assert new.path("site.yml").read_text().startswith("# newer")
    assert any("site.yml stays" in sentence for sentence in told)


def certified(host: Host, days: int, trial: bool) -> bytes:
    authority = make_authority("test")
    pair = sign(authority, "test", [], timedelta(days=days))
    host.write("certificate", pair.certificate.public_bytes(Encoding.PEM).decode())
    host.write("certificate-key", pair.key_text, 0o640)
    if trial:
        host.write("trial-authority", authority.certificate_text)
        host.write("trial-authority-key", authority.key_text, 0o600)
    return pair.certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("kept_days", "days", "trial", "stays"),
    [(10, 20, False, True), (20, 10, False, False), (10, 20, True, False)],
    ids=["renewed since", "older", "of a trial"],
)
def test_a_certificate_that_was_renewed_since_stays(old, new, kept_days, days, trial, stays):
    was, here = certified(old, kept_days, trial), certified(new, days, trial)
    _, members = gather(SITE, old.root)
    told = restore.put_back(SITE, members, new.root)
    assert new.path("certificate").read_bytes() == (here if stays else was)
    assert new.path("certificate-key").read_bytes() == (new if stays else old).path("certificate-key").read_bytes()
    assert any("valid for longer" in sentence for sentence in told) is stays


def test_a_postgresql_is_left_to_its_own_host(old):
    old.database.unlink()
    with pytest.raises(OrderFailed, match=r"jupyterhub\.sqlite: not there"):
        gather(SITE, old.root)
    elsewhere = Database(host="db01", name="hub", user="hub", authority="/etc/ssl/db.crt")
    about, members = gather(SITE.model_copy(update={"database": elsewhere}), old.root)
    assert (about.schema, "hub/jupyterhub_cookie_secret" in members) == ("", True)
    assert "hub/jupyterhub.sqlite" not in members
