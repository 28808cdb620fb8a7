"""Nobody's secret lies about: after twenty sessions the whole machine is searched for all of them.

With the hub and Slurm's daemons at their most talkative, and after a play that made a secret anew and told all it
could. What may be where is a table (tests/leaks/allowed.py). Canaries in every kind of place show that the search
looks there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import requests
from leaks.allowed import PARENT, PLACES, Place, place_of
from leaks.canaries import Canary, canary, planted
from leaks.careless import write_into_addresses
from leaks.crowd import Crowd
from leaks.known import NODES, Secret, of_the_hosts
from leaks.places import OUTPUT, in_the_output, search
from leaks.search import Find
from support.plays import play
from support.web import request

SESSIONS = 20
DROP_INS = "/etc/davide-hub/jupyterhub_config.d"
SLURMD = "/run/systemd/system/slurmd.service.d"
VERBOSE = '[Service]\nEnvironment="SLURMD_OPTIONS=-vvvvv"\n'
RESTART = "systemctl daemon-reload; systemctl restart slurmd"
DEBUG = 'c.Application.log_level = "DEBUG"\n'
TEMPLATE = "/etc/davide-hub/spawner_templates/session.sbatch.j2"


@dataclass(frozen=True)
class Searched:
    """What was looked for, and what was found where."""

    secrets: dict[str, Secret] = field(repr=False)
    canaries: list[Canary]
    finds: list[tuple[str, Find]]
    problems: list[str]

    def known(self) -> Iterator[tuple[str, Find, Secret, Place | None]]:
        """Yield every find of a secret, with the row of the table that allows it, or None."""
        for host, found in self.finds:
            if secret := self.secrets.get(found["name"]):
                yield host, found, secret, place_of(host, found, secret)


@pytest.fixture(scope="module")
def searched(cluster, wait_for):
    """Let twenty sessions run, plant canaries, and search for everything that is secret."""
    since = time.time()
    crowd = Crowd(cluster, wait_for)
    with talkative(cluster, wait_for):
        crowd.come()
        try:
            crowd.work()
            crowd.look_around()
            write_into_addresses(cluster, crowd.people["student06"], crowd.people["student05"])
            before = of_the_hosts(cluster)
            told, told_canary = play_again(cluster, wait_for)
            secrets = [*crowd.secrets, *still_good(before, of_the_hosts(cluster))]
            with planted(cluster, wait_for) as canaries:
                canaries += [told_canary, *in_the_hub(cluster, crowd)]
                words = {one.name: one.words for one in secrets} | {one.name: (one.word,) for one in canaries}
                assert len(words) == len(secrets) + len(canaries), "each has a name of its own"
                found = search(cluster, words, since)
        finally:
            crowd.leave()
    finds = [(host, find) for host, rows in found.items() for find in rows["finds"]]
    finds += [(PARENT, find) for find in in_the_output(words, told)]
    problems = [f"{host}: {problem}" for host, rows in found.items() for problem in rows["problems"]]
    return Searched({one.name: one for one in secrets}, canaries, finds, problems)


@contextmanager
def talkative(cluster, wait_for):
    """Let the hub and Slurm's daemons log whatever they can."""
    debug = f"{DROP_INS}/90-talkative.py"
    try:
        cluster.output("hub01", f"mkdir -p {DROP_INS}; cat > {debug}; systemctl restart jupyterhub", given=DEBUG)
        cluster.output("ctl01", "scontrol setdebug debug3")
        for node in NODES:
            cluster.output(node, f"mkdir -p {SLURMD}; cat > {SLURMD}/talkative.conf; {RESTART}", given=VERBOSE)
        wait_until_up(cluster, wait_for)
        yield
    finally:
        for node in NODES:
            cluster.output(node, f"rm -f {SLURMD}/talkative.conf; {RESTART}")
        cluster.output("ctl01", "scontrol setdebug info")
        cluster.output("hub01", f"rm -f {debug}; systemctl restart jupyterhub")
        wait_until_up(cluster, wait_for)


def wait_until_up(cluster, wait_for):
    """Wait until the hub answers through the proxy."""

    def answers():
        try:
            return request("GET", f"{cluster.hub_url}/hub/health", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    wait_for(answers, "the hub to answer", 60)


def play_again(cluster, wait_for):
    """Tamper with what Ansible keeps secret, so that it has something to tell, and play; return what it told."""
    made = canary(PARENT, OUTPUT)
    cluster.output("hub01", f"cat >> {TEMPLATE}", given=f"# {made.word}\n")
    cluster.output("hub01", "echo '#' >> /var/lib/extrausers/shadow; rm /etc/davide-hub/proxy.env")
    cluster.output("gpu02", "echo >> /etc/munge/munge.key")
    done = play("--tags=accounts,slurm,broker,proxy,jupyterhub", "--limit=hub01,gpu02")
    assert done.returncode == 0, "the play failed; run ./davide up"
    wait_until_up(cluster, wait_for)
    return done.stdout + done.stderr, made


def still_good(before: list[Secret], after: list[Secret]) -> list[Secret]:
    """Return what is secret now, and what was until it was made anew."""
    now = {one.words for one in after}
    return [*after, *(replace(one, kind=f"old {one.kind}", valid=False) for one in before if one.words not in now)]


def in_the_hub(cluster, crowd: Crowd) -> list[Canary]:
    """Plant a canary in the hub's database, and one in what it logs only when it tells all."""
    row, line = canary("hub01", r"/var/lib/davide-hub/jupyterhub\.sqlite.*"), canary("hub01", "journal")
    crowd.people["student08"].take_token(note=row.word)
    # A good answer of the health check is worth no line but at DEBUG.
    request("GET", f"{cluster.hub_url}/hub/health?canary={line.word}", timeout=30).raise_for_status()
    return [row, line]


def test_the_search_looked_everywhere(searched):
    assert searched.problems == []


def test_every_canary_was_found(searched):
    missed = [one.name for one in searched.canaries if not any(one.is_found(*find) for find in searched.finds)]
    assert missed == []


def test_twenty_sessions_left_their_secrets_to_be_searched_for(searched):
    for kind in ("session token", "session key"):
        ours = [one for one in searched.secrets.values() if one.kind == kind]
        assert len(ours) == SESSIONS
        assert len({one.words for one in ours}) == SESSIONS
        assert sum(one.valid for one in ours) == 4, "some sessions run while the search does"
    renewed = [one.name for one in searched.secrets.values() if one.name == "old token of proxy"]
    assert renewed, "the play made the proxy's token anew"


def test_no_secret_lies_about(searched):
    leaks = {
        f"{host}:{found['place']} holds the {secret.name} ({found['owner']} {found['mode']})"
        for host, found, secret, place in searched.known()
        if place is None
    }
    assert leaks == set()


def test_every_secret_is_where_it_belongs(searched):
    """Otherwise the search was for something that is no secret any more, or the table allows too much."""
    used = {place for *_, place in searched.known()}
    assert [place for place in PLACES if place not in used] == []
