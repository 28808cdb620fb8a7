"""The cluster's network: a bridge, and for each host a namespace of its own with one cable to the bridge.

Nothing is forwarded and nothing translated: hosts reach each other and this machine, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from davide_lab.place import BRIDGE, PARENT_ADDRESS, Host
from davide_lab.run import run, succeeds

NOBODY = "02:00:00:00:00:01"  # a locally made hardware address that no host has


def lay(hosts: Iterable[Host]) -> None:
    """Make the bridge, and a namespace and cable for each host, as far as they are missing."""
    if not succeeds(["ip", "link", "show", BRIDGE]):
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        run(["ip", "address", "add", PARENT_ADDRESS, "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    for host in hosts:
        if not has_cable(host):
            lay_cable(host)


def has_cable(host: Host) -> bool:
    """Say whether a host's namespace exists and holds its end of the cable, with its address."""
    shown = ["ip", "-n", host.namespace, "-4", "address", "show", "dev", "host0"]
    return (
        host.namespace in namespaces() and succeeds(["ip", "link", "show", host.cable]) and host.address in run(shown)
    )


def lay_cable(host: Host) -> None:
    """Make one host's namespace and cable anew."""
    remove(host)
    inside = ["ip", "-n", host.namespace]
    run(["ip", "netns", "add", host.namespace])
    run(["ip", "link", "add", host.cable, "type", "veth", "peer", "name", "host0", "netns", host.namespace])
    run(["ip", "link", "set", host.cable, "master", BRIDGE, "up"])
    run([*inside, "address", "add", f"{host.address}/24", "dev", "host0"])
    run([*inside, "link", "set", "host0", "up"])
    run([*inside, "link", "set", "lo", "up"])


def remove(host: Host) -> None:
    """Remove a host's namespace and cable, as far as they are there."""
    if succeeds(["ip", "link", "show", host.cable]):
        run(["ip", "link", "delete", host.cable])
    if host.namespace in namespaces():
        run(["ip", "netns", "delete", host.namespace])


def remove_bridge() -> None:
    """Remove the bridge if it is there."""
    if succeeds(["ip", "link", "show", BRIDGE]):
        run(["ip", "link", "delete", BRIDGE])


def cut(host: Host) -> None:
    """Pull a host's cable."""
    run(["ip", "link", "set", host.cable, "down"])


def mend(host: Host) -> None:
    """Plug a host's cable in again."""
    run(["ip", "link", "set", host.cable, "up"])


def is_cut(host: Host) -> bool:
    """Say whether a host's cable is pulled."""
    shown = json.loads(run(["ip", "-json", "link", "show", host.cable]))
    return "UP" not in shown[0]["flags"]


def namespaces() -> set[str]:
    """Return the names of all network namespaces on this machine."""
    return {row.split()[0] for row in run(["ip", "netns", "list"]).splitlines() if row.strip()}


def part(one: Host, other: Host) -> None:
    """Let two hosts lose sight of each other, silently, while both still see all others.

    Each gets a wrong hardware address for the other: what it sends reaches nobody, and nobody says so.
    """
    for here, there in ((one, other), (other, one)):
        run([*_neighbours(here), "replace", there.address, "lladdr", NOBODY, "dev", "host0", "nud", "permanent"])


def reunite(one: Host, other: Host) -> None:
    """Let two hosts see each other again."""
    for here, there in ((one, other), (other, one)):
        succeeds([*_neighbours(here), "delete", there.address, "dev", "host0"])


def _neighbours(host: Host) -> list[str]:
    return ["ip", "-n", host.namespace, "neighbour"]
