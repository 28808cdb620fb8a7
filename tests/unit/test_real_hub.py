"""A real hub in a process of its own, the broker's real socket, and a real provider to log in at; Slurm is pretended.

All of it twice: with the broker at its socket, and as on another host, where the hub reaches it over TLS alone.
The browser is one of ours, which shows the proxy's certificate.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from davide_hub.broker import server, verbs
from davide_hub.broker.far import serving
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.protocol import Ban, Revoke
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.standing import Standing
from davide_hub.broker.verbs import SiteFile
from davide_hub.certificates import prepare, prepare_broker
from support.again import ask_again
from support.broker import verbs_over
from support.pretend import Slurm, find_account, pretended
from support.provider import SECRET, Provider

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
METRICS_TOKEN = "made-up-token-of-prometheus"
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
configure(
    c,
    load_site(here / "site.yml"),
    state=here,
    tls=here / "tls",
    broker=here / "socket",
    far_tls=here / "broker-tls",
    metrics_token=here / "metrics-token",
)
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.log_level = "DEBUG"
"""


class Way:
    """A hub of a site that logs in at a provider, and browsers for it."""

    def __init__(self, url: str, folder: Path, provider: Provider, broker: verbs.Verbs, slurm: Slurm) -> None:
        self.url, self.folder, self.provider, self.broker, self.slurm = url, folder, provider, broker, slurm
        self.is_far = broker.ask_slurm is not None
        self.log = folder / "log"

    def browser(self) -> requests.Session:
        """Return a browser without cookies."""
        # The hub closes a connection that was idle.
        made = ask_again(requests.Session())
        made.trust_env = False  # else this machine's own authorities would stand in for ours
        # The hub hears its proxy alone, so this one shows the proxy's certificate.
        made.cert = (str(self.folder / "tls/proxy.crt"), str(self.folder / "tls/proxy.key"))
        made.verify = str(self.folder / "tls/gate.crt")
        return made

    def states(self) -> list[str]:
        """Return the states of all sessions that may still have a job, by the ledger."""
        return [entry.state for entry in self.broker.sessions.ledger.open()]

    def log_in(self, browser: requests.Session) -> requests.Response:
        """Press the button of the log-in page; return where that ends."""
        return browser.get(f"{self.url}/hub/oauth_login?next=/hub/token", timeout=30)


@pytest.fixture(scope="module", params=["socket", "tls"])
def way(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("way")
    patch = pytest.MonkeyPatch()
    slurm = pretended(patch)
    patch.setattr(server, "peer_uid", lambda _connection: 990)
    prepare(folder / "tls", "127.0.0.1")
    with Provider() as provider:
        far_port = _free_port() if request.param == "tls" else None
        url = _write_site(folder, provider, far_port)
        (folder / "metrics-token").write_text(METRICS_TOKEN)
        site = SiteFile(folder / "site.yml")
        keeper = SessionKeeper(
            site.read,
            ROOT / "spawner_templates",
            Tickets(folder / "tickets"),
            Ledger(folder / "ledger"),
            Marker("0" * 8, b"key"),
        )
        broker = verbs_over(folder, site, keeper)
        with _listening(folder, broker, slurm, far_port):
            yield from _hub(Way(url, folder, provider, broker, slurm))
    patch.undo()


@contextmanager
def _listening(folder, broker, slurm, far_port):
    if far_port is not None:
        prepare_broker(folder / "broker-tls", "127.0.0.1")
        broker.ask_slurm = slurm.ask
        with serving(f"127.0.0.1:{far_port}", folder / "broker-tls", broker):
            yield
        return
    with server.Server(folder / "socket", broker, {990}) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.05,)).start()
        try:
            yield
        finally:
            listening.shutdown()


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _hub(way):
    config = way.folder / "config.py"
    config.write_text(f"HERE = {str(way.folder)!r}\n{CONFIG}")
    command = [sys.executable, "-m", "davide_hub.app", "--config", str(config)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "hub"), "CONFIGPROXY_AUTH_TOKEN": "made-up"}
    with (
        way.log.open("w") as output,
        subprocess.Popen(command, cwd=way.folder, env=environment, stdout=output, stderr=output) as hub,
    ):
        try:
            _wait_until_it_answers(way, hub)
            yield way
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


