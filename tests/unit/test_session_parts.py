"""The launcher's parts: port, call home, hand-outs, private folder."""

import asyncio
import logging
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from davide_session import callhome, handouts
from davide_session.callhome import call_home
from davide_session.scratch import private_folder
from davide_session.server import bind_free_port
from davide_session.settings import Place, settings
from fake_hub import STRANGERS_TOKEN, TOKEN, FakeHub

LOG = logging.getLogger("test")


def test_the_socket_is_kept_and_listens_already():
    sockets = bind_free_port("127.0.0.1")
    address = sockets[0].getsockname()
    socket.create_connection(address, timeout=5).close()
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(address)
    for bound in sockets:
        bound.close()


def test_all_addresses_share_one_port():
    sockets = bind_free_port("")
    assert len({bound.getsockname()[1] for bound in sockets}) == 1
    for bound in sockets:
        bound.close()


def test_a_port_taken_in_between_is_tried_again(monkeypatch):
    answers = [OSError(98, "Address already in use"), OSError(98, "Address already in use"), ["socket"]]

    def bind(*_: object) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr("davide_session.server.bind_sockets", bind)
    assert bind_free_port("") == ["socket"]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(callhome, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(callhome, "_LONGEST_PAUSE_SECONDS", 0.05)


def home_url(hub: FakeHub) -> str:
    return f"{hub.api_url}/davide/call-home"


def test_the_hub_hears_the_port_once():
    with FakeHub() as hub:
        asyncio.run(call_home(home_url(hub), TOKEN, 40123, LOG))
    assert hub.calls == [{"port": 40123}]


def test_a_hub_that_is_busy_is_told_later(impatient, caplog):
    with FakeHub(failures=4) as hub:
        asyncio.run(call_home(home_url(hub), TOKEN, 40123, LOG))
    assert hub.calls == [{"port": 40123}]
    assert len([r for r in caplog.records if "has not heard" in r.message]) == 1


def test_a_hub_that_is_away_is_told_when_it_is_back(impatient):
    with FakeHub() as hub:
        url, port = home_url(hub), hub.port

    async def hub_comes_back_later() -> FakeHub:
        calling = asyncio.create_task(call_home(url, TOKEN, 40123, LOG))
        await asyncio.sleep(0.2)
        assert not calling.done()
        with FakeHub(port=port) as back:
            await asyncio.wait_for(calling, timeout=10)
        return back

    assert asyncio.run(hub_comes_back_later()).calls == [{"port": 40123}]


def test_a_strangers_token_is_not_heard(impatient):
    async def call_for_a_while(hub: FakeHub) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call_home(home_url(hub), STRANGERS_TOKEN, 40123, LOG), timeout=0.3)

    with FakeHub() as hub:
        asyncio.run(call_for_a_while(hub))
    assert hub.calls == []


def test_the_private_folder_is_private_short_and_gone_at_the_end():
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in folder.iterdir()} == {"runtime", "tmp", "walltime"}
        kernel_socket = folder / "runtime" / f"kernel-{'x' * 36}-ipc-5"
        assert len(str(kernel_socket)) <= 107
        (folder / "tmp" / "left").write_text("behind")
    assert not folder.exists()


def python(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code])


def test_hand_outs_that_arrive_say_nothing(capsys):
    handouts.finish_sync(python("pass"))
    assert capsys.readouterr().out == ""


def test_hand_outs_that_fail_do_not_end_the_session(capsys):
    handouts.finish_sync(python("raise SystemExit(3)"))
    assert "could not be brought (status 3)" in capsys.readouterr().out


def test_hand_outs_that_hang_are_left_behind(capsys, monkeypatch):
    monkeypatch.setattr(handouts, "_PATIENCE_SECONDS", 0.2)
    hanging = python("import time; time.sleep(60)")
    handouts.finish_sync(hanging)
    assert "took longer" in capsys.readouterr().out
    assert hanging.returncode is not None


def place(home: Path) -> Place:
    return Place(home, Path("/private"), Path("/software/davide"), "tf-cpu", "davide-course")


def test_jupyterlab_opens_in_the_course_once_it_is_there(tmp_path):
    assert settings(place(tmp_path)).ServerApp.default_url == "/lab"
    (tmp_path / "davide-course").mkdir()
    assert settings(place(tmp_path)).ServerApp.default_url == "/lab/tree/davide-course"
    (tmp_path / "davide-course/00_start_here.ipynb").write_text("{}")
    assert settings(place(tmp_path)).ServerApp.default_url == "/lab/tree/davide-course/00_start_here.ipynb"


def test_the_sites_kernels_come_before_the_users_own(tmp_path):
    site, own = place(tmp_path).kernels
    assert site == "/software/davide/share/jupyter/kernels"
    assert own == os.fspath(tmp_path / ".local/share/jupyter/kernels")
