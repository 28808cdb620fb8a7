"""The whole way of a log-in at a provider: a browser, a real hub, the broker's socket, and a real provider."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import yaml
from davide_hub.broker import server, verbs
from davide_hub.broker.accounts import Account, WrongPassword
from davide_hub.broker.keep import Tickets
from davide_hub.broker.protocol import Ban, Revoke
from davide_hub.broker.verbs import SiteFile
from davide_hub.certificates import prepare
from support.broker import verbs_over
from support.provider import SECRET, Provider

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
CONFIG = """
from pathlib import Path
from jupyterhub.proxy import Proxy
from davide_hub import doorkeeper
from davide_hub.configure import configure
from davide_hub.facts import load_site

class NoProxy(Proxy):
    should_start = False

    # The test's browser talks to the hub itself.
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {}

doorkeeper._EVERY_SECONDS = 0.5
here = Path(HERE)
c = get_config()
configure(c, load_site(here / "site.yml"), state=here, tls=here / "tls", broker=here / "socket")
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.log_level = "DEBUG"
"""


class Way:
    """A hub of a site that logs in at a provider, and browsers for it."""

    def __init__(self, url: str, folder: Path, provider: Provider, broker: verbs.Verbs, log: Path) -> None:
        self.url, self.folder, self.provider, self.broker, self.log = url, folder, provider, broker, log

    def browser(self) -> requests.Session:
        """Return a browser without cookies."""
        made = requests.Session()
        made.trust_env = False  # else this machine's own authorities would stand in for ours
        # The hub hears its proxy alone, so this one shows the proxy's certificate.
        made.cert = (str(self.folder / "tls/proxy.crt"), str(self.folder / "tls/proxy.key"))
        made.verify = str(self.folder / "tls/gate.crt")
        return made

    def log_in(self, browser: requests.Session) -> requests.Response:
        """Press the button of the log-in page; return where that ends."""
        return browser.get(f"{self.url}/hub/oauth_login?next=/hub/token", timeout=30)


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    folder = tmp_path_factory.mktemp("way")
    patch = pytest.MonkeyPatch()
    patch.setattr(verbs, "find_account", _find_account)
    patch.setattr(verbs, "check_membership", lambda *_: None)
    patch.setattr(server, "peer_uid", lambda _connection: 990)
    prepare(folder / "tls", "127.0.0.1")
    with Provider() as provider:
        url = _write_site(folder, provider)
        keeper = SimpleNamespace(
            tickets=Tickets(folder / "tickets"), open=lambda: '{"hub": "00000000", "sessions": []}'
        )
        broker = verbs_over(folder, SiteFile(folder / "site.yml"), keeper)
        with server.Server(folder / "socket", broker, {990}) as listening:
            threading.Thread(target=listening.serve_forever, args=(0.05,)).start()
            try:
                yield from _hub(folder, url, provider, broker)
            finally:
                listening.shutdown()
    patch.undo()


def _hub(folder, url, provider, broker):
    (folder / "config.py").write_text(f"HERE = {str(folder)!r}\n{CONFIG}")
    command = [sys.executable, "-m", "davide_hub.app", "--config", str(folder / "config.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "hub"), "CONFIGPROXY_AUTH_TOKEN": "made-up"}
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output) as hub,
    ):
        made = Way(url, folder, provider, broker, log)
        try:
            _wait_until_it_answers(made, hub)
            yield made
        finally:
            hub.terminate()


def _wait_until_it_answers(way, hub):
    for _ in range(600):
        assert hub.poll() is None, way.log.read_text()[-3000:]
        try:
            way.browser().get(f"{way.url}/hub/health", timeout=10)
        except requests.ConnectionError:
            threading.Event().wait(0.1)
        else:
            return
    pytest.fail(f"the hub does not answer: {way.log.read_text()[-3000:]}")


def _find_account(name):
    if name not in ("student01", "student02"):
        raise WrongPassword
    return Account(name, 3000 + int(name[-2:]), 2000, Path("/home") / name, "/bin/bash")


def _write_site(folder, provider):
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        port, unused = one.getsockname()[1], other.getsockname()[1]
    facts = yaml.safe_load(LOCAL.read_text())
    (folder / "secret").write_text(f"{SECRET}\n")
    site = facts["site"]
    site["hub"] |= {"address": "127.0.0.1", "api_port": port, "proxy_api_port": unused}
    site["public_url"] = f"https://127.0.0.1:{port}"
    site["login"] = provider.facts(client_secret_file=str(folder / "secret"))
    (folder / "site.yml").write_text(yaml.safe_dump(facts))
    return site["public_url"]


@pytest.fixture(autouse=True)
def honest(way):
    """Let the provider say who student01 is, and sign with its own key."""
    way.provider.claims = {"preferred_username": "student01"}
    way.provider.signs_with = (way.provider.key, way.provider.kid)


def test_the_log_in_page_names_the_provider(way):
    page = way.browser().get(f"{way.url}/hub/login", timeout=30).text
    assert "University log-in" in page
    assert "Your name and password" not in page


def test_who_the_provider_has_signed_for_is_in(way):
    browser = way.browser()
    page = way.log_in(browser)
    assert (page.status_code, page.url) == (200, f"{way.url}/hub/token")
    assert "student01" in page.text
    assert way.broker.tickets.holds("student01", 3001)


def test_a_provider_that_signs_with_another_key_lets_nobody_in(way):
    from cryptography.hazmat.primitives.asymmetric import ec

    way.provider.claims = {"preferred_username": "student02"}
    way.provider.signs_with = (ec.generate_private_key(ec.SECP256R1()), way.provider.kid)
    page = way.log_in(way.browser())
    assert page.status_code == 403
    assert "University log-in is not valid here" in page.text
    assert not way.broker.tickets.holds("student02", None)


def test_somebody_without_an_account_reads_what_to_do(way):
    way.provider.claims = {"preferred_username": "ann"}
    page = way.log_in(way.browser())
    assert page.status_code == 403
    assert "There is no account ann on the cluster. Ask its support to add you." in page.text


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(way):
    stolen = way.browser().get(f"{way.url}/hub/oauth_login", timeout=30, allow_redirects=False)
    answer = requests.get(stolen.headers["Location"], timeout=30, allow_redirects=False).headers["Location"]
    page = way.browser().get(answer, timeout=30)
    assert page.status_code == 400


def test_a_revocation_asks_for_the_log_in_again(way, wait_for):
    browser = way.browser()
    way.log_in(browser)
    way.broker.answer(Revoke(user="student01"), 0)
    wait_for(
        lambda: browser.get(f"{way.url}/hub/token", timeout=30, allow_redirects=False).status_code == 302,
        "the cookie of a revoked user still opens pages",
    )
    assert way.log_in(browser).status_code == 200


def test_a_banned_user_is_out_and_reads_why(way, wait_for):
    way.provider.claims = {"preferred_username": "student02"}
    browser = way.browser()
    assert way.log_in(browser).status_code == 200
    token = _own_token(way, browser)
    assert _status_with(way, token) == 200
    way.broker.answer(Ban(user="student02", reason="mining"), 0)
    wait_for(lambda: _status_with(way, token) == 403, "a token of a banned user still works")
    page = way.log_in(browser)
    assert page.status_code == 403
    assert "closed this service to student02 (mining)" in page.text


def _own_token(way, browser):
    answer = browser.post(
        f"{way.url}/hub/api/users/student02/tokens",
        headers={"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/")},
        json={"note": "own"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


def _status_with(way, token):
    answer = way.browser().get(f"{way.url}/hub/api/user", headers={"Authorization": f"token {token}"}, timeout=30)
    return answer.status_code


def test_no_token_of_the_provider_is_in_the_hubs_log(way):
    way.provider.claims = {"preferred_username": "student01", "canary": "made-up-canary"}
    sent = []
    honest_token = way.provider.token
    way.provider.token = lambda **change: sent.append(honest_token(**change)) or sent[-1]
    way.log_in(way.browser())
    way.provider.token = honest_token
    log = way.log.read_text()
    assert len(sent) == 1
    assert "student01" in log, "it is the log that this went to"
    assert not any(part in log for part in sent[0].split(".")[1:])
    assert SECRET not in log
