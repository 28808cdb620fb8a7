"""The broker's socket: who may ask, one request per connection, and a line in the journal for each.

With `--listen` the hub is on another host and asks over TLS (`far.py`); the socket is then root's alone.
"""

from __future__ import annotations

import argparse
import grp
import json
import logging
import os
import pwd
import signal
import socket
import socketserver
import struct
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Protocol

from davide_hub.broker import questions, tls
from davide_hub.broker.accounts import Account
from davide_hub.broker.audit import FOLDER as AUDIT
from davide_hub.broker.audit import Audit
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import load_marker
from davide_hub.broker.outcasts import Outcasts
from davide_hub.broker.protocol import (
    MAX_LINE,
    BadMessage,
    Refusal,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.verbs import Caller, SiteFile, Verbs
from davide_hub.broker.watch import Watch, asking
from davide_hub.render import SPAWNER_TEMPLATES

SOCKET = Path("/run/davide-broker/broker.sock")
STATE = Path("/var/lib/davide-broker")
SITE = Path("/etc/davide-hub/site.yml")

# The request is one short line, written at once.
_READ_SECONDS = 10
_log = logging.getLogger("davide-broker")


def main() -> None:
    """Listen until stopped."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    site = SiteFile(arguments.site)
    tickets = Tickets(arguments.state / "tickets")
    keeper = SessionKeeper(
        site.read,
        arguments.templates,
        tickets,
        Ledger(arguments.state / "ledger"),
        load_marker(arguments.state / "mark.json"),
    )
    outcasts = Outcasts(arguments.state)
    watch = Watch(keeper, outcasts, asking(lambda: site.read().group, arguments.pam_service))
    audit = Audit(arguments.audit, lambda: site.read().audit.keep_days)
    verbs = Verbs(site, tickets, keeper, arguments.pam_service, outcasts, watch, audit)
    callers, group = {0, pwd.getpwnam(arguments.hub_user).pw_uid}, grp.getgrnam(arguments.hub_user).gr_gid
    far: AbstractContextManager[object] = nullcontext()
    if arguments.listen:
        callers, group = {0}, 0
        verbs.ask_slurm = partial(questions.ask, account=_account(arguments.hub_user))
        far = _far(arguments, verbs)
    with Server(arguments.socket, verbs, callers) as server, far:
        _let_connect(arguments.socket, group)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        tell_systemd("READY=1")
        threading.Thread(target=watch.run, daemon=True).start()
        server.serve_forever()


class Knows(Protocol):
    """A server that knows its callers."""

    verbs: Verbs

    def caller(self, connection: socket.socket) -> tuple[Caller, bool]:
        """Return who is at the other end of a connection, and whether that is somebody to be heard."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread per connection; `Verbs` bounds how much of it happens at once."""

    # Closing waits for the requests that are under way.
    daemon_threads = False
    request_queue_size = 512  # a class of students pressing Start together

    def __init__(self, path: Path, verbs: Verbs, callers: set[int]) -> None:
        self.verbs = verbs
        self.callers = callers
        path.unlink(missing_ok=True)  # what a killed broker left behind
        super().__init__(str(path), Connection)

    def caller(self, connection: socket.socket) -> tuple[Caller, bool]:
        """Return the uid at the other end, and whether it is root's or the hub's."""
        uid = peer_uid(connection)
        return uid, uid in self.callers


class Connection(socketserver.StreamRequestHandler):
    """One request and its answer."""

    server: Knows  # type: ignore[assignment]
    timeout = _READ_SECONDS

    def handle(self) -> None:
        """Read a request, have it answered, and write a line about it."""
        caller, heard = self.server.caller(self.connection)
        started = time.monotonic()
        request: Request | None = None
        try:
            # Read first, whoever it is: closing on what was not read can cost the other side its answer.
            line = self.rfile.readline(MAX_LINE + 1)
            if not heard:
                refusal = Refusal(kind="not_allowed", sentence="Only the hub may ask the broker.")
                self._reply(caller, None, refusal, 0)
                return
            request = decode_request(line)
            reply = self.server.verbs.answer(request, caller)
        except BadMessage as error:
            reply = Refusal(kind="bad_request", sentence=f"Not a request: {error}.")
        except OSError as error:
            # Disk full, hub hung up, no more processes: the user gets a sentence, the journal the rest.
            _log.exception("the system refused")
            reply = Refusal(kind="failed", sentence=f"The hub's host has a problem: {error.strerror}.")
        self._reply(caller, request, reply, time.monotonic() - started)

    def _reply(self, caller: Caller, request: Request | None, reply: Reply, seconds: float) -> None:
        _log.info("%s", _journal_line(caller, request, reply, seconds))
        self.wfile.write(encode_reply(reply))


def peer_uid(connection: socket.socket) -> int:
    """Return the uid of the process at the other end, as the kernel knows it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def tell_systemd(state: str) -> None:
    """Send `state` to systemd, if it started us (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(state.encode(), address.replace("@", "\0", 1))


def _journal_line(caller: Caller, request: Request | None, reply: Reply, seconds: float) -> str:
    """Return who asked for what, and what came of it, as JSON: nothing a user typed can forge a line."""
    # Named one by one: a password, an environment or a user's log can't slip in with a new field.
    line: dict[str, object] = {"caller": caller, "seconds": round(seconds, 3)}
    for name in ("verb", "user", "server", "profile", "session_key", "question"):
        if request is not None and hasattr(request, name):
            line[name] = getattr(request, name)
    if isinstance(reply, Refusal):
        line |= {"refused": reply.kind, "why": reply.sentence}
    elif request is not None and request.verb in ("submit", "cancel"):
        line["job" if request.verb == "submit" else "answer"] = reply.value
    return json.dumps(line)


def _account(name: str) -> Account:
    """Return the hub's account, which has no privilege: whoever asks Slurm about everybody's jobs is that one."""
    entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise SystemExit(f"--hub-user {name} is root; give an account that may do nothing")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir), entry.pw_shell)


def _far(arguments: argparse.Namespace, verbs: Verbs) -> AbstractContextManager[object]:
    # Not at the top: most sites have the hub beside the broker, and never load this.
    from davide_hub.broker.far import serving

    return serving(arguments.listen, arguments.certificates, verbs)


def _let_connect(path: Path, group: int) -> None:
    os.chown(path, 0, group)
    path.chmod(0o660)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davide-broker", description="Checks log-ins and submits sessions as their users."
    )
    parser.add_argument("--socket", type=Path, default=SOCKET)
    parser.add_argument("--state", type=Path, default=STATE, help="where tickets, ledger and the marks' key are kept")
    parser.add_argument("--site", type=Path, default=SITE, help="the site's facts")
    parser.add_argument("--audit", type=Path, default=AUDIT, help="the folder of the audit trail")
    parser.add_argument("--templates", type=Path, default=SPAWNER_TEMPLATES, help="the folder of session.sbatch.j2")
    parser.add_argument("--hub-user", default="davide-hub", help="the account of the hub: only it, and root, may ask")
    parser.add_argument("--listen", metavar="HOST:PORT", help="also listen there, for a hub on another host")
    parser.add_argument("--certificates", type=Path, default=tls.FOLDER, help="the folder of certificates for that")
    parser.add_argument("--pam-service", default="davide-hub", help="a file in /etc/pam.d")
    return parser
