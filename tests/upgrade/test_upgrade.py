"""While sessions run: an upgrade with another schema of the database, the way back, and a release that is broken."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from davide_lab.accounts import make_accounts
from davide_lab.archive import read_archive
from faults.people import Person
from faults.target import Target
from support.cluster import Cluster, davide
from support.web import request

from upgrade.releases import checkout, dead, deaf, older

DATABASE = "/var/lib/davide-hub/jupyterhub.sqlite"
PYTHON = "/opt/davide/envs/hub/bin/python"
ASK_SCHEMA = """
import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT version_num FROM alembic_version").fetchone())
"""
NEW = ("student07", "student08")
_MOST_SECONDS = 60
_SESSIONS = 20


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder for other checkouts."""
    made = Path("/var/tmp/davide-upgrade")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def current(folder: Path) -> Path:
    """Return a checkout of this release."""
    return checkout(folder / "current")


@pytest.fixture(scope="module")
def people(cluster: Cluster, folder: Path, current: Path, wait_for) -> Iterator[dict[str, Person]]:
    """Take the cluster to a release with JupyterHub 5.5, where people with counters are; to this one afterwards."""
    target = Target("ours", cluster.hub_url)
    everybody = {one["name"]: Person(one["name"], one["password"], target) for one in make_accounts(current)}
    cluster.output("ctl01", "squeue --noheader --format=%i | xargs --no-run-if-empty scancel")
    wait_for(lambda: cluster.output("ctl01", "squeue --noheader") == "", "all jobs to end", 90)
    try:
        # Its hub can't read the database of this one: it begins with none.
        cluster.output("hub01", f"systemctl stop jupyterhub; rm -f {DATABASE}*")
        told = release(older(folder / "older"), "deploy", "local")
        assert told.returncode == 0, told.stdout + told.stderr
        begin(everybody, [name for name in everybody if name not in NEW])
        yield everybody
        for person in everybody.values():
            if person.counter:
                person.stop()
    finally:
        shown = davide("up", timeout=900)
        assert shown.returncode == 0, shown.stdout + shown.stderr


def release(made: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `./davide` of a release with some words; return what came of it."""
    return subprocess.run([made / "davide", *words], capture_output=True, text=True, timeout=1200, check=False)


def begin(people: dict[str, Person], names: list[str]) -> None:
    """Let people log in, start, and begin to count."""
    for name in names:
        people[name].log_in()
        people[name].start()
    for name in names:
        people[name].wait_until_ready(300)
        people[name].begin_counting()
        assert people[name].counts_on(), name


def lost(people: dict[str, Person]) -> list[str]:
    """Return who has lost the counter that was begun."""
    return [name for name, person in people.items() if person.counter and not person.counts_on()]


def jupyterhub(cluster: Cluster) -> str:
    """Return the version of the hub that answers, by its own word."""
    version: str = request("GET", f"{cluster.hub_url}/hub/api/", timeout=30).json()["version"]
    return version


def schema(cluster: Cluster) -> str:
    """Return the schema of the hub's database."""
    return cluster.output("hub01", f"{PYTHON} - {DATABASE}", given=ASK_SCHEMA)


@contextmanager
def away(cluster: Cluster) -> Iterator[list[float]]:
    """Look all the time whether the hub is there; the one number of the list is its longest absence in seconds."""
    longest, over = [0.0], threading.Event()

    def look() -> None:
        since = time.monotonic()
        while not over.is_set():
            if answers(cluster):
                since = time.monotonic()
            longest[0] = max(longest[0], time.monotonic() - since)
            over.wait(0.3)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield longest
    finally:
        over.set()
        looking.join()


def answers(cluster: Cluster) -> bool:
    """Say whether the hub answers, as it has to before somebody can start a session."""
    try:
        return bool(request("GET", f"{cluster.hub_url}/hub/api/", timeout=10).status_code == 200)
    except OSError:
        return False


def test_sessions_and_people_outlive_an_upgrade_and_the_way_back(cluster, people, folder, current, wait_for):
    assert (jupyterhub(cluster), schema(cluster)) == ("5.5.4", "4621fec11365")
    made = release(current, "bundle", "local", "--out", str(folder / "bundle.tar"))
    assert made.returncode == 0, made.stdout + made.stderr
    before = len([one for one in people.values() if one.counter])
    assert before == _SESSIONS
    with away(cluster) as longest:
        told = release(current, "deploy", "local", "--bundle", str(folder / "bundle.tar"))
    assert told.returncode == 0, told.stdout + told.stderr
    print(f"\nupgrade: {before} sessions, no new starts for {longest[0]:.1f} s")
    assert jupyterhub(cluster).startswith("6.")
    assert schema(cluster) != "4621fec11365"
    assert lost(people) == []
    assert longest[0] < _MOST_SECONDS

    begin(people, list(NEW))
    with away(cluster) as longest:
        told = release(current, "rollback", "local")
    assert told.returncode == 0, told.stdout + told.stderr
    print(f"\nway back: {before + len(NEW)} sessions, no new starts for {longest[0]:.1f} s")
    assert (jupyterhub(cluster), schema(cluster)) == ("5.5.4", "4621fec11365")
    assert lost(people) == []
    assert longest[0] < _MOST_SECONDS
    # Who came with the newer release is known to the older one: by token, by password, and by Slurm.
    for name in NEW:
        people[name].log_in()
        people[name].stop()
        wait_for(people[name].is_stopped, f"the session of {name} to end", 90)
        people[name].counter = None
    rows = f"squeue --noheader --user {','.join(NEW)}"
    wait_for(lambda: cluster.output("ctl01", rows) == "", "their jobs to be out of the queue", 60)


@pytest.mark.parametrize(("broken", "why"), [(dead, "a play failed"), (deaf, "does not reach")])
def test_a_broken_release_takes_itself_back(cluster, people, folder, broken, why):
    told = release(broken(folder / broken.__name__), "deploy", "local")
    assert told.returncode == 1, told.stdout + told.stderr
    assert f"not well: {why}" in told.stdout or why in told.stdout.partition("Going back")[0]
    assert "The release was not well, and was taken back." in told.stdout, told.stdout + told.stderr
    assert (jupyterhub(cluster), schema(cluster)) == ("5.5.4", "4621fec11365")
    assert lost(people) == []


def test_a_bundle_that_is_not_whole_changes_nothing(cluster, people, folder, current):
    whole = folder / "bundle.tar"
    identity = read_archive(whole).identity
    cluster.output("hub01", f"rm -rf /var/lib/davide-bundles/{identity[:12]}")
    with whole.open("r+b") as file:
        file.seek(-200_000, 2)
        file.write(b"no longer what it was")
    before = cluster.output("hub01", "readlink /opt/davide/envs/hub")
    told = release(current, "deploy", "local", "--bundle", str(whole))
    assert told.returncode == 1
    assert "is not what the manifest says; copy the archive again" in told.stdout, told.stdout + told.stderr
    assert cluster.output("hub01", "readlink /opt/davide/envs/hub") == before
    assert lost(people) == []
