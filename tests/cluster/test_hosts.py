"""Hosts of the local cluster: real ones, that can be crashed, cut off, frozen and booted again."""

import os
import signal
import time
from pathlib import Path

import pytest
from support.cluster import davide


def state_of(host):
    """Return the state that `./davide status` shows for a host."""
    import json

    rows = json.loads(davide("status", "--json").stdout)["hosts"]
    return next(row["state"] for row in rows if row["name"] == host)


@pytest.fixture
def gpu02(cluster, wait_for):
    """Lend gpu02 for rough handling, and give it back in service."""
    yield "gpu02"
    if state_of("gpu02") == "off":
        assert davide("host", "boot", "gpu02").returncode == 0
    wait_for(
        lambda: cluster.run("hub01", "sinfo -hn gpu02 -o %t").stdout.strip() == "idle",
        "gpu02 is back in service",
        90,
    )


def test_each_host_is_a_real_system_with_its_own_address(cluster):
    for name, facts in cluster.hosts.items():
        shown = cluster.output(
            name, "cat /proc/1/comm; hostname; ip -4 -o addr show host0; systemctl is-system-running --wait"
        )
        first, hostname, address, state = shown.splitlines()
        assert (first, hostname, state) == ("systemd", name, "running")
        assert f" {facts['address']}/24 " in address


def test_a_command_goes_to_a_host_by_its_name_with_what_is_given_and_its_status_comes_back(cluster):
    done = davide("ssh", "ctl01", "hostname; cat; exit 3", given="word\n")
    assert (done.returncode, done.stdout) == (3, "ctl01\nword\n")


def test_homes_and_software_are_one_file_system_and_disks_are_not(cluster):
    cluster.output("gpu01", "touch /home/seen-by-all /software/seen-by-all /root/seen-by-none")
    try:
        shown = cluster.run("gpu02", "ls /home/seen-by-all /software/seen-by-all /root/seen-by-none")
        assert shown.stdout.split() == ["/home/seen-by-all", "/software/seen-by-all"]
        assert "cannot access '/root/seen-by-none'" in shown.stderr
    finally:
        cluster.output("gpu01", "rm /home/seen-by-all /software/seen-by-all /root/seen-by-none")


def test_hosts_reach_each_other_and_nothing_outside(cluster):
    cluster.output("gpu01", "bash -c ': < /dev/tcp/ctl01/6817'")
    routes = cluster.output("gpu01", "ip -4 route")
    assert routes.splitlines() == ["10.77.0.0/24 dev host0 proto kernel scope link src 10.77.0.21"]


def test_host_survives_a_power_cut_with_its_disk(cluster, gpu02):
    cluster.output(gpu02, "touch /root/on-disk && sync")
    assert davide("host", "crash", gpu02).returncode == 0
    assert state_of(gpu02) == "off"
    assert "is off" in davide("ssh", gpu02, "true").stderr
    assert davide("host", "boot", gpu02).returncode == 0
    cluster.output(gpu02, "rm /root/on-disk")


def test_host_reboots_in_an_orderly_way(cluster, gpu02):
    before = cluster.output(
        gpu02,
        "journalctl --list-boots | wc -l; cut -d. -f1 /proc/uptime; systemctl show -P UserspaceTimestampMonotonic",
    )
    assert davide("host", "reboot", gpu02).returncode == 0
    after = cluster.output(
        gpu02,
        "journalctl --list-boots | wc -l; cut -d. -f1 /proc/uptime; systemctl show -P UserspaceTimestampMonotonic",
    )
    assert before.splitlines()[2] != after.splitlines()[2]


def test_cut_host_answers_nobody_until_it_is_mended(cluster, gpu02):
    ping = "bash -c 'timeout 2 bash -c \": < /dev/tcp/gpu02/22\"'"
    assert cluster.run("hub01", ping).returncode == 0
    assert davide("host", "cut", gpu02).returncode == 0
    assert state_of(gpu02) == "cut"
    assert cluster.run("hub01", ping).returncode != 0
    assert davide("host", "mend", gpu02).returncode == 0
    assert cluster.run("hub01", ping).returncode == 0


def test_frozen_host_stands_still(cluster, gpu02):
    counter = "setsid bash -c 'while :; do date +%s%N > /root/clock; sleep 0.05; done' > /dev/null 2>&1 & echo $!"
    pid = cluster.output(gpu02, counter)
    clock = Path("/var/lib/davide-lab/hosts/gpu02/upper/root/clock")
    try:
        assert davide("host", "freeze", gpu02).returncode == 0
        assert state_of(gpu02) == "frozen"
        stood = clock.read_text()
        time.sleep(0.5)  # the time in which a running host would have written ten times
        assert clock.read_text() == stood
    finally:
        davide("host", "thaw", gpu02)
    cluster.output(gpu02, f"kill -- -{pid}; rm /root/clock")


def test_leftovers_of_a_killed_keeper_are_cleaned(cluster, gpu02, wait_for):
    import json

    note = json.loads(Path("/run/davide-lab/gpu02.json").read_text())
    os.kill(note["pid"], signal.SIGKILL)
    wait_for(lambda: state_of(gpu02) == "off", "the keeper is gone")
    procs = Path("/sys/fs/cgroup/unified/davide-lab/gpu02")
    if not procs.exists():
        procs = Path("/sys/fs/cgroup/davide-lab/gpu02")
    assert any(path.read_text() for path in procs.glob("**/cgroup.procs")), "its host should run on, ownerless"
    assert davide("host", "boot", gpu02).returncode == 0
    assert state_of(gpu02) == "running"


def test_unknown_host_names_the_choices(cluster):
    done = davide("host", "crash", "gpu09")
    assert done.returncode == 1
    assert "no host 'gpu09'; the local cluster has hub01, ctl01, gpu01, gpu02" in done.stderr
