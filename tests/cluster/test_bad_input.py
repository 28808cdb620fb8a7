"""What `./davide up` says when something is wrong: one sentence with the fix, before any host is touched."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from davide_lab.base import require_room
from davide_lab.say import Problem
from davide_lab.up import require_machine
from support.cluster import ROOT, davide


@pytest.fixture
def copy_of_the_project(tmp_path):
    """Return a checkout of its own whose site facts may be broken."""
    shutil.copytree(
        ROOT,
        tmp_path / "project",
        ignore=shutil.ignore_patterns(".git", ".davide", ".*_cache", "__pycache__", ".hypothesis"),
    )
    return tmp_path / "project"


def boots(cluster):
    """Return when each host booted: changes if `up` touched it."""
    return [cluster.output(name, "systemctl show -P UserspaceTimestampMonotonic") for name in cluster.hosts]


@pytest.mark.parametrize(
    ("right", "wrong", "key", "fix"),
    [
        ("memory_gb: 6", "memory_gb: lots", "profiles[0].memory_gb", "write for example 6"),
        ("gpus: 1", "gpus: 1\n      colour: red", "profiles[0].colour", "remove it"),
        ("admins: [admin01]", "", "admins", ""),
        (
            "partition: dvd_usr_prod\n      gpus: 1",
            "partition: nosuch\n      gpus: 1",
            "profiles[0].partition",
            "dvd_usr_prod",
        ),
    ],
)
def test_bad_site_facts_are_refused_before_any_host_is_touched(cluster, copy_of_the_project, right, wrong, key, fix):
    facts = copy_of_the_project / "ansible/inventory/local/group_vars/all/site.yml"
    text = facts.read_text()
    assert right in text
    facts.write_text(text.replace(right, wrong, 1))
    before = boots(cluster)
    done = subprocess.run(
        [copy_of_the_project / "davide", "up"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "no host was touched" in done.stderr
    for word in ("site.yml", key, fix):
        assert word in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert boots(cluster) == before


def test_not_root_is_told_so():
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.setuid(65534)
        try:
            require_machine()
        except Problem as found:
            os.write(theirs, str(found).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"needs root; run it as root: sudo ./davide up" in os.read(ours, 1000)


def test_taken_port_is_named(cluster, copy_of_the_project):
    # A relay of another make: `up` is told to use a port that this test holds.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        relay = copy_of_the_project / "ansible/lab/davide_lab/relay.py"
        port = taken.getsockname()[1]
        relay.write_text(
            relay.read_text().replace("PORT = 8000", f"PORT = {port}").replace('"relay.json"', '"other-relay.json"')
        )
        done = subprocess.run(
            [copy_of_the_project / "davide", "up"], capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken by another program" in done.stderr
    assert "ss -ltnp" in done.stderr


def test_full_disk_is_named(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", small], check=True)
    try:
        with pytest.raises(Problem, match="GB free and 12 GB are needed; make room"):
            require_room(small / "not" / "there" / "yet", 12)
    finally:
        subprocess.run(["umount", small], check=True)


def test_registry_out_of_reach_is_one_sentence_and_the_next_run_continues(tmp_path):
    nowhere = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
    }
    done = davide("status", env=nowhere)
    assert done.returncode == 1
    assert "if a registry could not be reached, check the network and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path(tmp_path, "davide-hub").glob("tools-*")), "nothing half-made may look finished"


def test_unknown_part_of_the_suite_names_the_parts():
    done = davide("test", "nosuch")
    assert done.returncode == 1
    assert "the suite has check, pages, cluster, browser, attacks, bundle, " in done.stderr
