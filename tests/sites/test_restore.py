"""The hub's host is lost wholly while sessions run, and a fresh one takes its place, with the backup alone.

Long form: `./davide test --long restore`. One session is in the backup; one began after it, and is known by its mark.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from davide_lab.up import keep_authority
from faults.people import Person
from faults.target import Target
from support.cluster import ROOT, Cluster, davide
from support.web import browser

HUB, CONTROLLER = "hub01", "ctl01"
DAVIDE_HUB = "/opt/davide/envs/hub/bin/davide-hub"
FILE = "/root/davide.tar.gz"
LEFT = f"{FILE} {FILE}.torn /var/lib/davide-*.before-* /etc/davide-hub/*.before-* /etc/davide-hub/front/*.before-*"
EARLY, LATE, BANNED = "student05", "student06", "student08"


def jobs(cluster: Cluster) -> list[str]:
    """Return the jobs of both, as USER NUMBER."""
    users = f"{EARLY},{LATE}"
    return sorted(cluster.output(CONTROLLER, f"squeue --noheader --user {users} --format='%u %i'").splitlines())


def begin(person: Person) -> None:
    """Start a session with a counter in a kernel's memory."""
    person.start()
    person.wait_until_ready()
    person.begin_counting()


def is_logged_in(person: Person) -> bool:
    """Say whether the browser of before shows the home page without another log-in.

    One with its cookies asks in its place, because a hub takes a cookie away that it does not know.
    """
    asks = browser()
    asks.cookies.update(person._browser.cookies)
    return asks.get(f"{person.target.url}/hub/home", timeout=20).url.endswith("/hub/home")


@contextmanager
def given_back(cluster: Cluster):
    """Leave a cluster without these sessions, whatever a test has done to it."""
    try:
        yield
    finally:
        done = davide("up")
        cluster.run(HUB, f"{DAVIDE_HUB} unban {BANNED}; rm -rf {LEFT}")
        cluster.output(CONTROLLER, f"scancel --user {EARLY}; scancel --user {LATE}")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def early_and_late(cluster: Cluster) -> list[Person]:
    """Return two people at browsers of their own."""
    target = Target("ours", cluster.hub_url)
    people = [Person(name, cluster.password(name), target) for name in (EARLY, LATE)]
    for person in people:
        person.log_in()
    return people


def test_sessions_outlive_the_loss_of_the_hubs_host(cluster, wait_for, early_and_late):
    early, late = early_and_late
    with given_back(cluster):
        begin(early)
        cluster.output(HUB, f"{DAVIDE_HUB} ban {BANNED} --reason 'for the test of the backup'")
        cluster.output(HUB, f"{DAVIDE_HUB} backup {FILE}")
        assert cluster.output(HUB, f"stat --format=%a {FILE}") == "600"
        backup = cluster.output(HUB, f"base64 --wrap=0 {FILE}")
        begin(late)
        running = jobs(cluster)
        assert len(running) == 2

        assert davide("host", "destroy", HUB).returncode == 0
        fresh = davide("up")
        assert fresh.returncode == 0, fresh.stdout + fresh.stderr
        assert jobs(cluster) == running
        assert not is_logged_in(early), "this is not another host"

        cluster.output(HUB, f"umask 077; base64 --decode > {FILE}", given=backup)
        state = "sha256sum /var/lib/davide-broker/mark.json /etc/davide-hub/tls/* /etc/davide-hub/proxy.env"
        before = cluster.output(HUB, state)
        cluster.output(HUB, f"head --bytes=-100 {FILE} > {FILE}.torn")
        torn = cluster.run(HUB, f"{DAVIDE_HUB} restore {FILE}.torn")
        assert (torn.returncode, "is torn" in torn.stderr) == (1, True), torn.stderr
        assert cluster.output(HUB, state) == before
        assert cluster.output(HUB, "systemctl is-active jupyterhub davide-broker") == "active\nactive"

        said = cluster.output(HUB, f"{DAVIDE_HUB} restore {FILE}")
        assert "put back /var/lib/davide-broker" in said
        keep_authority(ROOT)  # what browsers trusted before vouches for the hub again
        for person in (early, late):
            person.wait_until_ready()
            wait_for(person.counts_on, f"the counter of {person.name}")
        assert jobs(cluster) == running
        assert is_logged_in(early), "the log-in of before is lost"
        assert "closed this service" in cluster.output(HUB, f"cat /var/lib/davide-broker/bans/{BANNED}")

        again = davide("up")
        assert (again.returncode, f"{HUB}: changed=0" in again.stdout) == (0, True), again.stdout
        healthy = cluster.run(HUB, f"{DAVIDE_HUB} doctor --no-job", timeout=120)
        assert healthy.returncode < 2, healthy.stdout
        for person in (early, late):
            person.stop()
            wait_for(person.is_stopped, f"the end of the session of {person.name}", 60)
        wait_for(lambda: jobs(cluster) == [], "the end of both jobs", 60)
