"""A person with a session: log-in, start, stop, and a kernel that counts, all through the proxy as a browser would."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import requests
import websocket
from support.web import browser, new_token, open_websocket, request, send_log_in, user_url

from faults.target import Target
from faults.waiting import last, wait_for

KERNEL = "tf-cpu"
# A word that only this kernel knows, and a number that grows while it lives.
BEAT_SECONDS = 0.1
COUNTING = """
import threading, time
word, count = {word!r}, 0
def grow():
    global count
    while True:
        count += 1
        time.sleep({beat})
threading.Thread(target=grow, daemon=True).start()
"""
REACHES_NOBODY = (requests.RequestException, OSError, websocket.WebSocketException, ValueError, KeyError)


@dataclass
class Counter:
    """The counter in a session's kernel: which kernel, its word, and how far it was when it was last read."""

    kernel: str
    word: str
    count: int = 0


@dataclass
class Person:
    """One demo account at a browser of its own."""

    name: str
    password: str
    target: Target
    counter: Counter | None = None
    # The job that the session is to keep, and its node.
    job: str = ""
    node: str = ""
    _browser: requests.Session = field(default_factory=browser)
    _token: str = ""

    # -- the hub

    def log_in(self) -> None:
        """Fill in the log-in form, and make a token for the API."""
        self._browser = browser()
        done = send_log_in(self._browser, self.target.url, self.name, self.password, allow_redirects=False)
        assert done.status_code == 302, f"{self.name} can't log in: {done.status_code}"
        # The cookies are others once somebody is logged in.
        self._browser.get(f"{self.target.url}/hub/home", timeout=20)
        # For longer than the soak takes.
        self._token = new_token(self._browser, self.target.url, self.name, "fault suite", 12 * 3600)

    def ask(self, method: str, path: str, **more: Any) -> requests.Response | None:
        """Ask the hub's API; None where it does not answer now. A token that it forgot is made anew."""
        address, seconds = f"{self.target.url}/hub/api{path}", more.pop("timeout", 20)
        for _ in range(2):
            try:
                reply = request(method, address, headers=self._proof(), timeout=seconds, **more)
            except (requests.RequestException, AssertionError):
                return None
            if reply.status_code not in (401, 403):
                return None if reply.status_code in (502, 503, 504) and method == "GET" else reply
            self._token = ""
        return None

    def server(self) -> dict[str, Any] | None:
        """Return what the hub says of the session: empty if there is none, None if the hub says nothing."""
        reply = self.ask("GET", f"/users/{self.name}")
        if reply is None or reply.status_code != 200:
            return None
        server: dict[str, Any] = reply.json().get("servers", {}).get("", {})
        return server

    def start(self) -> requests.Response | None:
        """Press Start; returns once the hub has said something."""
        return self.ask("POST", f"/users/{self.name}/server", json=self.target.start_options, timeout=60)

    def stop(self) -> requests.Response | None:
        """Press Stop."""
        return self.ask("DELETE", f"/users/{self.name}/server", timeout=60)

    def home_page(self) -> str:
        """Return the words of the home page: what a person is told of how the last session ended."""
        try:
            page = self._browser.get(f"{self.target.url}/hub/home", timeout=20)
            if "/hub/login" in page.url:
                self.log_in()
                page = self._browser.get(f"{self.target.url}/hub/home", timeout=20)
        except (requests.RequestException, AssertionError):
            return ""
        main = re.search(r"<main.*?</main>|<div class=\"container\".*", page.text, re.DOTALL)
        words = re.sub(r"<[^>]+>", " ", main.group(0) if main else page.text)
        return " ".join(words.replace("&#39;", "'").split())

    # -- the session

    def begin_counting(self) -> None:
        """Start a kernel and its counter."""
        word = secrets.token_hex(8)
        reply = request("POST", self._session("/api/kernels"), headers=self._proof(), json={"name": KERNEL}, timeout=30)
        reply.raise_for_status()
        self.counter = Counter(reply.json()["id"], word)
        self._execute(COUNTING.format(word=word, beat=BEAT_SECONDS))

    def counts_on(self) -> bool:
        """Say whether the same kernel still holds the same counter, further than before."""
        if self.counter is None:
            return False
        for _ in range(2):
            with suppress(*REACHES_NOBODY):
                word, count = self._read_counter()
                if count == self.counter.count:
                    # Read twice within a beat, which a fast machine does: the next beats show whether it grows.
                    last(10 * BEAT_SECONDS)
                    word, count = self._read_counter()
                grown = word == self.counter.word and count > self.counter.count
                self.counter.count = count
                return bool(grown)
            # A session that asks a hub which forgot the token says 403: with a new one it may go.
            self._token = ""
        return False

    def _read_counter(self) -> tuple[str, int]:
        word, count = json.loads(self._execute("", "__import__('json').dumps([word, count])"))
        return str(word), int(count)

    def _execute(self, code: str, expression: str = "''") -> str:
        assert self.counter is not None
        address = self._session(f"/api/kernels/{self.counter.kernel}/channels")
        header = [f"{name}: {text}" for name, text in self._proof().items()]
        with closing(open_websocket(address, timeout=20, header=header)) as socket:
            number = secrets.token_hex(8)
            socket.send(json.dumps(_request(number, code, expression)))
            while True:
                message = json.loads(socket.recv())
                if message["msg_type"] == "execute_reply" and message["parent_header"].get("msg_id") == number:
                    shown = message["content"]["user_expressions"]["said"]["data"]["text/plain"]
                    return str(shown[1:-1])

    def _session(self, path: str) -> str:
        return f"{user_url(self.target.url, self.name)}{path}"

    def _proof(self) -> dict[str, str]:
        if not self._token:
            self.log_in()
        return {"Authorization": f"token {self._token}"}

    # -- both

    def is_ready(self) -> bool:
        """Say whether the hub shows the session as ready."""
        server = self.server()
        return bool(server) and bool(server.get("ready")) and not server.get("pending")

    def is_stopped(self) -> bool:
        """Say whether the hub shows no session."""
        return self.server() == {}

    def wait_until_ready(self, seconds: float = 90) -> None:
        """Wait until the session is up."""
        wait_for(self.is_ready, f"the session of {self.name} to be ready", seconds)


def _request(number: str, code: str, expression: str) -> dict[str, Any]:
    return {
        "channel": "shell",
        "header": {
            "msg_id": number,
            "msg_type": "execute_request",
            "session": number,
            "username": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {"said": expression},
            "allow_stdin": False,
        },
    }
