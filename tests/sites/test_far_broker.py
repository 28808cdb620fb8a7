"""The broker on the controller's host, and a hub on a host without munge: students notice nothing.

The plays of production move it there and back, with a copy of the inventory in which the broker has another host. Its
memory moves along, so that a session that runs is kept.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from davide_lab.place import inventory, release
from davide_lab.provision import ansible_environ
from support.cluster import ROOT, Cluster
from support.person import Person, log_in

HUB, CONTROLLER, NODE = "hub01", "ctl01", "gpu01"
PORT = 8443
MEMORY = "/var/lib/davide-broker"
CERTIFICATES = "/etc/davide-hub/broker-tls"
DAVIDE_HUB = "/opt/davide/envs/hub/bin/davide-hub"
KEY, KEPT_KEY = "/etc/munge/munge.key", "/root/munge.key.before"
# What the plays bring to a host for a broker, and for nothing else that the controller's host has.
OF_A_BROKER = f"/etc/davide-hub {MEMORY} /var/log/davide-hub /opt/davide /etc/pam.d/davide-hub"
# Calls the broker as a stranger would, and prints what came of it.
CALL = """
import socket, ssl, sys
context = ssl._create_unverified_context()
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as plain:
        with context.wrap_socket(plain) as secure:
            secure.sendall(b'{"verb": "sessions"}\\n')
            print("heard", secure.recv(4096))
except OSError as error:
    print("refused", error)
"""


@dataclass(frozen=True)
class Move:
    """What the tests look at once the broker has moved."""

    address: str
    output: str
    early: Person
    job: str


def plays(folder: Path, tags: str) -> str:
    """Run the plays with another inventory, as talkative as they can be; return all they said."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-vvv", "--diff", "-i", folder, "deploy.yml"]
    environment = os.environ | ansible_environ(ROOT, release()) | {"ANSIBLE_STDOUT_CALLBACK": "default"}
    done = subprocess.run(
        [*command, "--tags", tags],
        env=environment,
        cwd=ROOT / "ansible",
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout + done.stderr


def with_broker_on_the_controller(cluster: Cluster, folder: Path) -> str:
    """Write the inventory of a site whose broker has a host of its own; return the broker's address."""
    shutil.copytree(inventory(ROOT), folder)
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())
    hosts["all"]["children"]["broker"] = {"hosts": {CONTROLLER: {}}}
    del hosts["all"]["children"]["slurm"]["hosts"][HUB]
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    address = str(hosts["all"]["hosts"][CONTROLLER]["ansible_host"])
    facts = yaml.safe_load((folder / "group_vars/all/site.yml").read_text())
    facts["site"]["broker"] = {"host": CONTROLLER, "address": address, "port": PORT}
    (folder / "group_vars/all/site.yml").write_text(yaml.safe_dump(facts, sort_keys=False))
    return address


def move_memory(cluster: Cluster, old: str, new: str) -> None:
    """Give what a broker remembers to another one; both are stopped."""
    packed = cluster.output(old, f"tar -czf - -C {MEMORY} . | base64 -w0 && rm -rf {MEMORY}")
    cluster.output(new, f"umask 077; mkdir -p {MEMORY}; echo {packed} | base64 -d | tar -xzf - -C {MEMORY}")


def jobs_of(cluster: Cluster, user: str) -> list[str]:
    """Return the numbers of a user's jobs that wait or run."""
    return cluster.output(CONTROLLER, f"squeue --noheader --user {user} --format=%i").split()


def start(cluster: Cluster, person: Person, wait_for) -> str:
    """Start a session, wait for it, and return its job's number."""
    person.start(wait_for)
    (job,) = jobs_of(cluster, person.name)
    return job


def is_up(person: Person) -> bool:
    """Return whether the hub answers, which it does not while it is restarted, and says that the session is ready."""
    return person.ask("GET", "/hub/health").status_code == 200 and bool(person.server().get("ready"))


def stop(cluster: Cluster, person: Person, wait_for) -> None:
    """End a session, if there is one, and wait until Slurm has it no more."""
    person.stop(wait_for)
    wait_for(lambda: not jobs_of(cluster, person.name), f"the end of the job of {person.name}", 90)


def put_back(cluster: Cluster) -> None:
    """Leave the cluster as it was, from wherever a test has left it."""
    cluster.run(CONTROLLER, "systemctl disable --now davide-broker")
    cluster.run(HUB, "systemctl stop davide-broker jupyterhub")
    if cluster.run(CONTROLLER, f"test -d {MEMORY}").returncode == 0:
        cluster.run(HUB, f"rm -rf {MEMORY}")
        move_memory(cluster, CONTROLLER, HUB)
    cluster.output(
        CONTROLLER,
        f"rm -rf {OF_A_BROKER} /etc/systemd/system/davide-broker.service; systemctl daemon-reload; "
        "! id davide-hub > /dev/null 2>&1 || userdel davide-hub",
    )
    cluster.output(HUB, f"rm -rf {CERTIFICATES}; test -e {KEY} || mv {KEPT_KEY} {KEY}")
    plays(inventory(ROOT), "accounts,slurm,broker,jupyterhub")
    for unit in ("munge", "davide-broker", "jupyterhub"):
        assert cluster.output(HUB, f"systemctl is-active {unit}") == "active"


