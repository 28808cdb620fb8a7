"""Somebody at a browser, and at a program with a token: the one place of the suite that speaks HTTP."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests
import websocket
from support.web import browser, crumb_of_hub, fill_in, new_token, open_websocket, request, user_url

SECONDS = 20


def heard(reply: requests.Response) -> str:
    """Return a reply in a line: its status and its first words; of a page, those that tell of an error."""
    words = reply.text
    if "html" in reply.headers.get("Content-Type", ""):
        told = re.search(r'(role="alert"|class="[^"]*(login_error|error)[^"]*")[^>]*>(.*?)</(p|div)>', words, re.DOTALL)
        words = html.unescape(re.sub(r"<[^>]+>", " ", told.group(3) if told else words))
    return f"{reply.status_code} {' '.join(words.split())[:300]}"


@dataclass
class Person:
    """One demo account.

    Attributes
    ----------
    name, password
        The account.
    url
        The public address.
    web
        The browser, with its cookies.
    token
        A token of the person's own, with all rights of the person.
    """

    name: str
    password: str
    url: str
    web: requests.Session = field(default_factory=browser)
    token: str = ""

    def log_in(self) -> requests.Response:
        """Fill in the log-in form, and make a token; return what the form answered."""
        self.web = browser()
        self.web.get(f"{self.url}/hub/login", timeout=SECONDS).raise_for_status()
        reply = self.fill_in(self.web, self.name, self.password)
        assert reply.status_code == 302, f"{self.name} can't log in: {heard(reply)}"
        # The cookies are others once somebody is logged in.
        self.web.get(f"{self.url}/hub/home", timeout=SECONDS)
        self.token = new_token(self.web, self.url, self.name, "attacks", 7200)
        return reply

    def fill_in(self, web: requests.Session, name: str, password: str) -> requests.Response:
        """Send the log-in form from a browser that has it; return the answer itself, followed nowhere."""
        return fill_in(web, self.url, name, password, allow_redirects=False)

    def crumb(self, web: requests.Session | None = None) -> str:
        """Return what a form of the hub must send along."""
        return crumb_of_hub(web or self.web, self.url)

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Ask with the token, as a program does; no cookies."""
        headers = {"Authorization": f"token {self.token}", **more.pop("headers", {})}
        more.setdefault("timeout", SECONDS)
        return request(method, self._address(path), headers=headers, allow_redirects=False, **more)

    def browse(self, method: str, path: str, **more: Any) -> requests.Response:
        """Ask with the cookies, as a page of the hub does."""
        headers = {"X-XSRFToken": self.crumb(), **more.pop("headers", {})}
        more.setdefault("timeout", SECONDS)
        return self.web.request(method, self._address(path), headers=headers, allow_redirects=False, **more)

    def _address(self, path: str) -> str:
        # What is in a session has an address of its own; see `at`.
        return path if path.startswith("https://") else self.url + path

    @property
    def session_url(self) -> str:
        """Return where the person's session is, for browsers: at a name of the person's own."""
        return user_url(self.url, self.name)

    def servers(self) -> dict[str, dict[str, Any]]:
        """Return all servers as the hub shows them, by name: those that don't run too."""
        reply = self.ask("GET", f"/hub/api/users/{self.name}?include_stopped_servers=1")
        reply.raise_for_status()
        found: dict[str, dict[str, Any]] = reply.json().get("servers", {})
        return found

    def server(self, name: str = "") -> dict[str, Any]:
        """Return a session as the hub shows it; empty if it does not run."""
        found = self.servers().get(name, {})
        return {} if found.get("stopped") else found

    def server_path(self, name: str) -> str:
        """Return the path of a named server in the API, whatever characters are in its name."""
        return f"/hub/api/users/{quote(self.name, safe='')}/servers/{quote(name, safe='')}"

    def at(self, path: str) -> str:
        """Return the address of something in the person's session."""
        return self.session_url + path

    def visit(self) -> requests.Session:
        """Return a browser like the person's that has also been at the person's session, and has its cookies."""
        web = copy_of(self.web)
        web.get(self.at("/lab"), timeout=SECONDS).raise_for_status()
        return web

    @property
    def origin(self) -> str:
        """Return the origin of the pages of the person's session."""
        return self.session_url.partition("/user/")[0]

    @property
    def token_header(self) -> dict[str, str]:
        """The header by which a program shows the token."""
        return {"Authorization": f"token {self.token}"}


def listen(address: str, headers: dict[str, str]) -> websocket.WebSocket:
    """Open a websocket at an address of http or https; `headers` say as who, and from which page."""
    header = [f"{name}: {text}" for name, text in headers.items()]
    return open_websocket(address, timeout=SECONDS, header=header, suppress_origin=True)


def copy_of(web: requests.Session) -> requests.Session:
    """Return a browser with the cookies of another one, as copied from its disk."""
    copied = browser()
    copied.cookies.update(web.cookies)
    return copied
