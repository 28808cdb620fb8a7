"""What an administrator does under attack, as root on the hub's host: `davide-hub ban`, `revoke`, `rotate`, `audit`.

Each order goes to the broker, which is where log-ins and jobs pass; the hub hears of it within seconds. None needs
the hub to be running, or to be its own master. Where the broker is on another host, that is where root gives orders
and reads the trail; only `rotate` stays with the hub.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from davide_hub.broker.audit import FOLDER, Audit, read, shown
from davide_hub.facts import FactsError, load_site
from davide_hub.visible import visible

SOCKET = Path("/run/davide-broker/broker.sock")
SITE = Path("/etc/davide-hub/site.yml")
STATE = Path("/var/lib/davide-hub")
TLS = Path("/etc/davide-hub/tls")
BROKER_TLS = Path("/etc/davide-hub/broker-tls")


class OrderFailed(Exception):  # noqa: N818 - it is what it says
    """An order was not carried out. `str()` says why, and what to do."""


def add_verbs(verbs: Any) -> None:
    """Add the verbs to `davide-hub`."""
    ban = _verb(
        verbs, "ban", _ban, "end all sessions of a user, void tokens and cookies, and let nobody of that name in"
    )
    ban.add_argument("user", metavar="USER")
    ban.add_argument("--reason", default="", help="told to the user; a line of at most 200 letters")
    for name, text in (
        ("unban", "let a user in again"),
        ("revoke", "end all that a user has up to now: sessions, tokens, cookies, log-in; the user may log in again"),
    ):
        _verb(verbs, name, _ban, text).add_argument("user", metavar="USER")
    rotate = _verb(verbs, "rotate", _rotate, "make a secret anew, and restart what uses it")
    rotate.add_argument("what", choices=sorted(_ROTATE), help="cookie-secret: all log in again. ca: all sessions end")
    rotate.add_argument("--tls", type=Path, default=TLS, help=argparse.SUPPRESS)
    rotate.add_argument("--broker-tls", type=Path, default=BROKER_TLS, help=argparse.SUPPRESS)
    rotate.add_argument("--state", type=Path, default=STATE, help=argparse.SUPPRESS)
    rotate.add_argument("--no-restart", action="store_true", help="leave the restart to you")
    audit = _verb(verbs, "audit", _audit, "print who did what: from the address to the log-in to the job")
    audit.add_argument("--user", default="", help="only what concerns this user")
    audit.add_argument("--since", default="", metavar="TIME", help="only from then on: 2026-11-24 or 2026-11-24T08:30")
    audit.add_argument("--for", dest="audience", choices=("root", "teacher"), default="root", help="whose view of it")


def _verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--socket", type=Path, default=SOCKET, help=argparse.SUPPRESS)
    parser.add_argument("--site", type=Path, default=SITE, help=argparse.SUPPRESS)
    parser.add_argument("--trail", type=Path, default=FOLDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run, verb=name)
    return parser


def _ban(arguments: argparse.Namespace) -> int:
    told = {
        "ban": "is banned: the sessions end and the tokens are void within a minute",
        "unban": "may log in again",
        "revoke": "is to log in again: what was open ends, and the tokens are void, within a minute",
    }
    order = {"user": arguments.user} | ({"reason": arguments.reason} if arguments.verb == "ban" else {})
    _order(arguments, order)
    _say(arguments, {"verb": arguments.verb, "user": arguments.user}, f"{arguments.user} {told[arguments.verb]}")
    return 0


def _order(arguments: argparse.Namespace, fields: dict[str, str], verb: str = "") -> None:
    # Not at the top: the verbs that look at files do without asyncio and the broker.
    from pydantic import ValidationError

    from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
    from davide_hub.broker.protocol import Ban, Revoke, Unban

    kinds: dict[str, type[Ban] | type[Unban] | type[Revoke]] = {"ban": Ban, "unban": Unban, "revoke": Revoke}
    try:
        request = kinds[verb or arguments.verb](**fields)  # type: ignore[arg-type]
    except ValidationError:
        raise OrderFailed("USER is the name of a Unix account, --reason a line of at most 200 letters") from None
    try:
        asyncio.run(BrokerClient(arguments.socket).order(request))
    except BrokerRefused as refusal:
        raise OrderFailed(str(refusal)) from None
    except BrokerUnreachable:
        raise OrderFailed(
            f"the broker does not answer at {arguments.socket}; run this as root on {_brokers_host(arguments)}, "
            "and see systemctl status davide-broker"
        ) from None


def _brokers_host(arguments: argparse.Namespace) -> str:
    try:
        broker = load_site(arguments.site).broker
    except FactsError:
        broker = None
    return broker.host if broker else "the hub's host"


def _rotate(arguments: argparse.Namespace) -> int:
    done = _ROTATE[arguments.what](arguments)
    days = load_site(arguments.site).audit.keep_days
    Audit(arguments.trail, lambda: days).write(verb="rotate", what=arguments.what, caller=os.getuid(), answer="done")
    _say(arguments, {"verb": "rotate", "what": arguments.what, "done": done}, "\n".join(done))
    return 0


def _rotate_cookie_secret(arguments: argparse.Namespace) -> list[str]:
    # Removed, not written: the folder is the hub's, and a link planted there must not lead root anywhere. The hub
    # makes a new one when it starts.
    try:
        (arguments.state / "jupyterhub_cookie_secret").unlink(missing_ok=True)
    except OSError as error:
        raise OrderFailed(f"{error.filename}: {error.strerror}; run this as root on the hub's host") from None
    return ["the old cookie secret is removed", *_restart(arguments, "jupyterhub")]


def _rotate_ca(arguments: argparse.Namespace) -> list[str]:
    """Make both authorities anew. Whatever was signed by the old ones is worth nothing: so all sessions end."""
    from davide_hub.certificates import prepare

    users = _users_with_sessions(arguments)
    if users and (broker := load_site(arguments.site).broker):
        orders = "; ".join(f"davide-hub revoke {user}" for user in users)
        raise OrderFailed(
            f"sessions are open, and only root on {broker.host} may end them: run there {orders}; then again"
        )
    for user in users:
        _order(arguments, {"user": user}, "revoke")
    owner = arguments.tls.stat()
    old = arguments.tls.with_name(f"{arguments.tls.name}.old-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    arguments.tls.rename(old)
    prepare(arguments.tls, load_site(arguments.site).hub.address)
    for name in ("", "hub.key", "sessions.key"):
        os.chown(arguments.tls / name, 0 if os.geteuid() == 0 else -1, owner.st_gid)
        (arguments.tls / name).chmod((old / name).stat().st_mode & 0o777)
    told = f"new authorities and certificates are in {arguments.tls}; remove {old} when you need it no more"
    ended = f"ended the sessions of {', '.join(users)}" if users else "no session was open"
    return [ended, told, *_restart(arguments, "jupyterhub-proxy", "jupyterhub")]


def _users_with_sessions(arguments: argparse.Namespace) -> list[str]:
    from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable, reached_at

    try:
        client = BrokerClient(reached_at(load_site(arguments.site), arguments.socket, arguments.broker_tls))
        _, entries = asyncio.run(client.sessions())
    except (BrokerRefused, BrokerUnreachable) as error:
        raise OrderFailed(f"{error} Nothing was changed.") from None
    return sorted({entry.user for entry in entries})


_ROTATE = {"cookie-secret": _rotate_cookie_secret, "ca": _rotate_ca}


def _restart(arguments: argparse.Namespace, *units: str) -> list[str]:
    command = ["systemctl", "restart", *units]
    if arguments.no_restart:
        return [f"now run: {' '.join(command)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OrderFailed(f"the secret is new, but {' '.join(command)} failed: {done.stderr.strip()}")
    return [f"restarted {' and '.join(units)}"]


def _audit(arguments: argparse.Namespace) -> int:
    lines = read(arguments.trail, user=arguments.user, since=arguments.since)
    if arguments.audience == "teacher":
        names = load_site(arguments.site).audit.teachers_see
        lines = (shown(line, names) for line in lines)
    for line in lines:
        print(json.dumps(line) if arguments.json else _on_one_line(line))
    return 0


def _on_one_line(line: dict[str, Any]) -> str:
    """Return a line of the trail for people: two blanks between fields, and none of a field's own making."""
    shown = ((name, visible(str(text))) for name, text in line.items())
    return "  ".join(f"{name}={json.dumps(text) if '  ' in f' {text} ' else text}" for name, text in shown)


def _say(arguments: argparse.Namespace, outcome: dict[str, Any], sentence: str) -> None:
    print(json.dumps({"ok": True} | outcome) if arguments.json else sentence)
