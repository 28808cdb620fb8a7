"""Operating under attack: root's orders through a real socket, secrets made anew, and the audit trail."""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub.broker import audit as trail
from davide_hub.broker import server, verbs
from davide_hub.broker.accounts import Account
from davide_hub.broker.audit import Audit
from davide_hub.broker.far import serving
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Entry, Ledger
from davide_hub.broker.protocol import Login, Submit, Ticket
from davide_hub.broker.verbs import SiteFile
from davide_hub.certificates import prepare, prepare_broker
from davide_hub.cli import main
from pydantic import SecretStr
from support.broker import verbs_over

SITE = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
ANN = Account("ann", 3001, 2000, Path("/home/ann"), "/bin/bash")


@pytest.fixture
def broker(tmp_path, monkeypatch):
    """Yield a broker's verbs behind a socket at which everybody is root."""
    for name, value in (("find_account", lambda _name: ANN), ("check_password", None), ("check_membership", None)):
        monkeypatch.setattr(verbs, name, value or (lambda *_: None))
    monkeypatch.setattr(server, "peer_uid", lambda _connection: 0)
    ledger = Ledger(tmp_path / "ledger")
    keeper = SimpleNamespace(
        tickets=Tickets(tmp_path / "tickets"),
        ledger=ledger,
        submit=lambda _request: "17",
        open=lambda: json.dumps(
            {
                "hub": "0" * 8,
                "sessions": [
                    {"key": one.key, "user": one.user, "server": "", "state": one.state, "job": ""}
                    for one in ledger.open()
                ],
            }
        ),
    )
    made = verbs_over(tmp_path, SiteFile(SITE), keeper)
    with server.Server(tmp_path / "socket", made, {0}) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.05,)).start()
        yield made
        listening.shutdown()


def davide_hub(tmp_path, *arguments: str) -> int:
    return main(
        [*arguments, "--socket", str(tmp_path / "socket"), "--site", str(SITE), "--trail", str(tmp_path / "audit")]
    )


def test_ban_and_unban(broker, tmp_path, capsys):
    assert davide_hub(tmp_path, "ban", "ann", "--reason", "mining") == 0
    assert "ann is banned" in capsys.readouterr().out
    assert broker.outcasts.ban_of("ann") is not None
    assert davide_hub(tmp_path, "unban", "ann", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "verb": "unban", "user": "ann"}
    assert broker.outcasts.ban_of("ann") is None
    assert davide_hub(tmp_path, "unban", "ann") == 1
    assert "ann is not banned" in capsys.readouterr().err


def test_revoke_takes_the_ticket(broker, tmp_path):
    broker.tickets.give("ann", 3001)
    assert davide_hub(tmp_path, "revoke", "ann") == 0
    assert broker.answer(Ticket(user="ann")).value == "no"


@pytest.mark.parametrize("arguments", [("ban", "../ann"), ("ban", "ann", "--reason", "two\nlines"), ("revoke", "Ann")])
def test_what_is_no_account_is_one_sentence(tmp_path, capsys, arguments):
    assert davide_hub(tmp_path, *arguments) == 1
    assert "USER is the name of a Unix account" in capsys.readouterr().err


def test_without_a_broker_it_is_said_what_to_look_at(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.2)
    assert davide_hub(tmp_path, "ban", "ann") == 1
    assert "systemctl status davide-broker" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["ban", "unban", "revoke", "rotate", "audit"])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])
    assert done.value.code == 0
    assert "--json" in capsys.readouterr().out


# -- rotate


def test_a_new_cookie_secret_begins_with_no_old_one(tmp_path, capsys):
    target = tmp_path / "shadow"
    target.write_text("root's own")
    (tmp_path / "jupyterhub_cookie_secret").symlink_to(target)
    assert davide_hub(tmp_path, "rotate", "cookie-secret", "--state", str(tmp_path), "--no-restart") == 0
    assert "now run: systemctl restart jupyterhub" in capsys.readouterr().out
    assert not (tmp_path / "jupyterhub_cookie_secret").is_symlink()
    assert target.read_text() == "root's own", "a link that the hub planted leads nowhere"
    (line,) = trail.read(tmp_path / "audit")
    assert (line["verb"], line["what"], line["caller"]) == ("rotate", "cookie-secret", os.getuid())


