"""What systemd itself thinks of the confinement of our units (systemd-analyze security: 0 is best, 10 is none)."""

import re

import pytest


@pytest.mark.parametrize(
    ("unit", "worst"),
    [
        ("jupyterhub", 2.5),
        ("jupyterhub-proxy", 2.5),
        ("davide-front", 2.5),
        # It becomes users, checks passwords and writes where homes are: 2.6 is reached.
        ("davide-broker", 2.6),
    ],
)
def test_a_unit_is_confined(cluster, unit, worst):
    shown = cluster.output("hub01", f"systemd-analyze --no-pager security {unit}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert found, shown
    assert float(found[1]) <= worst, shown


def confinement(cluster, unit: str) -> dict[str, str]:
    """Return /proc/PID/status: what the unit says is worth nothing if systemd could not do it."""
    pid = cluster.output("hub01", f"systemctl show -P MainPID {unit}")
    rows = cluster.output("hub01", f"cat /proc/{pid}/status").splitlines()
    status = {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    return status


def test_the_broker_has_the_powers_it_needs_and_no_others(cluster):
    bits = {"dac_read_search": 2, "kill": 5, "setgid": 6, "setuid": 7, "audit_write": 29}
    powers = int(confinement(cluster, "davide-broker")["CapBnd"], 16)
    assert powers & ~sum(1 << bit for bit in bits.values()) == 0


@pytest.mark.parametrize("unit", ["jupyterhub", "jupyterhub-proxy", "davide-front"])
def test_all_others_have_no_power_and_are_not_root(cluster, unit):
    status = confinement(cluster, unit)
    assert int(status["CapBnd"], 16) == 0
    assert "0" not in status["Uid"].split()