def _write_site(folder, provider, far_port):
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        port, unused = one.getsockname()[1], other.getsockname()[1]
    facts = yaml.safe_load(LOCAL.read_text())
    (folder / "secret").write_text(f"{SECRET}\n")
    site = facts["site"]
    site["hub"] |= {"address": "127.0.0.1", "api_port": port, "proxy_api_port": unused}
    site |= {"public_url": f"https://127.0.0.1:{port}", "origins": "shared"}
    site["login"] = provider.facts(client_secret_file=str(folder / "secret"))
    if far_port is not None:
        site["broker"] = {"host": "ctl01", "address": "127.0.0.1", "port": far_port}
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


def test_a_log_out_voids_copies_of_the_cookie(way):
    browser, copied = way.browser(), way.browser()
    way.log_in(browser)
    copied.cookies.update(browser.cookies)
    answers = []
    for _ in range(2):
        answers.append(copied.get(f"{way.url}/hub/token", timeout=30, allow_redirects=False).status_code)
        browser.get(f"{way.url}/hub/logout", timeout=30)
    assert answers == [200, 302]
    assert way.log_in(browser).status_code == 200


def test_a_banned_user_is_out_and_reads_why(way, wait_for):
    way.provider.claims = {"preferred_username": "student02"}
    browser = way.browser()
    assert way.log_in(browser).status_code == 200
    token = _own_token(way, browser)
    assert _ask(way, token, "GET", "user").status_code == 200
    started = _ask(way, token, "POST", "users/student02/server", {"profile": "no-gpu"})
    assert started.status_code in (201, 202), started.text
    wait_for(lambda: way.states() == ["submitted"], "no session was submitted")
    way.broker.answer(Ban(user="student02", reason="mining"), 0)
    wait_for(lambda: way.states() == ["closing"], "the session of a banned user goes on")
    assert way.slurm.jobs(find_account("student02")) == []
    assert _ask(way, token, "GET", "user").status_code == 403
    page = way.log_in(browser)
    assert page.status_code == 403
    assert "closed this service to student02 (mining)" in page.text
    assert "closed this service" in _saved_state(way, "student02")


def test_the_hub_asks_slurm_where_its_broker_is(way, wait_for):
    """What the broker saw of a job that runs is what the hub knows of it; beside a broker, it asks by itself."""
    way.provider.claims = {"preferred_username": "student01"}
    browser, before = way.browser(), len(way.states())
    way.log_in(browser)
    token = _own_token(way, browser, "student01")
    _ask(way, token, "POST", "users/student01/servers/asked", {"profile": "no-gpu"})
    wait_for(lambda: "submitted" in way.states(), "no session was submitted")
    if way.is_far:
        wait_for(lambda: way.slurm.questions, "the broker was asked nothing about Slurm")
        assert "squeue can't be started" not in way.log.read_text()
    else:
        assert way.slurm.questions == 0
    _ask(way, token, "DELETE", "users/student01/servers/asked")
    wait_for(lambda: way.states() == ["closing"] * (before + 1), "the session does not end")


