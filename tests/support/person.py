"""A person with a token, who asks the hub and the own session through the proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from support.cluster import Cluster
from support.web import browser, new_token, request, send_log_in, user_url


@dataclass
class Person:
    """Somebody with a session, at the hub's public address."""

    name: str
    url: str
    token: str

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask through the proxy."""
        headers = {"Authorization": f"token {self.token}"}
        return request(method, self.url + path, headers=headers, timeout=60, **options)

    def ask_session(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the session itself through the proxy."""
        headers = {"Authorization": f"token {self.token}"}
        return request(method, user_url(self.url, self.name) + path, headers=headers, timeout=60, **options)

    def server(self) -> dict[str, Any]:
        """Return the session as the hub describes it; empty if there is none."""
        found: dict[str, Any] = self.ask("GET", f"/hub/api/users/{self.name}").json()["servers"].get("", {})
        return found

    def start(self, wait_for: Callable[..., Any], profile: str = "no-gpu") -> None:
        """Start a session, and wait until it is up."""
        self.ask("POST", f"/hub/api/users/{self.name}/server", json={"profile": profile}).raise_for_status()
        wait_for(lambda: self.server().get("ready"), f"the session of {self.name}", 90)

    def stop(self, wait_for: Callable[..., Any]) -> None:
        """End the session, if there is one."""
        self.ask("DELETE", f"/hub/api/users/{self.name}/server")
        wait_for(lambda: not self.server(), f"the end of {self.name}'s session", 60)


def log_in(cluster: Cluster, name: str) -> Person:
    """Log in as a browser does, and make a token."""
    web = browser()
    send_log_in(web, cluster.hub_url, name, cluster.password(name)).raise_for_status()
    web.get(f"{cluster.hub_url}/hub/home", timeout=60).raise_for_status()
    return Person(name, cluster.hub_url, new_token(web, cluster.hub_url, name, "test of TLS"))
