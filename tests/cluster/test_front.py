"""The front: TLS with the site's certificate, a name for each user, the browser's true address, and its queue."""

import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from support.person import log_in
from support.web import browser, open_websocket, request, send_log_in

FORGED = "203.0.113.9"


@pytest.fixture(scope="module")
def person(cluster, wait_for):
    """Yield a student with a session."""
    one = log_in(cluster, "student02")
    one.stop(wait_for)
    one.start(wait_for)
    yield one
    one.stop(wait_for)


def certificate(cluster) -> str:
    """Return the certificate that browsers are shown, as PEM."""
    parts = urlsplit(cluster.hub_url)
    return ssl.get_server_certificate((parts.hostname, parts.port))


def test_the_certificate_is_for_the_hub_and_for_users_and_believed_through_its_authority_alone(cluster):
    own = cluster.user_url("student02")
    assert browser().get(f"{cluster.hub_url}/hub/health", timeout=30).status_code == 200
    assert browser().get(own, timeout=30, allow_redirects=False).is_redirect
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{cluster.hub_url}/hub/health", timeout=30)


def test_without_tls_and_by_another_name_people_are_led_to_the_right_address(cluster):
    parts = urlsplit(cluster.hub_url)
    plain = requests.get(f"http://{parts.netloc}/hub/login?a=b", timeout=30, allow_redirects=False)
    assert (plain.status_code, plain.headers["Location"]) == (301, f"{cluster.hub_url}/hub/login?a=b")
    # The certificate is not for a number: that is what somebody comes by who typed one.
    number = f"https://127.0.0.1:{parts.port}/x"
    other = requests.get(number, timeout=30, allow_redirects=False, verify=False)  # noqa: S501
    assert (other.status_code, other.headers["Location"]) == (302, f"{cluster.hub_url}/")


def test_the_hubs_pages_are_on_its_own_name_only(cluster, person):
    own = cluster.user_url(person.name).removesuffix(f"/user/{person.name}")
    for path in ("/hub/home", "/hub/api/users", "/hub/login", "/hub/../hub/admin"):
        answer = request("GET", own + path, timeout=30, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"].startswith(f"{cluster.hub_url}/hub/")) == (302, True)
    assert request("GET", f"{own}/hub/davide/davide.css", timeout=30).status_code == 200
    # The twin: the session itself is there, and nowhere else.
    assert "kernels" in person.ask_session("GET", "/api/status").json()
    elsewhere = request("GET", f"{cluster.hub_url}/user/{person.name}/api/status", timeout=30, allow_redirects=False)
    assert elsewhere.status_code == 302


def test_a_new_certificate_is_shown_after_a_reload_which_drops_no_connection(cluster, person, wait_for):
    headers = {"Authorization": f"token {person.token}"}
    kernel = person.ask_session("POST", "/api/kernels").json()["id"]
    address = f"{cluster.user_url(person.name)}/api/kernels/{kernel}/channels"
    socket = open_websocket(address, timeout=30, header=[f"{name}: {text}" for name, text in headers.items()])
    before = certificate(cluster)
    cluster.output(
        "hub01",
        "rm /etc/davide-hub/front/site.crt; /opt/davide/envs/hub/bin/davide-hub trial-certificate "
        "--site /etc/davide-hub/site.yml --key-group davide-front; systemctl reload davide-front",
    )
    wait_for(lambda: certificate(cluster) != before, "the new certificate", 20)
    socket.ping("still there")
    assert socket.recv_frame().opcode != 8, "a closing frame"
    socket.close()
    assert browser().get(f"{cluster.hub_url}/hub/health", timeout=30).status_code == 200


def test_an_address_that_the_browser_makes_up_is_not_believed(cluster):
    web = browser()
    web.headers.update({"X-Forwarded-For": FORGED, "X-Real-IP": FORGED})
    assert send_log_in(web, cluster.hub_url, "student02", cluster.password("student02")).status_code == 200
    trail = cluster.output("hub01", "/opt/davide/envs/hub/bin/davide-hub audit --user student02 --json | tail -n 3")
    assert '"login"' in trail
    assert FORGED not in trail


def test_a_body_that_is_too_big_for_the_hub_is_refused_and_for_a_session_it_is_an_upload(cluster, person):
    big = "x" * 3_000_000
    refused = request("POST", f"{cluster.hub_url}/hub/login", data={"username": big}, timeout=30)
    assert refused.status_code == 413
    headers = {"Authorization": f"token {person.token}"}
    taken = request(
        "PUT",
        f"{cluster.user_url(person.name)}/api/contents/upload.txt",
        headers=headers,
        json={"type": "file", "format": "text", "content": big},
        timeout=60,
    )
    assert taken.status_code in (200, 201)
    assert cluster.as_user(person.name, "wc -c < upload.txt; rm upload.txt").stdout.strip() == str(len(big))


PEOPLE = {"Accept": "text/html"}


def test_starts_that_come_together_go_on_one_by_one_and_nothing_else_waits_for_them(cluster):
    # Nobody is logged in here: the hub says no to each, as soon as it hears of it.
    def post(path: str) -> tuple[int, float]:
        answer = request("POST", f"{cluster.hub_url}/hub/{path}", timeout=60, allow_redirects=False)
        return answer.status_code, time.monotonic()

    with ThreadPoolExecutor(60) as crowd:
        begun = time.monotonic()
        starts = [crowd.submit(post, "spawn") for _ in range(60)]
        came = sorted(one.result() for one in starts)
        others = [crowd.submit(post, "nothing-there") for _ in range(60)]
        assert {one.result()[0] for one in others} <= {403, 404, 405}
    assert {code for code, _ in came} == {403}, "a start was refused instead of kept waiting"
    # 100 a second: the last of 60 comes no earlier than that, however fast the hub is.
    assert max(when for _, when in came) - begun >= 0.59


def test_while_the_proxy_is_away_people_are_told_so_and_sessions_go_on(cluster, person, wait_for):
    kernel = person.ask_session("POST", "/api/kernels").json()["id"]
    cluster.output("hub01", "systemctl stop jupyterhub-proxy")
    try:
        for page in (f"{cluster.hub_url}/hub/home", f"{cluster.user_url(person.name)}/lab"):
            answer = request("GET", page, headers={"Accept": "text/html"}, timeout=30)
            assert answer.status_code == 502
            assert "Sessions that run go on running" in answer.text
            assert answer.headers["Retry-After"] == "5"
            # Written by the front alone: nobody opens it by its own name.
            assert request("GET", urljoin(page, "/davide-hub.html"), timeout=30).status_code == 404
    finally:
        cluster.output("hub01", "systemctl start jupyterhub-proxy")
    wait_for(lambda: person.ask_session("GET", f"/api/kernels/{kernel}").ok, "the session behind a new proxy", 60)
