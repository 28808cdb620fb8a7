"""`./davide up` on a cluster that is up: it changes nothing, and mends exactly what somebody tampered with."""

import re

import pytest
from support.cluster import davide

TAMPERED = [
    ("ctl01", "/etc/slurm/slurmdbd.conf"),
    ("gpu01", "/etc/slurm/gres.conf"),
    ("gpu02", "/etc/hosts"),
    ("hub01", "/etc/davide-hub/site.yml"),
    ("hub01", "/etc/davide-hub/spawner_templates/session.sbatch.j2"),
]
STOPPED = ("gpu02", "munge")


def changes(output):
    """Return how many changes `up` reports per host."""
    return {host: int(count) for host, count in re.findall(r"^ +(\w+) +: ok=\d+ changed=(\d+)", output, re.MULTILINE)}


@pytest.fixture(scope="module")
def second_up():
    """Run `up` on the running cluster once for all that look at it."""
    done = davide("up")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_second_up_changes_nothing(cluster, second_up):
    assert changes(second_up) == dict.fromkeys([*cluster.hosts, "localhost"], 0)


def test_up_ends_with_address_and_accounts(cluster, second_up):
    end = second_up[second_up.index("is up after") :]
    assert cluster.hub_url in end
    for name, facts in cluster.accounts.items():
        assert re.search(rf"{name} +{facts['password']} +{facts['role']}", end)


def test_tampering_is_reported_change_by_change_and_mended(cluster, second_up):
    for host, path in TAMPERED:
        cluster.output(host, f"cp -p {path} /root/before-tampering && echo '# tampered' >> {path}")
    host, unit = STOPPED
    cluster.output(host, f"systemctl stop {unit}")
    mended = davide("up")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert sum(changes(mended.stdout).values()) == 6, mended.stdout
    told = re.findall(r"^ +changed: (\w+): ", mended.stdout, re.MULTILINE)
    assert sorted(told) == sorted([host for host, _ in TAMPERED] + [STOPPED[0]])
    assert cluster.output(host, f"systemctl is-active {unit}") == "active"
    for host, path in TAMPERED:
        assert "tampered" not in cluster.output(host, f"cat {path}")
    assert sum(changes(davide("up").stdout).values()) == 0
