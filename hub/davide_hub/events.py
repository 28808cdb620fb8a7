"""What happens in the hub, as one line of JSON for each event, between the lines that people read.

`journalctl -u jupyterhub -o cat | grep '^{'` leaves these lines. Each has `event` and `time`; as far as there are such,
also `user`, `server`, `session` (the key, as in the broker's lines), `job`, and `request`: the number of the request
that set it going, as in the answer's header X-Request-Id. What ends by itself has that of its start.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from davide_hub.discreet import without_secrets

_log = logging.getLogger("davide_hub.events")
_REQUEST: ContextVar[str] = ContextVar("request", default="")
# What only looks changes nothing, and stands in JupyterHub's own lines.
_TOLD_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# What sessions say every few minutes: that they are at work.
_UNTOLD = "/activity"


def show() -> None:
    """Let the lines go to standard error, as they are: a unit's journal takes them from there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(logging.INFO)


def begin_request() -> str:
    """Return a number for the request that is at work here; whatever it sets going keeps that number."""
    number = token_hex(8)
    _REQUEST.set(number)
    return number


def tell(event: str, **facts: str | int | float) -> None:
    """Write one line.

    Parameters
    ----------
    event
        What happened, such as `session.up`.
    facts
        What belongs to it. What is empty is left out.
    """
    line: dict[str, Any] = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
    line |= {name: value for name, value in {"request": _REQUEST.get(), **facts}.items() if value != ""}
    # ASCII, so that no letter of a user's can end the line.
    _log.info("%s", json.dumps(line))


def tell_request(handler: Any) -> None:
    """Write a line about a request that may have changed something."""
    request = handler.request
    if request.method in _TOLD_METHODS and not request.path.endswith(_UNTOLD):
        user = getattr(handler, "_jupyterhub_user", None)
        tell(
            "request",
            method=request.method,
            path=without_secrets(request.path),
            status=handler.get_status(),
            milliseconds=round(1000 * request.request_time()),
            user=getattr(user, "name", ""),
            address=request.remote_ip,
        )
