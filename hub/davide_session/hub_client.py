"""Asking the hub over HTTP, for the call home and for JupyterHub's own code in a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ssl import SSLContext

from tornado.httpclient import HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

# How the hub is called, once `call_with` has been told; None is plain HTTP.
_context: SSLContext | None = None

# Longer than the worst freeze of a hub that starts a whole class.
_PATIENCE_SECONDS = 60


def call_with(context: SSLContext | None) -> None:
    """Call the hub in this way from now on."""
    global _context
    _context = context


@dataclass(frozen=True)
class HubAnswer:
    """What JupyterHub's code reads of an answer."""

    status: int
    body: bytes

    async def text(self) -> str:
        """Return the body as text."""
        return self.body.decode(errors="replace")


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    data: str | bytes | None = None,
    raise_for_status: bool = True,
) -> HubAnswer:
    """Send a request and return the answer, called as JupyterHub calls its own client.

    That one is built on aiohttp, whose import takes a quarter of a session's start, much of it to read the
    certificates of the internet's authorities. Tornado is there already.

    Parameters
    ----------
    url, method, headers, data
        The request.
    raise_for_status
        Whether an answer of 300 or more is an error.

    Raises
    ------
    Exception
        If nobody answers.
    """
    request = HTTPRequest(
        url,
        method=method,
        headers=dict(headers or {}),
        body=data,
        ssl_options=_context,
        # A token goes to the hub and nowhere else.
        follow_redirects=False,
        connect_timeout=_PATIENCE_SECONDS,
        request_timeout=_PATIENCE_SECONDS,
    )
    answer = await SimpleAsyncHTTPClient().fetch(request, raise_error=raise_for_status)
    return HubAnswer(answer.code, answer.body or b"")
