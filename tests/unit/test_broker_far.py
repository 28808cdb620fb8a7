"""A hub and a broker on two hosts: real TLS on loopback, and what strangers on the network come to."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub.broker import audit as trail
from davide_hub.broker import far, server, tls, verbs
from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable, reached_at
from davide_hub.broker.far import FarServer
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.protocol import Answer, Ban
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.tls import FarSocket, broker_context, hub_context
from davide_hub.broker.verbs import SiteFile
from davide_hub.certificates import prepare_broker
from davide_hub.facts import load_site
from davide_hub.plan import Wishes
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.slurm import SlurmView, through
from davide_hub.states import UNKNOWN, Phase
from support.broker import verbs_over
from support.pretend import ACCOUNTS, pretended

HEADER = "JOBID|STATE|EXEC_HOST|UID|PARTITION|PRIORITY|SUBMIT_TIME|START_TIME|END_TIME|REASON\n"

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the certificates of broker and hub."""
    made = tmp_path_factory.mktemp("broker-tls")
    assert prepare_broker(made, ADDRESS) == ["authority", "broker", "hub"]
    return made


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Return the certificates that somebody else's authority has made, under the same names."""
    made = tmp_path_factory.mktemp("strangers")
    prepare_broker(made, ADDRESS)
    return made


@pytest.fixture
def broker(tmp_path, monkeypatch):
    """Return the broker's verbs over a pretended Slurm; student01 is logged in."""
    pretended(monkeypatch)
    tickets = Tickets(tmp_path / "tickets")
    tickets.give("student01", ACCOUNTS["student01"].uid)
    site = SiteFile(SITE)
    keeper = SessionKeeper(
        site.read, ROOT / "spawner_templates", tickets, Ledger(tmp_path / "ledger"), Marker("0" * 8, b"key")
    )
    return verbs_over(tmp_path, site, keeper)


@pytest.fixture
def listening(broker, folder, monkeypatch):
    """Return a function that lets the broker listen, and returns where."""
    # What machine the tests run on is not known; those who are to be sent away shorten what they wait for.
    monkeypatch.setattr("davide_hub.broker.client._PAGE_SECONDS", 60)
    monkeypatch.setattr(far, "_HANDSHAKE_SECONDS", 60)
    with ExitStack() as stack:

        def listen(places: int = 64, certificates: Path = folder) -> FarSocket:
            made = stack.enter_context(FarServer(ADDRESS, 0, broker_context(certificates), broker, places))
            threading.Thread(target=made.serve_forever, args=(0.05,)).start()
            stack.callback(made.shutdown)
            return FarSocket(ADDRESS, made.server_address[1], folder)

        yield listen


def asks(where: FarSocket) -> bool:
    """Return whether student01 holds a ticket, by the broker's word."""
    return asyncio.run(BrokerClient(where).holds_ticket("student01"))


@contextmanager
def connected(where: FarSocket):
    """Yield a bare connection to the broker."""
    with socket.create_connection((where.address, where.port), timeout=60) as made:
        yield made


def heard(where: FarSocket, context: ssl.SSLContext, line: bytes) -> bytes:
    """Return what the broker says to somebody with this context; nothing if it hangs up."""
    try:
        with connected(where) as plain, context.wrap_socket(plain, server_hostname=ADDRESS) as secure:
            secure.sendall(line)
            return secure.makefile("rb").readline()
    except (ssl.SSLError, ConnectionError):
        return b""  # in TLS 1.3 a client learns of it with its first read


TICKET = b'{"verb": "ticket", "user": "student01"}\n'


# -- who is heard


