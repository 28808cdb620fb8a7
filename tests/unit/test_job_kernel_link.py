"""What session and job tell each other arrives in order, each once, however often the connection breaks."""

import asyncio
import contextlib
import random

import pytest
from davide_session.environment import EnvironmentFileError
from davide_session.jobkernel import link
from davide_session.jobkernel.keys import Pair, context, make_pair, take_order, write_order
from davide_session.jobkernel.link import Link

MESSAGES = 400


class Cable:
    """Two ends on the loopback address, and connections that can be cut."""

    def __init__(self):
        self.got = {"session": [], "job": []}
        self.session = Link(lambda head, frames: self.got["session"].append((head["i"], frames)))
        self.job = Link(lambda head, frames: self.got["job"].append((head["i"], frames)))
        self.cut = []

    async def answer(self, reader, writer):
        self.cut.append(writer.transport)
        await self._carry(self.session, reader, writer)

    async def call(self, port):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            self.cut.append(writer.transport)
            await self._carry(self.job, reader, writer)

    async def _carry(self, end, reader, writer):
        try:
            await end.carry(reader, writer)
        except (OSError, EOFError, link.LinkBroken):
            writer.transport.abort()


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_or_doubled_on_a_line_that_is_cut_again_and_again(seed, monkeypatch):
    monkeypatch.setattr(link, "_BREATH_SECONDS", 0.05)
    chance = random.Random(seed)  # noqa: S311 - nobody has to guess it

    async def talk():
        cable = Cable()
        server = await asyncio.start_server(cable.answer, "127.0.0.1", 0)
        calling = asyncio.create_task(cable.call(server.sockets[0].getsockname()[1]))
        for number in range(MESSAGES):
            for end in (cable.session, cable.job):
                end.send("x", [bytes(chance.randrange(20_000))], i=number)
            if chance.random() < 0.05 and cable.cut:
                cable.cut.pop(chance.randrange(len(cable.cut))).abort()
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
        assert await cable.session.delivered(20)
        assert await cable.job.delivered(20)
        calling.cancel()
        server.close()
        for transport in cable.cut:
            transport.abort()
        await asyncio.sleep(0.05)
        return cable.got

    got = asyncio.run(talk())
    for heard in got.values():
        assert [number for number, _ in heard] == list(range(MESSAGES))


def test_a_silent_line_counts_as_broken(monkeypatch):
    monkeypatch.setattr(link, "SILENCE_SECONDS", 0.2)

    async def wait():
        async def say_nothing(_reader, writer):
            await asyncio.sleep(5)
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            await Link(lambda *_: None).carry(reader, writer)
        finally:
            writer.transport.abort()
            server.close()

    with pytest.raises(link.LinkBroken, match="nothing came"):
        asyncio.run(wait())


def greet(tmp_path, shown, trusted):
    """Connect with the pair `shown` to who trusts `trusted`; return what the caller is told."""
    server_pair = make_pair("session")

    async def talk():
        async def hello(_reader, writer):
            writer.write(b"hello")
            await writer.drain()
            writer.close()

        tls = context(server_pair, trusted.certificate, tmp_path, server=True)
        server = await asyncio.start_server(hello, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        mine = None
        if shown is not None:
            mine = context(shown, server_pair.certificate, tmp_path, server=False)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=mine)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.transport.abort()
            server.close()
            await asyncio.sleep(0.05)

    return asyncio.run(talk())


def test_only_who_has_the_one_certificate_is_heard(tmp_path):
    kernel, stranger = make_pair("kernel"), make_pair("kernel")
    assert greet(tmp_path, kernel, kernel) == b"hello"
    for nobody in (stranger, None):
        # TLS 1.3 tells the caller at its first read, or just ends.
        with contextlib.suppress(OSError):
            assert b"hello" not in greet(tmp_path, nobody, kernel)
    assert not list(tmp_path.iterdir()), "no key stays on the disk"


def test_the_order_is_for_its_user_alone_and_taken_once(tmp_path):
    path = write_order(tmp_path / "kernel", {"key": "secret", "argv": ["a"]})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert take_order(path) == {"key": "secret", "argv": ["a"]}
    with pytest.raises(EnvironmentFileError, match="can't be opened"):
        take_order(path)


def test_an_order_that_others_can_read_is_refused(tmp_path):
    path = write_order(tmp_path / "kernel", {})
    path.chmod(0o644)
    with pytest.raises(EnvironmentFileError, match="has mode 0644"):
        take_order(path)


def test_a_pair_is_not_shown_in_logs():
    assert "PRIVATE" not in repr(make_pair("x")) and "PRIVATE" not in str(Pair("c", "PRIVATE"))


class Nowhere:
    """A writer that nobody reads."""

    def write(self, _data):
        """Take some bytes."""

    def writelines(self, _data):
        """Take some more."""

    async def drain(self):
        """Wait for nothing."""


def heard_of(numbers):
    """Return which messages an end passes on if they come with these numbers, and what it says of the line."""
    got = []

    async def listen():
        reader = asyncio.StreamReader()
        reader.feed_data(link._head(what="hello", got=0))
        for number in numbers:
            reader.feed_data(link._head(what="x", n=number, sizes=[]))
        reader.feed_eof()
        try:
            await Link(lambda head, _: got.append(head["n"])).carry(reader, Nowhere())
        except (EOFError, link.LinkBroken) as reason:
            return str(reason)

    return got, asyncio.run(listen())


def test_a_message_that_comes_twice_is_passed_on_once():
    assert heard_of([1, 2, 2, 1, 3])[0] == [1, 2, 3]


def test_a_message_that_is_missing_breaks_the_line():
    got, why = heard_of([1, 3])
    assert got == [1]
    assert why == "message 2 is missing"