def test_new_authorities_end_the_sessions_that_the_old_ones_vouched_for(broker, tmp_path, capsys):
    from davide_hub.certificates import Pair, prepare

    tls = tmp_path / "tls"
    prepare(tls, "192.0.2.1")
    before = Pair.read(tls, "gate").certificate_text
    (tls / "hub.key").chmod(0o640)
    broker.tickets.give("ann", 3001)
    broker.sessions.ledger.intend(Entry("k1", "ann", 3001, 2000, "/home", "", "one-gpu", "intended"))
    assert davide_hub(tmp_path, "rotate", "ca", "--tls", str(tls), "--no-restart", "--json") == 0
    done = json.loads(capsys.readouterr().out)["done"]
    assert done[0] == "ended the sessions of ann"
    assert done[2] == "now run: systemctl restart jupyterhub-proxy jupyterhub"
    assert [one.user for one in broker.outcasts.all()] == ["ann"]
    assert Pair.read(tls, "gate").certificate_text != before
    assert (tls / "hub.key").stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.glob("tls.old-*"))) == 1


def test_without_a_broker_no_authority_is_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.2)
    (tmp_path / "tls").mkdir()
    assert davide_hub(tmp_path, "rotate", "ca", "--tls", str(tmp_path / "tls"), "--no-restart") == 1
    assert "Nothing was changed" in capsys.readouterr().err


def test_where_the_broker_is_far_root_there_ends_the_sessions_first(broker, tmp_path, monkeypatch, capsys):
    """The hub's host may ask which there are, and is told where to end them."""
    site = tmp_path / "site.yml"
    far = "  broker: {host: ctl01, address: 127.0.0.1, port: 8443}\n  paths:\n"
    site.write_text(SITE.read_text().replace("  paths:\n", far, 1))
    prepare_broker(tmp_path / "broker-tls", "127.0.0.1")
    prepare(tmp_path / "tls", "127.0.0.1")
    words = ["rotate", "ca", "--no-restart"]
    words += ["--site", str(site), "--socket", str(tmp_path / "none"), "--trail", str(tmp_path / "audit")]
    words += ["--tls", str(tmp_path / "tls"), "--broker-tls", str(tmp_path / "broker-tls")]
    with serving("127.0.0.1:0", tmp_path / "broker-tls", broker) as listening:
        site.write_text(site.read_text().replace("8443", str(listening.server_address[1])))
        broker.sessions.ledger.intend(Entry("k1", "ann", 3001, 2000, "/home", "", "one-gpu", "intended"))
        assert main(words) == 1
        assert "only root on ctl01 may end them: run there davide-hub revoke ann; then again" in capsys.readouterr().err
        broker.sessions.ledger.closed(next(iter(broker.sessions.ledger.open())))
        assert main(words) == 0
    assert "no session was open" in capsys.readouterr().out
    assert len(list(tmp_path.glob("tls.old-*"))) == 1
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.2)
    assert main(["ban", "ann", "--site", str(site), "--socket", str(tmp_path / "none")]) == 1
    assert "run this as root on ctl01, and see systemctl status davide-broker" in capsys.readouterr().err


# -- the audit trail


