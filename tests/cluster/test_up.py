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
RULES = "nft --stateless list table inet"
SOMEBODY = "table inet somebody { chain input { type filter hook input priority 10; tcp dport 4711 drop; }; }"


def changes(output):
    """Return how many changes `up` reports per host."""
    return {host: int(count) for host, count in re.findall(r"^ +(\w+) +: ok=\d+ changed=(\d+)", output, re.MULTILINE)}


@pytest.fixture(scope="module")
def flushed(cluster):
    """Flush our table of the hub's firewall, beside one of somebody else; give what both were."""
    cluster.output("hub01", f"nft '{SOMEBODY}'")
    before = {name: cluster.output("hub01", f"{RULES} {name}") for name in ("davide_hub", "somebody")}
    cluster.output("hub01", "nft flush table inet davide_hub")
    yield before
    cluster.output("hub01", "nft delete table inet somebody")


@pytest.fixture(scope="module")
def mended(cluster, flushed):
    """Tamper with files and stop a unit, too, and run `up` once; return what it said."""
    for host, path in TAMPERED:
        cluster.output(host, f"cp -p {path} /root/before-tampering && echo '# tampered' >> {path}")
    host, unit = STOPPED
    cluster.output(host, f"systemctl stop {unit}")
    return up()


@pytest.fixture(scope="module")
def second_up(mended):
    """Run `up` once more, for all that look at how it ends."""
    return up()


def up():
    """Run `up`, which has to succeed; return what it said."""
    done = davide("up")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tampering_is_reported_change_by_change_and_mended(cluster, mended, flushed):
    assert sum(changes(mended).values()) == 7, mended
    told = re.findall(r"^ +changed: (\w+): ", mended, re.MULTILINE)
    assert sorted(told) == sorted([host for host, _ in TAMPERED] + [STOPPED[0], "hub01"])
    assert "changed: hub01: firewall : Load them again where the kernel has others" in mended
    assert {name: cluster.output("hub01", f"{RULES} {name}") for name in flushed} == flushed
    host, unit = STOPPED
    assert cluster.output(host, f"systemctl is-active {unit}") == "active"
    for host, path in TAMPERED:
        assert "tampered" not in cluster.output(host, f"cat {path}")


def test_second_up_changes_nothing(cluster, second_up):
    assert changes(second_up) == dict.fromkeys([*cluster.hosts, "localhost"], 0)


def test_up_ends_with_address_and_accounts(cluster, second_up):
    end = second_up[second_up.index("is up after") :]
    assert cluster.hub_url in end
    for name, facts in cluster.accounts.items():
        assert re.search(rf"{name} +{facts['password']} +{facts['role']}", end)


def test_up_warns_of_what_slurm_does_not_bound(second_up):
    assert "hub01: Warning: nothing in Slurm bounds what sessions of account" in second_up