def test_a_hub_on_another_host_is_answered_as_one_on_this(listening, broker):
    client = BrokerClient(listening())

    async def scenario():
        job = await client.submit("student01", "two", Wishes("one-gpu"), "ab12", {"JUPYTERHUB_API_TOKEN": "t"})
        hub, entries = await client.sessions()
        told = await client.look("student01", "ab12")
        return job, hub, [entry.key for entry in entries], told["state"], await client.cancel("student01", "ab12")

    assert asyncio.run(scenario()) == ("1", "0" * 8, ["ab12"], "RUNNING", False)
    with pytest.raises(BrokerRefused) as refusal:
        asyncio.run(client.submit("student02", "", Wishes("one-gpu"), "cd34", {}))
    assert refusal.value.kind == "no_ticket"


def test_who_asked_is_in_the_trail(listening, tmp_path):
    client = BrokerClient(listening())
    asyncio.run(client.submit("student01", "", Wishes("one-gpu"), "ab12", {"JUPYTERHUB_API_TOKEN": "t"}))
    (line,) = trail.read(tmp_path / "audit")
    assert (line["verb"], line["user"], line["caller"]) == ("submit", "student01", f"hub@{ADDRESS}")


def test_without_a_certificate_nobody_is_heard(listening, folder):
    """The twin: the same words with the hub's certificate."""
    where = listening()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "authority.crt")
    assert heard(where, context, TICKET) == b""
    assert b'"value":"yes"' in heard(where, hub_context(folder), TICKET)


def test_the_same_name_from_another_authority_is_not_heard(listening, folder, strangers):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(strangers / "hub.crt", strangers / "hub.key")
    context.load_verify_locations(folder / "authority.crt")
    assert heard(listening(), context, TICKET) == b""


def test_another_name_is_not_the_hub(listening, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(folder / "broker.crt", folder / "broker.key")
    context.load_verify_locations(folder / "authority.crt")
    answer = json.loads(heard(listening(), context, TICKET))
    assert (answer["kind"], answer["sentence"]) == ("not_allowed", "Only the hub may ask the broker.")


def test_an_old_tls_is_not_spoken(listening, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(folder / "hub.crt", folder / "hub.key")
    context.load_verify_locations(folder / "authority.crt")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert heard(listening(), context, TICKET) == b""


def test_roots_orders_do_not_come_from_another_host(listening, broker):
    with pytest.raises(BrokerRefused, match="Only root may give this order, on the broker's host"):
        asyncio.run(BrokerClient(listening()).order(Ban(user="student01")))
    assert broker.outcasts.ban_of("student01") is None


@pytest.mark.parametrize("words", [TICKET, b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 100_000])
def test_what_is_no_tls_is_hung_up_on_and_told_in_the_journal(listening, caplog, words):
    where = listening()
    said = b""
    with connected(where) as plain, suppress(OSError):  # it may be hung up on before it has said all
        plain.sendall(words)
        plain.shutdown(socket.SHUT_WR)
        said = plain.recv(4096)
    assert b"ok" not in said
    assert asks(where)
    line = json.loads(next(one for one in caplog.messages if "tls" in one))
    assert (line["caller"], line["refused"], line["since_the_last_line"]) == (f"stranger@{ADDRESS}", "tls", 1)


# -- whom the hub believes


@pytest.mark.parametrize("whose", ["another authority", "the hub's own"])
def test_the_hub_tells_a_false_broker_nothing(listening, folder, strangers, tmp_path, broker, monkeypatch, whose):
    """The twin: the true broker, which the same hub asks."""
    false = strangers
    if whose == "the hub's own":  # whoever has the hub's key can't pass for the broker with it
        false = tmp_path / "false"
        false.mkdir()
        for name, source in (("broker.crt", "hub.crt"), ("broker.key", "hub.key"), ("authority.crt", "authority.crt")):
            (false / name).write_bytes((folder / source).read_bytes())
    asked = []
    monkeypatch.setattr(broker, "answer", lambda *request: asked.append(request) or Answer(value="yes"))
    with pytest.raises(BrokerUnreachable):
        asks(listening(certificates=false))
    assert asked == []
    assert asks(listening())


def test_hub_and_broker_that_do_not_know_each_other_say_so(listening, strangers, caplog):
    with pytest.raises(BrokerUnreachable, match="Try again in a minute"):
        asks(listening(certificates=strangers))
    assert "do not believe each other" in caplog.text


def test_a_broker_that_is_not_there_is_told_in_a_sentence(folder, monkeypatch):
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.3)
    with socket.socket() as reserved:
        reserved.bind((ADDRESS, 0))
        with pytest.raises(BrokerUnreachable, match="Try again in a minute"):
            asks(FarSocket(ADDRESS, reserved.getsockname()[1], folder))


def test_a_broker_that_is_being_restarted_is_waited_for(listening, folder, broker):
    with socket.socket() as reserved:
        reserved.bind((ADDRESS, 0))
        port = reserved.getsockname()[1]

    async def scenario():
        asking = asyncio.create_task(BrokerClient(FarSocket(ADDRESS, port, folder)).holds_ticket("student01"))
        await asyncio.sleep(0)
        with FarServer(ADDRESS, port, broker_context(folder), broker) as back:
            serving = threading.Thread(target=back.serve_forever, args=(0.05,))
            serving.start()
            answer = await asking
            back.shutdown()
            return answer

    assert asyncio.run(scenario())


def test_new_certificates_are_shown_without_a_restart(listening, folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = hub_context(tmp_path)
    assert hub_context(tmp_path) is before
    (tmp_path / "hub.key").unlink()
    (tmp_path / "hub.crt").unlink()
    assert prepare_broker(tmp_path, ADDRESS) == ["hub"]
    assert hub_context(tmp_path) is not before
    assert asks(FarSocket(ADDRESS, listening().port, tmp_path))


# -- strangers who stay


def test_those_who_say_nothing_keep_nobody_waiting(listening):
    where = listening()
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(where)) for _ in range(30)]
        half = [stack.enter_context(connected(where)) for _ in range(10)]
        for one in half:
            one.sendall(b"\x16\x03\x01\x02\x00\x01")  # how a handshake begins
        assert asks(where)
        for one in (*silent, *half):
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)  # still there, and not what was waited for


