"""Who somebody is, and a directory that does not tell."""

from __future__ import annotations

import asyncio
import os
import pwd
import threading

import pytest
from davide_hub import who


def test_the_directory_tells_names_and_numbers():
    name = pwd.getpwuid(os.getuid()).pw_name
    assert asyncio.run(who.name_of(os.getuid())) == name
    assert asyncio.run(who.uid_of(name)) == os.getuid()


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_who_is_not_in_the_directory_has_neither(monkeypatch, error):
    def lookup(_about):
        raise error

    monkeypatch.setattr(pwd, "getpwnam", lookup)
    monkeypatch.setattr(pwd, "getpwuid", lookup)
    assert asyncio.run(who.uid_of("student01")) is None
    assert asyncio.run(who.name_of(6001)) == ""


def test_while_a_directory_hangs_the_hub_goes_on_and_nobody_waits_long(monkeypatch):
    back = threading.Event()
    monkeypatch.setattr(who, "_DIRECTORY_SECONDS", 0.05)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: back.wait(10))

    async def scenario():
        asking = asyncio.create_task(who.name_of(6001))
        await asyncio.sleep(0.01)
        goes_on = not asking.done()
        told = await asking
        back.set()
        return goes_on, told

    assert asyncio.run(scenario()) == (True, "")
