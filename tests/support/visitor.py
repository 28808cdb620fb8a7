"""Somebody with a browser and a token of the own, at the hub's public address."""

from __future__ import annotations

from typing import Any

import requests

from support.cluster import Cluster
from support.web import browser, crumb_of_hub, new_token, request, send_log_in


class Visitor:
    """One of the cluster's accounts, over HTTP as a browser and as a program.

    Attributes
    ----------
    browser
        Its cookies.
    token
        What `take_token` made.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name, self.hub = cluster, name, f"{cluster.hub_url}/hub"
        self.browser, self.token = browser(), ""

    # -- the browser

    def log_in(self) -> requests.Response:
        """Fill in the log-in form; return where that ends."""
        self.browser = browser()
        password = self.cluster.password(self.name)
        return send_log_in(self.browser, self.cluster.hub_url, self.name, password, "?next=/hub/home")

    def take_token(self, note: str = "test") -> None:
        """Make a token, as on the page of tokens."""
        self.token = new_token(self.browser, self.cluster.hub_url, self.name, note)

    def xsrf(self) -> str:
        """Return what a form of the hub has to repeat."""
        return crumb_of_hub(self.browser, self.cluster.hub_url)

    def enter(self, server: str = "") -> requests.Response:
        """Open a session's page as the browser, which the hub sends there with a cookie."""
        return self.browser.get(self.address(server), timeout=60)

    # -- the token

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the hub's API."""
        return self._request(method, f"{self.hub}/api/{path}", body)

    def ask_session(self, method: str, path: str, body: object = None, server: str = "") -> requests.Response:
        """Ask a session's API."""
        return self._request(method, f"{self.address(server)}api/{path}", body)

    def _request(self, method: str, address: str, body: object) -> requests.Response:
        headers = {"Authorization": f"token {self.token}"}
        return request(method, address, headers=headers, json=body, timeout=60)

    def address(self, server: str = "") -> str:
        """Return where a session is."""
        base = self.cluster.user_url(self.name)
        return f"{base}/{server}/" if server else f"{base}/"

    # -- sessions

    def servers(self) -> dict[str, Any]:
        """Return the sessions as the hub describes them."""
        found: dict[str, Any] = self.ask("GET", f"users/{self.name}").json()["servers"]
        return found

    def start(self, server: str = "", profile: str = "no-gpu") -> None:
        """Press Start; `ready` says when it is up."""
        asked = self.ask("POST", self._path(server), {"profile": profile})
        assert asked.status_code in (201, 202), asked.text

    def stop(self, server: str = "") -> None:
        """Press Stop; `jobs` says when it is over."""
        asked = self.ask("DELETE", self._path(server))
        assert asked.status_code in (202, 204, 404), asked.text

    def _path(self, server: str) -> str:
        return f"users/{self.name}/servers/{server}" if server else f"users/{self.name}/server"

    def ready(self, *servers: str) -> bool:
        """Return whether sessions are up."""
        shown = self.servers()
        return all(shown.get(server, {}).get("ready") for server in servers or ("",))

    def jobs(self) -> str:
        """Return the jobs, by Slurm's word."""
        return self.cluster.output("ctl01", f"squeue --noheader --user {self.name} --format=%i:%T")