@pytest.fixture(scope="module")
def moved(cluster, wait_for, tmp_path_factory):
    """Move the broker while a session runs, and take munge's key from the hub's host; at the end put all back."""
    folder = tmp_path_factory.mktemp("far") / "inventory"
    address = with_broker_on_the_controller(cluster, folder)
    early = log_in(cluster, "student05")
    stop(cluster, early, wait_for)
    job = start(cluster, early, wait_for)
    try:
        cluster.output(HUB, "systemctl stop jupyterhub davide-broker")
        move_memory(cluster, HUB, CONTROLLER)
        output = plays(folder, "accounts,broker,jupyterhub")
        cluster.output(HUB, f"systemctl disable --now munge; mv {KEY} {KEPT_KEY}")
        cluster.output(HUB, "systemctl restart jupyterhub")
        wait_for(lambda: is_up(early), "the hub to know the session that runs", 90)
        yield Move(address, output, early, job)
        stop(cluster, early, wait_for)
    finally:
        put_back(cluster)


def test_the_hubs_host_has_neither_munge_nor_broker_nor_hashes(cluster, moved):
    assert cluster.run(HUB, f"test -e {KEY}").returncode != 0
    assert cluster.run(HUB, "systemctl is-active munge").stdout.strip() == "inactive"
    assert "could not be found" in cluster.run(HUB, "systemctl status davide-broker").stderr
    asked = cluster.run(HUB, "setpriv --reuid davide-hub --clear-groups squeue")
    assert (asked.returncode != 0, asked.stdout) == (True, "")
    hashes = {line.split(":")[1] for line in cluster.output(HUB, "cat /var/lib/extrausers/shadow").splitlines()}
    assert hashes == {"*"}


def test_the_session_from_before_goes_on(cluster, moved):
    assert jobs_of(cluster, moved.early.name) == [moved.job]
    assert "kernels" in moved.early.ask_session("GET", "/api/status").json()


def test_a_student_starts_and_ends_a_session_across_a_restart_of_the_hub(cluster, moved, wait_for):
    person = log_in(cluster, "student06")
    stop(cluster, person, wait_for)
    job = start(cluster, person, wait_for)
    assert "kernels" in person.ask_session("GET", "/api/status").json()
    cluster.output(HUB, "systemctl restart jupyterhub")
    wait_for(lambda: is_up(person), "the session after the restart", 90)
    assert jobs_of(cluster, person.name) == [job]
    trail = cluster.output(CONTROLLER, f"{DAVIDE_HUB} audit --json --user {person.name}").splitlines()[-1]
    assert f'"job": "{job}"' in trail
    assert '"caller": "hub@' in trail
    stop(cluster, person, wait_for)


def test_an_end_that_slurm_knows_is_known_to_the_hub(cluster, moved, wait_for):
    """Nobody told the hub: it asked, through the broker."""
    person = log_in(cluster, "student07")
    stop(cluster, person, wait_for)
    job = start(cluster, person, wait_for)
    cluster.output(CONTROLLER, f"scancel {job}")
    wait_for(lambda: not person.server(), "the hub to notice the end", 90)


def test_a_broker_that_is_away_ends_nothing(cluster, moved, wait_for):
    silent = "Slurm does not answer: the broker does not answer"
    since = cluster.output(HUB, "date +'%F %T'")
    cluster.output(CONTROLLER, "systemctl stop davide-broker")
    try:
        wait_for(
            lambda: silent in cluster.output(HUB, f"journalctl -u jupyterhub -o cat --since {shlex.quote(since)}"),
            "the hub to ask in vain",
            90,
        )
        assert moved.early.server()["ready"]
    finally:
        cluster.output(CONTROLLER, "systemctl start davide-broker")
    wait_for(lambda: moved.early.server().get("ready"), "the session", 30)
    assert jobs_of(cluster, moved.early.name) == [moved.job]


def test_a_stranger_on_the_network_gets_no_word(cluster, moved, wait_for):
    """The twin: the hub, which is answered all the while."""
    since = cluster.output(CONTROLLER, "date +'%F %T'")
    called = cluster.as_user("student08", f"python3 -Ic {shlex.quote(CALL)} {moved.address} {PORT}", NODE)
    assert called.stdout.startswith("refused"), called.stdout + called.stderr
    journal = f"journalctl -u davide-broker -o cat --since {shlex.quote(since)}"
    wait_for(lambda: '"refused": "tls"' in cluster.output(CONTROLLER, journal), "a line in the journal", 20)


def test_root_gives_orders_where_the_broker_is(cluster, moved):
    wrong = cluster.run(HUB, f"{DAVIDE_HUB} ban student08")
    assert wrong.returncode == 1
    assert f"run this as root on {CONTROLLER}" in wrong.stderr
    cluster.output(CONTROLLER, f"{DAVIDE_HUB} ban student08 --reason mining")
    try:
        with pytest.raises(Exception, match="403"):
            log_in(cluster, "student08")
    finally:
        cluster.output(CONTROLLER, f"{DAVIDE_HUB} unban student08")
    assert log_in(cluster, "student08").token


def test_keys_belong_to_who_needs_them_and_are_not_in_what_the_plays_say(cluster, moved):
    assert cluster.output(HUB, f"stat -c '%n %U %a' {CERTIFICATES}/*").splitlines() == [
        f"{CERTIFICATES}/authority.crt davide-hub 600",
        f"{CERTIFICATES}/hub.crt davide-hub 600",
        f"{CERTIFICATES}/hub.key davide-hub 600",
    ]
    there = cluster.output(CONTROLLER, f"stat -c '%U %a' {CERTIFICATES} {CERTIFICATES}/*.key").splitlines()
    assert there == ["root 700", *["root 600"] * 3]
    key = cluster.output(HUB, f"cat {CERTIFICATES}/hub.key")
    assert "TASK [jupyterhub : Give it to the hub]" in moved.output
    assert f"port: {PORT}" in moved.output, "the plays show what they write"
    for shape in (key.splitlines()[1], base64.b64encode(key.encode()).decode()[60:120]):
        assert shape not in moved.output
