"""What browsers do with a connection that the other end closes just as they ask on it."""

from __future__ import annotations

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry


def ask_again(session: requests.Session) -> requests.Session:
    """Let a session ask once more, on a new connection, if what it asked changes nothing (RFC 9110, 9.2.2)."""
    once_more = Retry(total=None, connect=0, read=1, status=0, other=0, allowed_methods=["GET", "HEAD"])
    session.mount("https://", HTTPAdapter(max_retries=once_more))
    return session
