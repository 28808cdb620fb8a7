"""What one request, and one host, may ask of the hub: on a real server. Another host is 127.0.0.2."""

import asyncio
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from davide_hub import bounds
from davide_hub.turnstile import PacedApplication
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import RequestHandler

HEAD = "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n"


class Length(RequestHandler):
    """Answers with the length of the body."""

    lengths: ClassVar[list[int]] = []

    def post(self):
        self.lengths.append(len(self.request.body))
        self.write(str(len(self.request.body)))


@asynccontextmanager
async def listening():
    """Run a server, and yield a function that connects from an address."""
    server, opened = HTTPServer(PacedApplication([("/", Length)])), []
    listener, port = bind_unused_port()
    server.add_socket(listener)

    async def connect(address="127.0.0.2"):
        opened.append(await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)))
        return opened[-1]

    try:
        yield connect
    finally:
        for _, writer in opened:
            writer.close()
        server.stop()


async def ask(connection, body="hello"):
    """Return what a body is answered with; nothing if the server hangs up."""
    reader, writer = connection
    writer.write((HEAD.format(len(body)) + body).encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        return (await reader.readexactly(len(str(len(body))))).decode() if b" 200 " in head else head.decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""


def run(test):
    """Run a coroutine on a server; ten seconds are for ever."""

    async def on_server():
        async with asyncio.timeout(10), listening() as connect:
            return await test(connect)

    return asyncio.run(on_server())


def test_a_body_that_is_too_long_is_refused_before_it_is_sent():
    async def announce(connect):
        reader, writer = await connect()
        writer.write(HEAD.format(bounds.BODY_BYTES + 1).encode())
        return await reader.readline()

    assert b" 400 " in run(announce)


def test_the_longest_body_is_read():
    async def send(connect):
        return await ask(await connect(), "x" * bounds.BODY_BYTES)

    assert run(send) == str(bounds.BODY_BYTES)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.1)

    async def dawdle(connect):
        reader, writer = await connect()
        writer.write(HEAD.format(2).encode() + b"x")
        return await reader.read()

    assert run(dawdle) == b""


@pytest.fixture
def three(monkeypatch):
    """Allow three connections of another host."""
    monkeypatch.setattr(bounds, "CONNECTIONS_OF_A_HOST", 3)


def test_one_host_does_not_get_all_the_connections(three, caplog):
    async def take_all(connect):
        held = [await connect() for _ in range(3)]
        return [await ask(one) for one in (*held, await connect())]

    assert run(take_all) == ["5", "5", "5", ""]
    assert "closing a connection from 127.0.0.2, which holds 3" in caplog.text


def test_a_connection_counts_once_and_no_longer_than_it_lasts(three):
    async def come_and_go(connect):
        held = [await connect() for _ in range(3)]
        answers = [await ask(one) for one in held * 3]
        held[0][1].close()
        while not (answer := await ask(await connect())):
            await asyncio.sleep(0)
        return [*answers, answer]

    assert set(run(come_and_go)) == {"5"}


def test_the_hosts_own_proxy_speaks_for_everybody(three):
    async def crowd(connect):
        return [await ask(await connect("127.0.0.1")) for _ in range(10)]

    assert run(crowd) == ["5"] * 10


def test_a_hub_that_ends_answers_nobody_any_more():
    async def leave(connect):
        kept = await connect("127.0.0.1")
        assert await ask(kept) == "5"
        Length.lengths.clear()
        PacedApplication.leaving = True
        return await ask(kept), list(Length.lengths)

    try:
        # Neither does it do what the request says.
        assert run(leave) == ("", [])
    finally:
        PacedApplication.leaving = False
