"""Log-in at a provider of OpenID Connect on the real cluster, switched to and back by the plays.

The provider runs here; a tunnel makes it 127.0.0.1 for the hub's host too, since any other address without TLS is
refused in site.yml.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from contextlib import contextmanager

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from davide_lab.host import ssh
from davide_lab.place import hosts, site_facts
from leaks.places import in_the_output, search
from support.cluster import ROOT
from support.plays import play
from support.provider import Provider
from support.visitor import Visitor
from support.web import request

SECRET_FILE = "/etc/davide-hub/oidc-client-secret"
ACCOUNTS_FILE = "/etc/davide-hub/accounts.json"
ACCOUNTS = '{"ada.lovelace@example.org": "student05"}'
DIRECTORY = "/var/lib/extrausers"
# An account like any other, of a group that has nothing to do with this service.
OUTSIDER = {"passwd": "outsider:x:6999:6999::/home/outsider:/bin/bash", "shadow": "outsider:*:20000:0:99999:7:::"}


class Way:
    """The hub that logs in at the provider, and somebody at a browser."""

    def __init__(self, cluster, provider: Provider, told: str) -> None:
        self.cluster, self.provider, self.told, self.since = cluster, provider, told, time.time()

    def log_in(self, email: str, name: str = "student05") -> tuple[Visitor, requests.Response]:
        """Press the button of the log-in page as somebody whom the provider knows; return where that ends."""
        self.provider.claims = {"email": email, "email_verified": True}
        visitor = Visitor(self.cluster, name)
        return visitor, visitor.browser.get(f"{visitor.hub}/oauth_login?next=/hub/home", timeout=60)


@pytest.fixture(scope="module")
def way(cluster, wait_for):
    """Switch the hub to the provider, and back to PAM."""
    with Provider(secrets.token_hex(16)) as provider, tunnel(cluster, provider, wait_for):
        login = provider.facts(
            claim="email", domain="example.org", accounts_file=ACCOUNTS_FILE, client_secret_file=SECRET_FILE
        )
        cluster.output("hub01", f"cat > {ACCOUNTS_FILE}", given=ACCOUNTS)
        try:
            told = switch(site_facts(ROOT) | {"login": login}, provider.secret)
            wait_until_it_asks(cluster, wait_for, login["title"])
            yield Way(cluster, provider, told)
        finally:
            switch(site_facts(ROOT))
            cluster.output("hub01", f"rm -f {SECRET_FILE} {ACCOUNTS_FILE}")
            wait_until_it_asks(cluster, wait_for, "Username:")
    assert Visitor(cluster, "student05").log_in().status_code == 200, "PAM is back"


def switch(site, secret=""):
    """Give the hub these site facts by the plays; return what they told."""
    done = play(
        "--tags=broker,jupyterhub",
        "--limit=localhost,hub01",
        variables={"site": site, "jupyterhub_oidc_client_secret": secret},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout + done.stderr


def wait_until_it_asks(cluster, wait_for, words):
    """Wait until the hub is back and its log-in page says something."""

    def asks():
        try:
            return words in request("GET", f"{cluster.hub_url}/hub/login", timeout=10).text
        except requests.ConnectionError:
            return False

    wait_for(asks, f"the log-in page to say {words!r}", 60)


@contextmanager
def tunnel(cluster, provider, wait_for):
    """Let the provider be on the hub's host too, at the same address."""
    (hub,) = (one for one in hosts(ROOT) if one.name == "hub01")
    port = provider.issuer.rpartition(":")[2]
    *options, address = ssh(hub)
    forward = [*options, "-N", "-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{port}:127.0.0.1:{port}", address]
    with subprocess.Popen(forward, stdin=subprocess.DEVNULL) as running:
        try:
            listens = f"ss --no-header --listening --tcp --numeric sport = :{port}"
            wait_for(lambda: cluster.output("hub01", listens), "the tunnel to the provider", 30)
            yield
        finally:
            running.terminate()


@contextmanager
def outsider(cluster):
    """Give the hub's host an account outside the site's group."""
    files = [f"{DIRECTORY}/{name}" for name in OUTSIDER]
    for path, row in zip(files, OUTSIDER.values(), strict=True):
        cluster.output("hub01", f"cp -p {path} {path}.before && cat >> {path}", given=f"{row}\n")
    try:
        yield
    finally:
        for path in files:
            cluster.output("hub01", f"mv {path}.before {path}")


def test_a_student_logs_in_at_the_provider_and_works(way, wait_for):
    """The provider knows her by an address that is not her account's: the site's list says which account it is."""
    student, page = way.log_in("ada.lovelace@example.org")
    assert (page.status_code, page.url) == (200, f"{student.hub}/home")
    student.take_token()
    wait_for(lambda: not student.jobs(), "what an earlier test left is still there", 120)
    student.start()
    wait_for(student.ready, "the session is not up", 180)
    assert "RUNNING" in student.jobs()
    assert "kernels" in student.ask_session("GET", "status").json()
    student.stop()
    wait_for(lambda: not student.jobs(), "the session does not end", 120)
    trail = way.cluster.output("hub01", "/opt/davide/envs/hub/bin/davide-hub audit --user student05")
    assert "verb=identity" in trail


def test_an_address_of_the_sites_domain_is_the_account_before_the_at(way):
    student, page = way.log_in("student06@example.org", "student06")
    assert page.status_code == 200
    student.take_token()
    assert student.ask("GET", "user").json()["name"] == "student06"


def test_somebody_outside_the_group_reads_why(way):
    with outsider(way.cluster):
        _, page = way.log_in("outsider@example.org")
    assert page.status_code == 403
    group = site_facts(ROOT)["group"]
    assert f"Your account outsider is not in the group {group}" in page.text
    assert "Traceback" not in page.text


def test_somebody_of_another_domain_is_nobody_here(way):
    _, page = way.log_in("student05@example.com")
    assert page.status_code == 403
    assert "is no account of the cluster" in page.text


def test_a_token_that_somebody_else_signed_lets_nobody_in(way, wait_for):
    provider = way.provider
    honest, provider.signs_with = provider.signs_with, (ec.generate_private_key(ec.SECP256R1()), provider.kid)
    try:
        student, page = way.log_in("student05@example.org")
    finally:
        provider.signs_with = honest
    assert page.status_code == 403
    assert "is not valid here (InvalidSignatureError)" in page.text
    assert "/hub/login" in student.browser.get(f"{student.hub}/home", timeout=30).url
    asked = f"journalctl --unit davide-broker --since=@{way.since:.0f} --output=cat"

    def is_told():
        journal = way.cluster.output("hub01", asked)
        return '"refused": "not_allowed"' in journal and "InvalidSignatureError" in journal

    wait_for(is_told, "the refusal in the broker's journal", 30)


def test_neither_tokens_nor_the_hubs_secret_lie_about(way):
    words = {"client secret": (way.provider.secret,)}
    words |= {f"ID token {number}": tuple(token.split(".")[1:]) for number, token in enumerate(way.provider.issued)}
    assert len(words) > 3, "people have logged in"
    found = search(way.cluster, words, way.since, ["hub01"])["hub01"]
    assert found["problems"] == []
    right = {"place": SECRET_FILE, "name": "client secret", "owner": "root", "mode": "0640"}
    assert [*found["finds"], *in_the_output(words, way.told)] == [right]
    assert way.cluster.output("hub01", f"stat --format=%G {SECRET_FILE}") == "davide-hub"
