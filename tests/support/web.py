"""Requests to the local cluster as a browser makes them: its names lead here, and its authority is believed."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import requests
import websocket
from davide_lab.names import lead_localhost_here
from davide_lab.place import AUTHORITY

lead_localhost_here()


def browser() -> requests.Session:
    """Return a browser with no cookies yet."""
    session = requests.Session()
    session.verify = str(AUTHORITY)
    # Else variables of this machine, for its own way to the internet, would come before it.
    session.trust_env = False
    return session


def request(method: str, url: str, **more: Any) -> requests.Response:
    """Make one request with no cookies."""
    with browser() as session:
        return session.request(method, url, **more)


def cookies_for(web: requests.Session, address: str) -> str:
    """Return the header with the cookies that a browser sends to an address."""
    asked = requests.Request("GET", address).prepare()
    return requests.cookies.get_cookie_header(web.cookies, asked) or ""


def crumb_at(web: requests.Session, address: str) -> str:
    """Return the _xsrf that a page at an address sends along: the first, as browsers send the most specific first."""
    # Not just any that the browser has: where it has been at a session it has that one's too.
    found = re.search(r"(?:^|; )_xsrf=([^;]*)", cookies_for(web, address))
    return found[1] if found else ""


def crumb_of_hub(web: requests.Session, hub_url: str) -> str:
    """Return the _xsrf that a form of the hub sends along."""
    return crumb_at(web, f"{hub_url}/hub/")


def send_log_in(
    web: requests.Session, hub_url: str, name: str, password: str, query: str = "", **more: Any
) -> requests.Response:
    """Open the log-in page, fill it in and send it; `more` goes to the request that sends it."""
    page = f"{hub_url}/hub/login"
    web.get(page, timeout=30).raise_for_status()
    return fill_in(web, hub_url, name, password, query, **more)


def fill_in(
    web: requests.Session, hub_url: str, name: str, password: str, query: str = "", **more: Any
) -> requests.Response:
    """Send the log-in form from a browser that has it."""
    form = {"username": name, "password": password, "_xsrf": crumb_of_hub(web, hub_url)}
    return web.post(f"{hub_url}/hub/login{query}", data=form, timeout=60, **more)


def new_token(web: requests.Session, hub_url: str, name: str, note: str, seconds: int = 3600) -> str:
    """Make a token as the page of tokens does, for somebody who has logged in and opened a page since."""
    made = web.post(
        f"{hub_url}/hub/api/users/{name}/tokens",
        headers={"X-XSRFToken": crumb_of_hub(web, hub_url)},
        json={"note": note, "expires_in": seconds},
        timeout=30,
    )
    made.raise_for_status()
    token: str = made.json()["token"]
    return token


def open_websocket(url: str, **more: Any) -> websocket.WebSocket:
    """Open a websocket at an address of http or https."""
    return websocket.create_connection(url.replace("http", "ws", 1), sslopt={"ca_certs": str(AUTHORITY)}, **more)


def user_url(hub_url: str, name: str) -> str:
    """Return where a user's session is: at a name of the user's own where there are names, else at the hub's.

    Parameters
    ----------
    hub_url
        The hub's public address, without a path.
    name
        The user.
    """
    parts = urlsplit(hub_url)
    host = parts.netloc if parts.scheme == "http" else f"{name}.{parts.netloc}"
    return f"{parts.scheme}://{host}/user/{name}"