def test_the_trail_leads_from_the_address_to_the_job(broker, tmp_path, capsys):
    broker.answer(Login(user="ann", password=SecretStr("right"), address="192.0.2.7"), 990)
    broker.answer(
        Submit(user="ann", server="", profile="one-gpu", session_key="k1", environment={"JUPYTERHUB_API_TOKEN": "s"}),
        990,
    )
    assert davide_hub(tmp_path, "audit", "--json", "--user", "ann") == 0
    text = capsys.readouterr().out
    login, submit = (json.loads(line) for line in text.splitlines())
    assert (login["verb"], login["address"], login["answer"], login["caller"]) == ("login", "192.0.2.7", "done", 990)
    assert submit["login"] == login["login"] != ""
    assert (submit["job"], submit["profile"], submit["session_key"]) == ("17", "one-gpu", "k1")
    assert "right" not in text
    assert "JUPYTERHUB" not in text


def test_a_failed_log_in_is_in_the_trail(broker, tmp_path, monkeypatch):
    def wrong(*_):
        raise verbs.WrongPassword

    monkeypatch.setattr(verbs, "check_password", wrong)
    broker.answer(Login(user="ann", password=SecretStr("guess"), address="192.0.2.9"), 990)
    (line,) = trail.read(tmp_path / "audit")
    assert (line["answer"], line["address"]) == ("wrong_password", "192.0.2.9")


def test_what_is_asked_again_and_again_is_not_in_the_trail(broker, tmp_path):
    broker.answer(Ticket(user="ann"), 990)
    assert list(trail.read(tmp_path / "audit")) == []


def test_a_teacher_sees_what_the_site_allows(broker, tmp_path, capsys):
    broker.answer(Login(user="ann", password=SecretStr("right"), address="192.0.2.7"), 990)
    assert davide_hub(tmp_path, "audit", "--json", "--for", "teacher") == 0
    assert json.loads(capsys.readouterr().out).keys() == {"time", "verb", "user", "answer"}


def test_since_and_user_choose_lines(tmp_path):
    now = datetime(2026, 11, 24, 8, tzinfo=UTC).timestamp()
    one = Audit(tmp_path, lambda: 90, lambda: now)
    for hours, user in ((0, "ann"), (1, "bob"), (30, "ann")):
        one.clock = lambda hours=hours: now + 3600 * hours
        one.write(verb="login", user=user)
    assert len(list(trail.read(tmp_path))) == 3
    assert len(list(trail.read(tmp_path, user="ann"))) == 2
    assert [line["user"] for line in trail.read(tmp_path, since="2026-11-24T09")] == ["bob", "ann"]


def test_old_files_are_removed_and_nobody_else_may_read_the_others(tmp_path):
    now = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    for days in (0, 2, 5):
        Audit(tmp_path, lambda: 3, lambda days=days: now + 86400 * days).write(verb="login")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit-2026-11-26.jsonl", "audit-2026-11-29.jsonl"]
    assert all(path.stat().st_mode & 0o007 == 0 for path in tmp_path.iterdir())


def test_a_line_cannot_be_forged(tmp_path):
    Audit(tmp_path, lambda: 3).write(user='x"}\n{"verb": "login')
    (line,) = trail.read(tmp_path)
    assert line["user"] == 'x"}\n{"verb": "login'


@pytest.mark.parametrize("server", ["a\u2028time=now", "a  user=root", "\x1b[2J", "\x9b2J", " a", "a\r\ntime=now"])
def test_people_who_read_the_trail_see_no_line_and_no_field_of_a_user_s_making(tmp_path, capsys, server):
    Audit(tmp_path / "audit", lambda: 3).write(verb="submit", server=server, why="Wrong user name or password.")
    assert davide_hub(tmp_path, "audit") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert [field.split("=")[0] for field in re.split("  (?=[a-z]+=)", re.sub(r'"[^"]*"', "", line))] == [
        "time",
        "verb",
        "server",
        "why",
    ]
    assert line.isprintable()
    assert line.endswith("  why=Wrong user name or password.")


def test_a_trail_that_cannot_be_written_stops_nobody(broker, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    broker.audit.folder = tmp_path / "file" / "below"
    assert broker.answer(Login(user="ann", password=SecretStr("right")), 990).ok
    assert "the audit trail can't be written" in caplog.text
    assert '"verb": "login"' in caplog.text