def test_an_account_that_is_refused_is_out_and_reads_why(way, wait_for):
    before = len(way.states())
    browser = way.browser()
    way.log_in(browser)
    _ask(way, _own_token(way, browser, "student01"), "POST", "users/student01/server", {"profile": "no-gpu"})
    wait_for(lambda: "submitted" in way.states(), "no session was submitted")
    good = way.broker.watch.look
    expired = Standing("refused", "Your account student01 has expired.")
    way.broker.watch.look = lambda users: good(users) | {"student01": expired}
    for _ in range(2):
        way.broker.watch.once()
    wait_for(lambda: way.states() == ["closing"] * (before + 1), "the session of a refused account goes on")
    assert way.slurm.jobs(find_account("student01")) == []
    assert "Your account student01 has expired." in way.log_in(browser).text
    way.broker.watch.look = good
    assert way.log_in(browser).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "server", {"partition": "other"}, "There is no option 'partition'; there is profile, gpus, hours"),
        ("POST", "server", {"profile": "huge"}, "no profile 'huge'; this site has one-gpu"),
        ("POST", "server", {"user_options": {"profile": ["no-gpu"]}}, "this site has one-gpu"),
        ("POST", "servers/two", {"user_options": {}, "state": {}}, "There is no field 'state'; there is display_name"),
        ("PUT", "servers/two", {"user_options": {"cores": 99}}, "There is no option 'cores'"),
        ("PATCH", "server", {"user_options": {"cores": 99}}, "There is no option 'cores'"),
        ("PATCH", "server", {"state": {"job_id": "1"}}, "There is no field 'state'"),
        ("DELETE", "server", {"remove": False, "force": True}, "There is no field 'force'"),
        ("DELETE", "server", [1], "The body must be a JSON object."),
    ],
)
def test_what_is_no_option_is_told_on_every_way(way, method, path, body, words):
    browser = way.browser()
    way.log_in(browser)
    token = _own_token(way, browser, "student01")
    answer = _ask(way, token, method, f"users/student01/{path}", body)
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert "submitted" not in way.states()


def test_without_a_log_in_nothing_is_told_of_options(way):
    answer = way.browser().post(f"{way.url}/hub/api/users/student01/server", json={"cores": 1}, timeout=30)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "user/student01/lab?token=made-up-token",
        "login?next=%2Fhub%2Fx%3Fa%3Db%26token%3Dmade-up-token",
        "error/503?url=%2Fuser%2Fstudent01%2F%3Ftoken%3Dmade-up-token",
    ],
)
def test_no_token_in_an_address_is_in_the_hubs_log(way, path):
    before = way.log.stat().st_size
    way.browser().get(f"{way.url}/hub/{path}", timeout=30)
    deadline = time.monotonic() + 10
    # A request is logged when it has been answered.
    while "[secret]" not in (told := way.log.read_text()[before:]):
        assert time.monotonic() < deadline, f"this went to another log: {told}"
        time.sleep(0.05)
    assert "made-up-token" not in told