def test_when_all_places_are_taken_the_oldest_stranger_goes(listening):
    where = listening(places=4)
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(where)) for _ in range(6)]
        assert [one.recv(1) for one in silent[:2]] == [b"", b""]
        assert asks(where)
        assert silent[2].recv(1) == b"", "it made room for the hub"
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)


def test_a_handshake_that_drips_is_given_up(listening, monkeypatch):
    monkeypatch.setattr(far, "_HANDSHAKE_SECONDS", 0.3)
    where, over, sent = listening(), threading.Event(), []
    with connected(where) as slow:

        def drip() -> None:
            with suppress(OSError):
                while not over.wait(0.05):
                    slow.sendall(b"\x16")
                    sent.append(1)

        slow.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the first 11 of 517 bytes
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            slow.recv(1)
        except ConnectionError:
            pass
        finally:
            over.set()
            dripping.join()
    assert len(sent) < 506, "it was hung up on before it was whole"
    monkeypatch.setattr(far, "_HANDSHAKE_SECONDS", 60)
    assert asks(where)


def test_no_more_requests_are_worked_on_than_there_are_places(listening, broker, monkeypatch, caplog):
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.5)
    where, go_on, begun = listening(places=2), threading.Event(), threading.Semaphore(0)

    def wait(*_):
        begun.release()
        assert go_on.wait(60)
        return Answer(value="yes")

    monkeypatch.setattr(broker, "answer", wait)
    answers: list[bool] = []
    askers = [threading.Thread(target=lambda: answers.append(asks(where))) for _ in range(2)]
    for one in askers:
        one.start()
    for _ in askers:
        assert begun.acquire(timeout=60)
    with pytest.raises(BrokerUnreachable):
        asks(where)
    go_on.set()
    for one in askers:
        one.join()
    assert answers == [True, True]
    assert "all places are taken" in caplog.text
    assert asks(where), "the places are free again"


