"""Who may not stay is out within a minute, with the reason; and a directory that is silent turns nobody out.

With a real session of JupyterLab each time, and the accounts of the hub's own host changed as an administrator would.
"""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
import requests

HUB = "/opt/davide/envs/hub/bin/davide-hub"
ACCOUNTS = "/var/lib/extrausers"
WITHIN_SECONDS = 60


class Visitor:
    """A student with a browser and a token of the own."""

    def __init__(self, cluster, name: str) -> None:
        self.cluster, self.name, self.hub = cluster, name, f"{cluster.hub_url}/hub"
        self.browser, self.token = requests.Session(), ""

    def log_in(self) -> requests.Response:
        """Fill in the log-in form; return where that ends."""
        self.browser = requests.Session()
        self.browser.get(f"{self.hub}/login", timeout=30)
        form = {"username": self.name, "password": self.cluster.password(self.name), "_xsrf": self._xsrf()}
        return self.browser.post(f"{self.hub}/login?next=/hub/home", data=form, timeout=60)

    def _xsrf(self) -> str:
        found = [cookie for cookie in self.browser.cookies if cookie.name == "_xsrf"]
        return str(max(found, key=lambda cookie: len(cookie.path)).value)

    def take_token(self) -> None:
        """Make a token, as on the page of tokens."""
        made = self.browser.post(
            f"{self.hub}/api/users/{self.name}/tokens",
            headers={"X-XSRFToken": self._xsrf()},
            json={"note": "own"},
            timeout=30,
        )
        assert made.status_code == 201, made.text
        self.token = made.json()["token"]

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the hub's API with the token."""
        headers = {"Authorization": f"token {self.token}"}
        return requests.request(method, f"{self.hub}/api/{path}", headers=headers, json=body, timeout=60)

    def ready(self) -> bool:
        """Return whether the session is up."""
        return bool(self.ask("GET", f"users/{self.name}").json()["servers"].get("", {}).get("ready"))

    def jobs(self) -> str:
        """Return the student's jobs, by Slurm's word."""
        return self.cluster.output("ctl01", f"squeue --noheader --user {self.name} --format=%i:%T")

    def is_out(self) -> bool:
        """Return whether the job has ended, the token is void, and the cookie opens no page."""
        if self.jobs() or self.ask("GET", "user").status_code != 403:
            return False
        return "/hub/login" in self.browser.get(f"{self.hub}/home", timeout=30).url


@pytest.fixture
def visitor(cluster, wait_for):
    """Return student03 with a session that runs."""
    made = Visitor(cluster, "student03")
    assert made.log_in().status_code == 200
    made.take_token()
    wait_for(lambda: not made.jobs(), "what an earlier test left is still there", 120)
    assert made.ask("POST", f"users/{made.name}/server", {"profile": "no-gpu"}).status_code in (201, 202)
    wait_for(made.ready, "the session is not up", 180, every=1)
    yield made
    if made.log_in().status_code == 200:
        made.take_token()
        made.ask("DELETE", f"users/{made.name}/server")
        wait_for(lambda: not made.jobs(), "the session does not end", 120, every=1)


@contextmanager
def changed(cluster, file: str, script: str):
    """Change a file of accounts on the hub's host by sed, and put it back as it was."""
    path = f"{ACCOUNTS}/{file}"
    cluster.output("hub01", f"cp -p {path} {path}.before && sed -i '{script}' {path}")
    try:
        yield
    finally:
        cluster.output("hub01", f"mv {path}.before {path}")


def wait_until_out(visitor, wait_for) -> None:
    """Wait until the visitor is out; not longer than is promised."""
    begun = time.monotonic()
    wait_for(visitor.is_out, f"{visitor.name} is still in", WITHIN_SECONDS, every=1)
    print(f"{visitor.name} was out after {time.monotonic() - begun:.0f} s")


def test_a_banned_user_is_out_and_reads_why(cluster, visitor, wait_for):
    cluster.output("hub01", f"{HUB} ban {visitor.name} --reason mining")
    try:
        wait_until_out(visitor, wait_for)
        page = visitor.log_in()
        assert page.status_code == 403
        assert f"closed this service to {visitor.name} (mining)" in page.text
        trail = cluster.output("hub01", f"{HUB} audit --user {visitor.name}")
        assert "verb=ban" in trail
        assert "answer=not_allowed" in trail.splitlines()[-1]
    finally:
        cluster.output("hub01", f"{HUB} unban {visitor.name}")
    page = visitor.log_in()
    assert page.status_code == 200
    assert "closed this service" in page.text, "how the last session ended"


@pytest.mark.parametrize(
    ("file", "script", "words"),
    [
        ("shadow", "s/^student03:\\(.*\\):::$/student03:\\1::1:/", "has expired"),
        ("shadow", "s/^student03:/student03:!/", "is locked"),
        ("passwd", "/^student03:/d", "There is no account student03"),
    ],
    ids=["expired", "locked", "removed"],
)
def test_access_ends_with_the_account(cluster, visitor, wait_for, file, script, words):
    with changed(cluster, file, script):
        wait_until_out(visitor, wait_for)
        assert visitor.log_in().status_code == 403
    page = visitor.log_in()
    assert page.status_code == 200
    assert words in page.text, "how the last session ended"


def test_a_silent_directory_turns_nobody_out(cluster, visitor):
    job = visitor.jobs()
    path = f"{ACCOUNTS}/passwd"
    cluster.output("hub01", f"mv {path} {path}.away")
    try:
        until = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < until:
            assert visitor.jobs() == job
            assert visitor.ask("GET", "user").status_code == 200
    finally:
        cluster.output("hub01", f"mv {path}.away {path}")
    assert visitor.ready()


def test_a_revocation_ends_all_and_the_next_log_in_begins_anew(cluster, visitor, wait_for):
    cluster.output("hub01", f"{HUB} revoke {visitor.name}")
    wait_until_out(visitor, wait_for)
    page = visitor.log_in()
    assert page.status_code == 200
    visitor.take_token()
    assert visitor.ask("POST", f"users/{visitor.name}/server", {"profile": "no-gpu"}).status_code in (201, 202)
    wait_for(visitor.ready, "the new session is not up", 180, every=1)


def test_everybody_logs_in_again_after_a_new_cookie_secret_and_sessions_go_on(cluster, visitor, wait_for):
    job = visitor.jobs()
    cluster.output("hub01", f"{HUB} rotate cookie-secret")
    wait_for(lambda: _answers(visitor), "the hub is not back", 60)
    assert "/hub/login" in visitor.browser.get(f"{visitor.hub}/home", timeout=30).url
    assert visitor.log_in().status_code == 200
    assert visitor.jobs() == job
    assert visitor.ready()


def _answers(visitor) -> bool:
    try:
        return requests.get(f"{visitor.hub}/health", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def test_wrong_passwords_slow_down_one_account_and_not_the_place(cluster):
    stranger = Visitor(cluster, "student05")
    stranger.browser.get(f"{stranger.hub}/login", timeout=30)
    answers = []
    for _ in range(7):
        form = {"username": stranger.name, "password": "guess", "_xsrf": stranger._xsrf()}
        answers.append(stranger.browser.post(f"{stranger.hub}/login", data=form, timeout=60).status_code)
    assert answers[-1] == 429
    assert Visitor(cluster, "student06").log_in().status_code == 200
