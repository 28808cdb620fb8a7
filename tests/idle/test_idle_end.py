"""Sessions that do nothing, on the local cluster: warned and ended after ten real minutes, and nobody else is.

Not part of the suite, since nothing makes ten minutes shorter: `./davide test --long idle`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import requests
from support.cluster import Cluster
from support.visitor import Visitor
from support.web import open_websocket

SITE = "/etc/davide-hub/site.yml"
MINUTES = 10
# As an administrator would write it into the profile without a GPU.
LIMITED = f"""
set -e
cp -a {SITE} {SITE}.before-the-test
/opt/davide/envs/hub/bin/python - <<'END'
import yaml
facts = yaml.safe_load(open("{SITE}"))
for profile in facts["site"]["profiles"]:
    if profile["name"] == "no-gpu":
        profile["idle_minutes"] = {MINUTES}
open("{SITE}", "w").write(yaml.safe_dump(facts))
END
systemctl restart jupyterhub
"""
BACK = f"mv {SITE}.before-the-test {SITE} && systemctl restart jupyterhub"
# A program that says nothing, in a terminal that nobody looks at.
COMPUTES = "timeout 1500 sh -c 'while :; do :; done'"
IDLE, LOOKED_AT, AT_WORK = "student04", "student05", "student06"


@pytest.fixture
def people(cluster: Cluster, wait_for: Callable[..., Any]) -> Iterator[dict[str, Visitor]]:
    """Let three people start sessions that are ended for lack of use; end what is left of them."""
    cluster.output("hub01", LIMITED)
    found = {name: Visitor(cluster, name) for name in (IDLE, LOOKED_AT, AT_WORK)}
    try:
        for one in found.values():
            wait_for(lambda one=one: logged_in(one), "the hub to let people in", 60)
            one.take_token()
            one.start()
        for one in found.values():
            wait_for(one.ready, f"the session of {one.name}", 120)
        yield found
    finally:
        cluster.output("hub01", BACK)
        for one in found.values():
            with suppress(requests.RequestException, KeyError, AssertionError):
                wait_for(lambda one=one: one.ask("GET", "").ok, "the hub to be back", 60)
                one.stop()


def logged_in(one: Visitor) -> bool:
    """Log in; say whether the hub was there."""
    try:
        return one.log_in().ok
    except requests.RequestException:
        return False


def compute(one: Visitor) -> None:
    """Start a program in a terminal, and leave."""
    made = one.ask_session("POST", "terminals")
    made.raise_for_status()
    address = f"{one.address()}terminals/websocket/{made.json()['name']}"
    with closing(open_websocket(address, header=[f"Authorization: token {one.token}"])) as socket:
        socket.recv()
        socket.send(json.dumps(["stdin", f"{COMPUTES}\r"]))
        socket.recv()


def test_who_does_nothing_is_warned_and_ended_and_who_computes_is_not(
    people: dict[str, Visitor], wait_for: Callable[..., Any]
) -> None:
    idle, looked_at, at_work = people.values()
    compute(at_work)
    jobs = {one.name: one.jobs() for one in people.values()}
    done = threading.Event()

    def look() -> None:
        # An open page, which asks and asks.
        while not done.wait(10):
            with suppress(requests.RequestException):
                looked_at.ask_session("GET", "kernels")
                looked_at.ask_session("GET", "contents?content=0")

    page = threading.Thread(target=look)
    page.start()
    try:
        wait_for(lambda: "data-idle" in home(idle), "the home page to warn", 60 * MINUTES, every=5)
        assert idle.ready(), "ended before its page had warned for five minutes"
        for one in (idle, looked_at):
            wait_for(lambda one=one: not one.jobs(), f"the job of {one.name} to end", 60 * (MINUTES + 5), every=5)
            wait_for(lambda one=one: not one.servers(), f"the hub to have ended {one.name}'s session", 30)
            assert f"did nothing for {MINUTES} minutes" in home(one)
    finally:
        done.set()
        page.join()
    assert at_work.jobs() == jobs[AT_WORK]
    assert at_work.ready()
    assert "data-idle" not in home(at_work)


def home(one: Visitor) -> str:
    """Return the home page."""
    return one.browser.get(f"{one.hub}/home", timeout=30).text