def test_strangers_do_not_fill_the_journal(listening, caplog, monkeypatch):
    monkeypatch.setattr(far, "_LINE_EVERY_SECONDS", 600)
    where = listening()
    for _ in range(20):
        with connected(where) as one, suppress(ConnectionError):
            one.sendall(TICKET)
            one.recv(4096)  # until it hangs up
    assert asks(where)
    assert len([one for one in caplog.messages if "stranger" in one]) == 1


def test_the_end_waits_for_what_was_begun(broker, folder, monkeypatch):
    go_on, begun, done, answers = threading.Event(), threading.Event(), [], []
    monkeypatch.setattr("davide_hub.broker.client._PAGE_SECONDS", 60)

    def wait(*_):
        begun.set()
        assert go_on.wait(60)
        done.append(1)
        return Answer(value="yes")

    monkeypatch.setattr(broker, "answer", wait)
    with far.serving(f"{ADDRESS}:0", folder, broker) as made:
        where = FarSocket(ADDRESS, made.server_address[1], folder)
        asker = threading.Thread(target=lambda: answers.append(asks(where)))
        asker.start()
        assert begun.wait(60)
        threading.Timer(0.5, go_on.set).start()
    assert done == [1]
    asker.join()
    assert answers == [True]


@pytest.mark.parametrize("listen", ["127.0.0.1:x", "192.0.2.1:8443", "no-such-host.invalid:8443"])
def test_where_nobody_can_listen_it_is_said_what_to_look_at(broker, folder, listen):
    with (
        pytest.raises(SystemExit, match=f"can't listen on {listen}.*see site.broker"),
        far.serving(listen, folder, broker),
    ):
        pass


# -- what the hub asks Slurm through the broker


def test_what_slurm_says_comes_through_as_it_is(listening, broker):
    asked = []
    outcome = Outcome(1, "JOBID|é\n\x00", "slurm_load_jobs error: Invalid job id specified\n")
    broker.ask_slurm = lambda *question: asked.append(question) or outcome
    ask = through(BrokerClient(listening()))
    assert asyncio.run(ask("queue", frozenset({"21", "20"}))) == outcome
    assert asyncio.run(ask("marks", frozenset())) == outcome
    assert asked == [("queue", ("20", "21")), ("marks", ())]


def view_of(client: BrokerClient, job: str = "20"):
    """Return a view that has asked once, and what it knows of the job."""
    view = SlurmView(through(client))
    return view, asyncio.run(view.look(job))


def test_a_view_through_the_broker_sees_jobs_and_honest_absence(listening, broker):
    answers = {"queue": Outcome(0, HEADER + "20|RUNNING|gpu01|6004|prod|7|1764440000|1764440002|1764447202|None\n")}
    broker.ask_slurm = lambda question, _jobs: answers.get(question, Outcome(0, ""))
    client = BrokerClient(listening())
    view, job = view_of(client)
    assert (job.phase, job.node, view.silent) == (Phase.RUNNING, "gpu01", False)
    view, job = view_of(client, "21")
    assert (job, view.silent, view.missing("21")) == (UNKNOWN, False, True)


def _silent(*_):
    raise SlurmSilent("squeue took more than 15 s")


@pytest.mark.parametrize(
    "ask_slurm",
    [
        _silent,
        lambda *_: Outcome(0, ""),
        lambda *_: Outcome(0, HEADER + "20|RUN"),
        lambda *_: Outcome(1, "", "slurm_load_jobs error: Unable to contact slurm controller"),
        lambda *_: Outcome(-9, HEADER),
        None,
    ],
    ids=["too long", "empty", "cut off", "refused", "killed", "a broker that does not ask"],
)
def test_what_is_no_answer_is_silence_and_ends_nothing(listening, broker, ask_slurm):
    broker.ask_slurm = ask_slurm
    view, job = view_of(BrokerClient(listening()))
    assert (job, view.silent, view.missing("20")) == (UNKNOWN, True, False)


