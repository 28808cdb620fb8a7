"""Which node a call home comes from."""

from __future__ import annotations

import asyncio
import threading

import pytest
from davide_hub import nodes as module
from davide_hub.nodes import Nodes, addresses_of

ADDRESSES = {"gpu01": {"192.0.2.21"}, "gpu02": {"192.0.2.22", "2001:db8::22"}}


def name_of(nodes: Nodes, address: str) -> str:
    return asyncio.run(nodes.name_of(address))


@pytest.mark.parametrize(
    ("address", "node"),
    [("192.0.2.21", "gpu01"), ("2001:db8::22", "gpu02"), ("::ffff:192.0.2.22", "gpu02"), ("192.0.2.99", "")],
)
def test_an_address_is_a_node(address, node):
    assert name_of(Nodes(ADDRESSES, ADDRESSES.get), address) == node


def test_the_directory_is_asked_once_for_all():
    asked = []

    def resolve(name):
        asked.append(name)
        return ADDRESSES[name]

    async def scenario():
        nodes = Nodes(list(ADDRESSES), resolve)
        return await asyncio.gather(*(nodes.name_of("192.0.2.21") for _ in range(20)))

    assert set(asyncio.run(scenario())) == {"gpu01"}
    assert sorted(asked) == ["gpu01", "gpu02"]


def test_a_directory_that_falls_silent_takes_nothing_away(monkeypatch):
    known = dict(ADDRESSES)
    nodes = Nodes(list(ADDRESSES), lambda name: known.get(name, set()))
    assert name_of(nodes, "192.0.2.21") == "gpu01"
    known.clear()
    nodes._asked = float("-inf")
    assert name_of(nodes, "192.0.2.21") == "gpu01"


def test_a_hanging_directory_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.01)
    back = threading.Event()

    async def scenario():
        nodes = Nodes(["gpu01"], lambda _name: back.wait(10) and {"192.0.2.21"})
        hung = await nodes.name_of("192.0.2.21")
        back.set()
        await nodes._asking
        return hung, await nodes.name_of("192.0.2.21")

    assert asyncio.run(scenario()) == ("", "gpu01")


def test_a_host_that_nobody_knows_has_no_address():
    assert addresses_of("no-such-host.invalid") == set()
    assert addresses_of("127.0.0.1") == {"127.0.0.1"}