def _own_token(way, browser, user="student02"):
    answer = browser.post(
        f"{way.url}/hub/api/users/{user}/tokens",
        headers={"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/")},
        json={"note": "own"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


def _ask(way, token, method, path, body=None):
    headers = {"Authorization": f"token {token}"}
    return way.browser().request(method, f"{way.url}/hub/api/{path}", headers=headers, json=body, timeout=30)


def _saved_state(way, user):
    with closing(sqlite3.connect(way.folder / "jupyterhub.sqlite")) as database:
        rows = database.execute(
            "SELECT spawners.state FROM spawners JOIN users ON users.id = spawners.user_id WHERE users.name = ?",
            (user,),
        )
        return str(rows.fetchall())


def events(way) -> list[dict]:
    return [json.loads(line) for line in way.log.read_text().splitlines() if line.startswith("{")]


def test_from_a_request_to_its_job_there_is_a_line_of_json_for_each_event(way, wait_for):
    browser = way.browser()
    way.log_in(browser)
    token = _own_token(way, browser, "student01")
    answer = _ask(way, token, "POST", "users/student01/servers/told", {"profile": "no-gpu"})
    number = answer.headers["X-Request-Id"]

    def of_it() -> dict[str, dict]:
        return {line["event"]: line for line in events(way) if line.get("request") == number}

    wait_for(lambda: {"request", "session.submitted"} <= of_it().keys(), "the start is not told")
    asked, submitted, request = (of_it()[name] for name in ("session.asked", "session.submitted", "request"))
    assert (asked["user"], asked["server"], asked["profile"]) == ("student01", "told", "no-gpu")
    assert submitted["session"] == asked["session"]
    assert submitted["job"] in {job.number for job in way.slurm.jobs(find_account("student01"))}
    assert (request["method"], request["path"]) == ("POST", "/hub/api/users/student01/servers/told")
    assert (request["status"], request["user"]) == (answer.status_code, "student01")
    ended = _ask(way, token, "DELETE", "users/student01/servers/told").headers["X-Request-Id"]
    wait_for(
        lambda: [one for one in events(way) if (one["event"], one.get("request")) == ("session.ended", ended)],
        "the end is not told",
    )


def test_a_refusal_has_its_number_too(way, wait_for):
    number = way.browser().post(f"{way.url}/hub/api/users", timeout=30).headers["X-Request-Id"]
    # It is told once the answer is on its way.
    (line,) = wait_for(lambda: [one for one in events(way) if one.get("request") == number], "the refusal is not told")
    assert (line["status"], line["event"]) == (403, "request")


def test_the_token_of_the_metrics_opens_the_metrics_and_nothing_else(way):
    answer = _ask(way, METRICS_TOKEN, "GET", "metrics")
    assert answer.status_code == 200
    assert 'davide_sessions{profile="one-gpu",state="running"}' in answer.text
    assert 'davide_slurm_query_seconds_count{question="queue"}' in answer.text
    asked = [_ask(way, METRICS_TOKEN, "GET", path).status_code for path in ("users", "proxy", "users/student01")]
    assert asked == [403, 403, 403]
    assert way.browser().get(f"{way.url}/hub/metrics", timeout=30).status_code == 403


def test_no_token_of_the_provider_is_in_the_hubs_log(way):
    way.provider.claims = {"preferred_username": "student01", "canary": "made-up-canary"}
    before = len(way.provider.issued)
    way.log_in(way.browser())
    log = way.log.read_text()
    assert len(way.provider.issued) == before + 1
    assert "student01" in log, "it is the log that this went to"
    assert not any(part in log for part in way.provider.issued[-1].split(".")[1:])
    assert SECRET not in log


def test_the_log_tells_on_one_line_what_was_asked_and_from_where(way, wait_for):
    browser = way.browser()
    way.log_in(browser)
    asked = f"{way.url}/hub/api/users/student01/servers/a%0A%5BI%5D%20all%20is%20well%1B%5B2J"
    headers = {"X-Forwarded-For": "192.0.2.77, 198.51.100.9", "X-Real-Ip": "192.0.2.77", "Referer": f"{way.url}/hub/"}
    crumb = max((cookie for cookie in browser.cookies if cookie.name == "_xsrf"), key=lambda one: len(one.path)).value
    reply = browser.delete(asked, headers={**headers, "X-XSRFToken": crumb}, timeout=30)
    assert reply.status_code == 404, reply.text
    # It is told once the answer is on its way.
    request = "all%20is%20well%1B%5B2J (198.51.100.9): "
    wait_for(lambda: request in way.log.read_text(), "the request is not in the log")
    log = way.log.read_text()
    assert r"no server named 'a\n[I] all is well\x1b[2J'" in log
    assert not [line for line in log.splitlines() if line.strip().startswith("[I] all is well")]
    assert "192.0.2.77" not in log


def test_a_class_that_comes_at_once_finds_room_before_the_door(way):
    # Of a socket that listens, ss calls the room for those who wait Send-Q.
    command = ["ss", "--listening", "--tcp", "--numeric", "--no-header", f"sport = :{urlsplit(way.url).port}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert shown[0] == "LISTEN"
    assert int(shown[2]) == min(4096, most)