def test_a_broker_that_is_away_is_silence_and_ends_nothing(folder, monkeypatch):
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.2)
    with socket.socket() as reserved:
        reserved.bind((ADDRESS, 0))
        view, job = view_of(BrokerClient(FarSocket(ADDRESS, reserved.getsockname()[1], folder)))
    assert (job, view.silent, view.missing("20")) == (UNKNOWN, True, False)


def test_more_jobs_than_a_request_holds_are_silence(listening):
    ask = through(BrokerClient(listening()))
    with pytest.raises(SlurmSilent, match="1 to 4000 jobs"):
        asyncio.run(ask("queue", frozenset(map(str, range(4001)))))


def test_no_more_questions_run_at_once_than_slurm_may_feel(broker, monkeypatch):
    monkeypatch.setattr(verbs, "_QUESTION_WAIT_SECONDS", 0.1)
    for _ in range(verbs._QUESTIONS_AT_ONCE):
        assert broker._questions.acquire(blocking=False)
    broker.ask_slurm = lambda *_: Outcome(0, "")
    asked = verbs.AboutSlurm(question="version")
    assert broker.answer(asked).kind == "busy"
    broker._questions.release()
    assert json.loads(broker.answer(asked).value)["code"] == 0


# -- how a site says so


def test_the_sites_facts_say_where_the_broker_is(tmp_path):
    near = load_site(SITE)
    assert reached_at(near, Path("/socket"), Path("/tls")) == Path("/socket")
    text = SITE.read_text().replace(
        "  paths:\n", "  broker: {host: ctl01, address: 192.0.2.11, port: 8443}\n  paths:\n", 1
    )
    (tmp_path / "site.yml").write_text(text)
    there = reached_at(load_site(tmp_path / "site.yml"), Path("/socket"), Path("/tls"))
    assert there == FarSocket("192.0.2.11", 8443, Path("/tls"))


def test_the_socket_is_roots_alone_where_the_hub_is_far(monkeypatch, tmp_path, folder):
    """What `davide-broker --listen` sets up, up to where it would serve."""
    seen = SimpleNamespace()

    class Stopped(Exception):  # noqa: N818
        pass

    class Socket:
        def __init__(self, path, made, callers):
            seen.verbs, seen.callers = made, callers

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def let_connect(_path, group):
        seen.group = group
        raise Stopped

    nobody = SimpleNamespace(pw_name="davide-hub", pw_uid=990, pw_gid=991, pw_dir="/", pw_shell="/bin/false")
    monkeypatch.setattr(server.pwd, "getpwnam", lambda _name: nobody)
    monkeypatch.setattr(server.grp, "getgrnam", lambda _name: SimpleNamespace(gr_gid=991))
    monkeypatch.setattr(server, "Server", Socket)
    monkeypatch.setattr(server, "_let_connect", let_connect)
    usual = ["davide-broker", "--state", str(tmp_path), "--site", str(SITE)]
    for more, expected in (
        ([], ({0, 990}, 991, False)),
        (["--listen", f"{ADDRESS}:0", "--certificates", str(folder)], ({0}, 0, True)),
    ):
        monkeypatch.setattr("sys.argv", [*usual, *more])
        with pytest.raises(Stopped):
            server.main()
        assert (seen.callers, seen.group, seen.verbs.ask_slurm is not None) == expected
    assert seen.verbs.ask_slurm.keywords["account"].uid == 990
    nobody.pw_uid = 0
    with pytest.raises(SystemExit, match="is root"):
        server.main()


def test_the_name_of_the_hub_is_in_its_certificate_alone(folder):
    shown = {name: ssl._ssl._test_decode_cert(str(folder / f"{name}.crt")) for name in ("hub", "broker")}
    assert shown["hub"]["subjectAltName"] == (("DNS", tls.HUB_NAME),)
    assert shown["broker"]["subjectAltName"] == (("IP Address", ADDRESS),)
