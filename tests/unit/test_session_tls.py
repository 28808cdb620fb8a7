"""A whole session as a process, over TLS from both sides (the hub is a stand-in, see fake_hub.py)."""

import json
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from http.client import BadStatusLine, HTTPConnection

import pytest
import requests
import websocket
from davide_hub.certificates import HubCertificates, prepare, session_host
from davide_session.tls import SessionTls
from fake_hub import TOKEN, USER, FakeHub
from support.cluster import ROOT
from support.session_process import START, make_kernel, run_cell, write_entry_points

HOST = session_host("gpu01", "a1")
AUTHORIZED = {"Authorization": f"token {TOKEN}"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    prepare(folder, "127.0.0.1")
    return HubCertificates(folder)


@pytest.fixture(scope="module")
def session(tls, tmp_path_factory):
    """Yield the stand-in hub to which a session has called home, and the session's process."""
    top = tmp_path_factory.mktemp("session")
    make_kernel(top / "software/share/jupyter/kernels", "tf-cpu")
    with FakeHub(tls=tls.server_context()) as hub:
        secrets = top / "environment.json"
        secrets.write_text(json.dumps(hub.environment() | tls.for_session("a1")))
        secrets.chmod(0o600)
        path = [str(ROOT / "hub"), str(write_entry_points(top / "installed"))]
        command = [sys.executable, "-I", "-c", START.format(path=path)]
        command += ["--environment", secrets, "--software", top / "software", "--kernel", "tf-cpu", "--course", "c"]
        with (top / "session.log").open("wb") as log:
            environment = {"HOME": str(top), "PATH": "/usr/bin:/bin"}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            assert hub.heard.wait(60), (top / "session.log").read_text()
            yield hub, process
        finally:
            process.terminate()
            process.wait(30)


def as_proxy(tls: HubCertificates) -> ssl.SSLContext:
    """Return how configurable-http-proxy calls a session."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tls.folder / "proxy.crt", tls.folder / "proxy.key")
    context.load_verify_locations(tls.folder / "known.crt")
    return context


def ask(session, context: ssl.SSLContext, path: str, method: str = "GET", body: str | None = None) -> dict:
    """Return the session's answer to whoever has this context, by the name that a route would have."""
    plain = socket.create_connection(("127.0.0.1", session[0].calls[0]["port"]), timeout=30)
    connection = HTTPConnection(HOST)
    connection.sock = context.wrap_socket(plain, server_hostname=HOST)
    with closing(connection):
        connection.request(method, f"/user/{USER}{path}", body=body, headers=AUTHORIZED)
        return json.loads(connection.getresponse().read())


def test_the_proxy_is_served_and_nobody_else(session, tls, tmp_path):
    """A neighbour's certificate is as valid as ours, and even our token does not help him."""
    assert "kernels" in ask(session, as_proxy(tls), "/api/status")
    neighbour = SessionTls.take(tls.for_session("b2"), tmp_path)
    assert neighbour is not None
    context = neighbour.client_context()
    context.load_verify_locations(tls.folder / "known.crt")
    with pytest.raises((ssl.SSLError, ConnectionError, BadStatusLine)):
        ask(session, context, "/api/status")


def test_plain_http_is_not_spoken(session):
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{session[0].calls[0]['port']}/", timeout=30)


def test_a_kernel_runs_and_inherits_no_key(session, tls):
    kernel = ask(session, as_proxy(tls), "/api/kernels", "POST", '{"name": "tf-cpu"}')["id"]
    channel = websocket.create_connection(
        f"wss://127.0.0.1:{session[0].calls[0]['port']}/user/{USER}/api/kernels/{kernel}/channels",
        header=[f"Authorization: token {TOKEN}"],
        sslopt={"context": as_proxy(tls), "server_hostname": HOST},
        timeout=60,
    )
    with closing(channel):
        assert run_cell(channel, "import os; print([name for name in os.environ if '_TLS_' in name])") == "[]\n"
