"""The broker's real server on a real socket, over a Slurm and accounts of our making."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from davide_hub.broker import keep, server, verbs
from davide_hub.broker.accounts import Account, WrongPassword
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.verbs import SiteFile
from support.broker import verbs_over
from support.pretend import ACCOUNTS, RIGHT, Slurm, pretended

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
# The uid that the hub has here: not root's, whoever runs the tests.
HUB = 990


class Fuzzed(server.Server):
    """The real server, which keeps what its threads did not catch."""

    def __init__(self, *arguments: object) -> None:
        self.crashes: list[str] = []
        super().__init__(*arguments)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        self.crashes.append(traceback.format_exc())


class Broker:
    """What the tests ask, and what they look at afterwards."""

    def __init__(self, path: Path, slurm: Slurm, fuzzed: Fuzzed) -> None:
        self.path, self.slurm, self.server = path, slurm, fuzzed

    def forget(self) -> None:
        """Begin anew: nobody has a session."""
        for entry in self.server.verbs.sessions.ledger._folder.iterdir():
            entry.unlink()
        self.slurm.forget()

    def owner(self, key: str) -> str | None:
        """Return whose session it is, by the ledger."""
        entry = self.server.verbs.sessions.ledger.find(key)
        return entry.user if entry else None

    def send(self, line: bytes) -> bytes:
        """Return what the broker says to a line, and to the end of the connection after it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            with suppress(BrokenPipeError):  # it has seen enough of a line that is too long
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionResetError):  # the same, after its answer
                while part := connection.recv(65536):
                    answer += part
            return answer


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Yield a broker that has one user with a ticket; at the end, look for what it left behind."""
    patch = pytest.MonkeyPatch()
    slurm = pretended(patch)
    patch.setattr(verbs, "check_password", _check_password)
    patch.setattr(server, "peer_uid", lambda _connection: HUB)
    patch.setattr(keep.os, "fsync", lambda _descriptor: None)  # what survives a power loss is not what is asked here
    folder = tmp_path_factory.mktemp("broker")
    threads, files = threading.active_count(), _open_files()
    tickets = Tickets(folder / "tickets")
    tickets.give("student01", ACCOUNTS["student01"].uid)
    site = SiteFile(SITE)
    keeper = SessionKeeper(
        site.read, ROOT / "spawner_templates", tickets, Ledger(folder / "ledger"), Marker("0" * 8, b"key")
    )
    asked = verbs_over(folder, site, keeper)
    asked.ask_slurm = slurm.ask  # as for a hub on another host
    fuzzed = Fuzzed(folder / "socket", asked, {HUB})
    serving = threading.Thread(target=fuzzed.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield Broker(folder / "socket", slurm, fuzzed)
    finally:
        fuzzed.shutdown()
        fuzzed.server_close()
        serving.join()
        patch.undo()
    assert fuzzed.crashes == []
    assert keeper._locks._locks == {}, "a lock that nobody holds was kept"
    assert threading.active_count() == threads, "a thread was left"
    assert _open_files() == files, "an open file was left"
    assert _children() == [], "a child was left"


def _check_password(account: Account, password: str, _service: str) -> None:
    if RIGHT.get(account.name) != password:
        raise WrongPassword


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> list[str]:
    return [child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()]
