"""Who may call what on the hub's host: from a node, from another host, from a student's shell, and after mishaps."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from functools import partial

import pytest
import requests
import yaml
from support.cluster import davide
from support.web import request

TABLE = "nft --stateless list table inet davide_hub"
CALL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()"
# Says a word to whoever comes, until it is killed.
SERVE = (
    "import socket, sys; server = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
    "while True: server.accept()[0].sendall(b'word')"
)
HEAR = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).recv(4).decode())"


@pytest.fixture(scope="module")
def hub(cluster):
    """Return the facts about the hub's host."""
    return yaml.safe_load(cluster.output("hub01", "cat /etc/davide-hub/site.yml"))["site"]["hub"]


@contextmanager
def served(cluster, wait_for, user: str, address: str, port: int):
    """Let an account serve a port of the hub's host."""
    command = f"setpriv --reuid {user} --clear-groups setsid python3 -Ic {shlex.quote(SERVE)} {address} {port}"
    pid = cluster.output("hub01", f"{command} > /dev/null 2>&1 & echo $!")
    try:
        wait_for(
            lambda: cluster.output("hub01", f"ss -Htln 'sport = :{port} and src {address}'"), f"{user} to serve {port}"
        )
        yield
    finally:
        cluster.run("hub01", f"kill {pid}")


def python(code: str, *words: object) -> str:
    return f"python3 -Ic {shlex.quote(code)} {' '.join(map(str, words))}"


def how(cluster, host: str, address: str, port: int, user: str = "root") -> str:
    """Return what comes of a call: "heard" or the system's word for why not."""
    done = cluster.run(host, f"setpriv --reuid {user} --clear-groups {python(CALL, address, port)}")
    if done.returncode == 0:
        return "heard"
    return done.stderr.strip().splitlines()[-1].partition("Error: ")[2]


REFUSED = "[Errno 111] Connection refused"


def test_nodes_call_the_hub_and_no_other_host_does(cluster, hub):
    for node in ("gpu01", "gpu02", "hub01"):
        assert how(cluster, node, hub["address"], hub["api_port"]) == "heard"
    assert how(cluster, "ctl01", hub["address"], hub["api_port"]) == REFUSED
    assert how(cluster, "ctl01", hub["address"], hub["port"]) == "heard"


@pytest.mark.parametrize("which", ["proxy_port", "proxy_api_port"])
def test_no_host_calls_the_proxy_wherever_it_listens(cluster, hub, wait_for, which):
    """It listens on the loopback address alone; here something listens at its port on the network."""
    other = 8999
    with (
        served(cluster, wait_for, "root", hub["address"], hub[which]),
        served(cluster, wait_for, "root", hub["address"], other),
    ):
        for host in ("gpu01", "ctl01"):
            assert how(cluster, host, hub["address"], hub[which]) == REFUSED
            assert how(cluster, host, hub["address"], other) == "heard", "other ports are none of our business"


@pytest.mark.parametrize(
    ("which", "who"), [("proxy_port", "davide-front"), ("proxy_api_port", "davide-hub")], ids=["proxy", "its API"]
)
def test_on_the_hubs_host_one_account_asks_the_proxy(cluster, hub, which, who):
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        assert how(cluster, "hub01", address, hub[which], who) == "heard"
        for other in {"student01", "davide-front", "davide-hub"} - {who}:
            assert how(cluster, "hub01", address, hub[which], other) == REFUSED
    assert how(cluster, "hub01", "127.0.0.1", hub["port"], "student01") == "heard"


@pytest.mark.parametrize(("who", "heard"), [("student01", False), ("nobody", False), ("root", True)])
@pytest.mark.parametrize("which", ["proxy_port", "proxy_api_port"])
def test_nobody_answers_in_the_proxys_place(cluster, hub, wait_for, which, who, heard):
    """A student listens at its port, and waits for what comes: cookies, or the token of its API."""
    with served(cluster, wait_for, who, hub["address"], hub[which]):
        done = cluster.run("hub01", python(HEAR, hub["address"], hub[which]))
        assert (done.stdout.strip() == "word") is heard, done.stderr


def test_the_sites_own_rules_may_flush_all(cluster, wait_for):
    """Debian's nftables.service begins with "flush ruleset", and ends with it."""
    before = cluster.output("hub01", TABLE)
    assert "flush ruleset" in cluster.output("hub01", "cat /etc/nftables.conf")
    try:
        # As at boot: first theirs, then ours.
        cluster.output("hub01", "systemctl start nftables; systemctl restart davide-firewall")
        for verb in ("restart", "reload", "stop", "start"):
            cluster.output("hub01", f"systemctl {verb} nftables")
            # systemctl waits for the unit that it is told of, and not for ours, which goes with it.
            wait_for(partial(_is, cluster, before, verb != "stop"), f"our rules after {verb}", 20)
    finally:
        cluster.output("hub01", "systemctl stop nftables; systemctl start davide-firewall")
    assert cluster.output("hub01", TABLE) == before


def _is(cluster, table, wanted):
    return (cluster.run("hub01", TABLE).stdout.strip() == table) is wanted


def test_the_rules_are_there_before_the_hub_is(cluster, wait_for):
    before = cluster.output("hub01", TABLE)
    assert davide("host", "reboot", "hub01").returncode == 0
    wait_for(lambda: _answers(cluster), "the hub to answer", 90)
    assert cluster.output("hub01", TABLE) == before
    loaded, *others = (
        int(cluster.output("hub01", f"systemctl show -P {which} {unit}"))
        for which, unit in (
            ("ExecMainExitTimestampMonotonic", "davide-firewall"),
            ("ExecMainStartTimestampMonotonic", "jupyterhub-proxy"),
            ("ExecMainStartTimestampMonotonic", "jupyterhub"),
        )
    )
    assert 0 < loaded <= min(others)


def _answers(cluster) -> bool:
    try:
        return request("GET", f"{cluster.hub_url}/hub/health", timeout=10).status_code == 200
    except requests.RequestException:
        return False
