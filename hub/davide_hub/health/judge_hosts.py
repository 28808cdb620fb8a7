"""Whether hub, broker and nodes fit together: clocks, systems, accounts, files, munge, ports and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from davide_hub.facts import Site
from davide_hub.health.findings import Finding, problem, warning
from davide_hub.health.plan import Scene, names

Told = Mapping[str, Any]

# munge refuses what is older than 5 minutes (or comes from the future): long before, somebody should look.
_CLOCK_WRONG, _CLOCK_ODD = 60.0, 5.0
# Free gigabytes: too few to go on, and few enough to tell.
_ROOM = {"software": (1.0, 8.0), "/opt/davide": (0.5, 2.0), "/var/lib/davide-hub": (0.2, 2.0), "/tmp": (0.05, 0.5)}  # noqa: S108
_HOME_GB = 0.05
_FEW_FILES = 2000
# The locks are for these; wheels for both are in the bundle.
PYTHONS = ("3.11", "3.13")
_GLIBC = (2, 28)


def judge_reach(scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield which hosts could not be looked at."""
    for host in scene.hosts:
        if "time" in told.get(host, {}):
            continue
        why = told.get(host, {}).get("why") or "it gave no answer"
        if host in scene.nodes:
            yield problem(
                "reach",
                f"{host} is out of reach for ansible ({why}): let it log in "
                "there as root, or put a node into the group preflight "
                "of hosts.yml where it may; with an empty group nothing is looked at from the nodes' side",
            )
        else:
            yield problem(
                "reach", f"{host} is out of reach for ansible ({why}): see that ssh {host} works from here, as root"
            )
    if not scene.nodes:
        yield warning(
            "reach",
            "the group preflight of hosts.yml is empty, so nothing was "
            "looked at from a node: clock, accounts, files, munge and "
            "ports; put a node there that ansible may log in to, or run davide-hub doctor --job once the hub runs",
        )


def judge_clocks(scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield whose clock differs from the hub's.

    A host told its time at some moment between two of this machine's clock. So a difference is known up to the length
    of that round, and only what is certain counts.
    """
    if scene.hub not in told or "time" not in told[scene.hub]:
        return
    low, high = _offset(told[scene.hub])
    for host in scene.hosts[1:]:
        if "time" not in told.get(host, {}):
            continue
        other_low, other_high = _offset(told[host])
        certain = max(other_low - high, low - other_high, 0.0)
        how = "ahead of" if other_low > high else "behind"
        fix = "run chronyd or systemd-timesyncd on both, with the same servers"
        if certain > _CLOCK_WRONG:
            text = f"{host}'s clock is at least {certain:.0f} s {how} {scene.hub}'s: munge refuses from 300 s on; {fix}"
            yield problem("clock", text)
        elif certain > _CLOCK_ODD:
            yield warning("clock", f"{host}'s clock is at least {certain:.0f} s {how} {scene.hub}'s: {fix}")


def _offset(told: Told) -> tuple[float, float]:
    before, after = told["clock"]
    return told["time"] - after, told["time"] - before


def judge_systems(site: Site, scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield where environments can't be built, or won't run on the nodes."""
    builder = told.get(scene.session, {})
    for host in dict.fromkeys((scene.hub, scene.broker, scene.session)):
        python = told.get(host, {}).get("python", "")
        if python and _minor(python) not in PYTHONS:
            yield problem(
                "system",
                f"{host} has Python {python} at /usr/bin/python3, and the "
                f"locks are for {' and '.join(PYTHONS)}: use Debian 12 or 13 "
                "there, or another system with one of these",
            )
        glibc = told.get(host, {}).get("glibc", "")
        if glibc and tuple(int(part) for part in glibc.split(".")[:2]) < _GLIBC:
            yield problem(
                "system", f"{host} has glibc {glibc}, and the wheels need 2.28: use a system of 2018 or later there"
            )
    of_partitions = {partition.architecture for partition in site.slurm.partitions}
    machine = builder.get("machine", "")
    if machine and machine not in of_partitions:
        yield problem(
            "system",
            f"{scene.session} is {machine} and builds the session environment "
            f"for nodes that are {' and '.join(sorted(of_partitions))}: "
            "what is built there does not run on them; put a host of the "
            "nodes' architecture into the groups session and kernels",
        )
    for node in scene.nodes:
        one = told.get(node, {})
        if not one.get("machine") or not machine:
            continue
        if one["machine"] != machine:
            yield problem(
                "system",
                f"{node} is {one['machine']}, and {scene.session} builds "
                f"the session environment for {machine}: put a host of the "
                "nodes' architecture into the groups session and kernels, "
                "and correct architecture in site.slurm.partitions",
            )
        elif _minor(builder["python"]) in PYTHONS and _minor(one["python"]) != _minor(builder["python"]):
            yield problem(
                "system",
                f"{node} has Python {one['python']} at /usr/bin/python3, "
                f"and environments are built with {builder['python']} on "
                f"{scene.session}: they start the node's own, so both must have the same 3.x; install it there",
            )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def judge_room(site: Site, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield where disks are full."""
    for host, one in told.items():
        for path, room in one.get("room", {}).items():
            too_few, few = _ROOM["software" if path == site.paths.software else path]
            where = f"{host}:{path}" + ("" if room["at"] == path else f" (it would lie in {room['at']})")
            if room["read_only"] and "written" in one:
                yield problem(
                    "room", f"{where} is read-only, and environments are written there: mount it for writing on {host}"
                )
            elif 0 <= room["free_gb"] < too_few:
                yield problem(
                    "room",
                    f"{where} has {room['free_gb']:g} GB free, {few:g} are needed: make room, or mount a larger disk",
                )
            elif 0 <= room["free_gb"] < few and not ("read" in one and path == site.paths.software):
                yield warning(
                    "room",
                    f"{where} has {room['free_gb']:g} GB free; a new version needs up to {few:g}: make room soon",
                )
            if 0 <= room["free_files"] < _FEW_FILES:
                yield problem(
                    "room",
                    f"{where} can hold {room['free_files']} more files (df -i): remove small ones, or raise the quota",
                )


def judge_accounts(site: Site, scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield which accounts are missing, or are other people on the nodes."""
    broker = told.get(scene.broker, {}).get("accounts")
    if broker is None:
        return
    if broker["group"] is None:
        yield problem(
            "accounts",
            f"{scene.broker} knows no group {site.group}: set site.group "
            "to the group of those who may log in, or ask the "
            "directory",
        )
    numbers = broker["numbers"]
    if unknown := [name for name, one in numbers.items() if one is None]:
        yield problem(
            "accounts",
            f"{scene.broker} knows no account {_few(unknown)}, which "
            f"site.yml or group {site.group} names: correct it, or "
            "see sssd there",
        )
    known = {name: one for name, one in numbers.items() if one}
    yield from _homes(scene.broker, known)
    for node in scene.nodes:
        theirs = told.get(node, {}).get("accounts", {}).get("numbers", {})
        yield from _same_people(scene.broker, known, node, theirs)


def _few(names: Sequence[str]) -> str:
    """Return the first names, and how many there are beside."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _homes(host: str, known: Mapping[str, Told]) -> Iterator[Finding]:
    missing = [name for name, one in known.items() if "why" in one["home"]]
    if missing:
        home = known[missing[0]]["home"]
        where = f"{host}: the home of {_few(missing)}, such as {home['path']}, can't be entered ({home['why']})"
        if len(missing) == len(known):
            yield problem("files", f"{where}: mount the homes there")
        else:
            yield warning("files", f"{where}: whoever has none yet can't start a session; make it")
    full = [name for name, one in known.items() if 0 <= one["home"].get("free_gb", 1) < _HOME_GB]
    if full:
        yield warning("room", f"{host}: the home of {_few(full)} is full: sessions can't write their files there")


def _same_people(
    broker: str, known: Mapping[str, Told], node: str, theirs: Mapping[str, Told | None]
) -> Iterator[Finding]:
    pairs = {name: (known[name], theirs[name]) for name in theirs if name in known}
    if unknown := [name for name, (_, there) in pairs.items() if there is None]:
        yield problem(
            "accounts",
            f"{node} knows no account {_few(unknown)}, {broker} does: "
            "let both ask the same directory (sssd, nsswitch.conf)",
        )
    both = {name: (ours, there) for name, (ours, there) in pairs.items() if there is not None}
    if others := [name for name, pair in both.items() if len({(one["uid"], one["gid"]) for one in pair}) > 1]:
        (ours, there), name = both[others[0]], _few(others)
        yield problem(
            "accounts",
            f"{name} is {ours['uid']}:{ours['gid']} on {broker} and "
            f"{there['uid']}:{there['gid']} on {node}: jobs would "
            "run as somebody else; let both ask the same directory",
        )
    homes = {name: (ours["home"], there["home"]) for name, (ours, there) in both.items() if "why" not in ours["home"]}
    if missing := [name for name, (_, there) in homes.items() if "why" in there]:
        home = homes[missing[0]][1]
        yield problem(
            "files",
            f"{node}: the home of {_few(missing)}, such as {home['path']}, "
            f"can't be entered ({home['why']}): mount the homes "
            "on the nodes",
        )
    if apart := [name for name, (here, there) in homes.items() if "inode" in there and _apart(here, there)]:
        here, away = homes[apart[0]]
        yield problem(
            "files",
            f"the home of {_few(apart)} is one folder on {broker} "
            f"({here['path']}) and another on {node} ({away['path']}): a "
            "session finds its files only where both see the same; mount the same file system",
        )


def _apart(here: Told, there: Told) -> bool:
    return (here["inode"], here["uid"]) != (there["inode"], there["uid"])


def judge_files(site: Site, scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield whether a file that was written on one side is seen on the other."""
    written = told.get(scene.session, {}).get("written")
    if written is None:
        return
    if written["why"]:
        yield problem(
            "files",
            f"{scene.session}: {written['path']} can't be written "
            f"({written['why']}): mount the shared file system for root there",
        )
        return
    for node in scene.nodes:
        found = told.get(node, {}).get("read")
        if found is None:
            continue
        if found["why"] or found["word"] != written["word"]:
            yield problem(
                "files",
                f"{node} does not see what {scene.session} writes to "
                f"{site.paths.software} ({found['why'] or 'another file lies there'}): "
                "mount the same file system there, on both, or correct site.paths.software",
            )
    if told[scene.session].get("removed", {}).get("why"):
        yield warning("files", f"{scene.session}: {written['path']} of this preflight is still there: remove it")


def judge_munge(scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield whose munge does not believe whose."""
    for host in dict.fromkeys((scene.broker, *scene.nodes)):
        made = told.get(host, {}).get("encoded")
        if made and made["code"] != 0:
            fix = "systemctl restart munge, and see journalctl -u munge"
            fix = _munge_fix(made) if "can't be run" in made["err"] else fix
            yield problem("munge", f"{host}: munge does not work ({_words(made)}): {fix}")
    for host in scene.hosts:
        for other, decoded in told.get(host, {}).get("decoded", {}).items():
            if decoded["code"] != 0:
                yield problem(
                    "munge", f"{host} does not believe munge of {other} ({_words(decoded)}): {_munge_fix(decoded)}"
                )


def _words(told: Told) -> str:
    return " ".join((told["err"] or told["out"]).split())[:200] or "nothing was said"


def _munge_fix(told: Told) -> str:
    said = (told["err"] + told["out"]).lower()
    if "can't be run" in said:
        return "install munge there, with the cluster's key"
    if "invalid credential" in said:
        return "the keys differ: copy /etc/munge/munge.key of the cluster there, for munge alone, and restart munge"
    if "expired" in said or "rewound" in said:
        return "the clocks differ: set them right"
    return "run munge there, with the cluster's key"


def judge_ports(site: Site, scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield which way no connection gets through."""
    hub = told.get(scene.hub, {})
    api = f"{site.hub.address}:{site.hub.api_port}"
    listening = hub.get("listening", {}).get(api, {"by": "others", "why": ""})
    if listening["by"] == "nobody":
        yield problem(
            "ports",
            f"{scene.hub} can't listen at {api} ({listening['why']}): write an "
            f"address of {scene.hub} that nodes reach into site.hub.address",
        )
    else:
        for node in scene.nodes:
            call = told.get(node, {}).get("called", {}).get(api)
            # A hub that is there already may be what these plays are to mend: then they must not be refused.
            yield from _from_node(site, scene, node, call, problem if listening["by"] == "us" else warning)
    for node in scene.nodes:
        for one in told.get(node, {}).get("listening", {}).values():
            call = hub.get("called", {}).get(f"{node}:{one.get('port')}")
            if call and not call["heard"]:
                yield problem(
                    "ports",
                    f"{scene.hub} does not reach {node} at port {one['port']} "
                    f"({call['why']}), one of those that sessions listen at: open "
                    f"the ports of /proc/sys/net/ipv4/ip_local_port_range on the nodes to {site.hub.address}",
                )
    yield from _to_broker(site, scene, hub, told)
    yield from _taken(site, scene, hub)


def _from_node(
    site: Site, scene: Scene, node: str, call: Told | None, level: Callable[[str, str], Finding]
) -> Iterator[Finding]:
    if call is None:
        return
    if not call["heard"]:
        yield level(
            "ports",
            f"{node} does not reach the hub at {site.hub.address}:{site.hub.api_port} ({call['why']}): open TCP port "
            f"{site.hub.api_port} of {scene.hub} to the nodes, and "
            "see that site.hub.address is one that nodes reach and "
            "site.slurm.node_addresses has theirs",
        )
    elif not any(ip_address(call["from"]) in ip_network(one) for one in site.slurm.node_addresses):
        yield problem(
            "ports",
            f"{node} calls the hub from {call['from']}, which is not in site.slurm.node_addresses: the firewall would "
            "refuse its sessions; add it, or the network that it is in",
        )


def _to_broker(site: Site, scene: Scene, hub: Told, told: Mapping[str, Told]) -> Iterator[Finding]:
    if not site.broker:
        return
    where = f"{site.broker.address}:{site.broker.port}"
    call, served = hub.get("called", {}).get(where), told.get(scene.broker, {}).get("listening", {}).get(where)
    if call and not call["heard"] and served and served["by"] != "nobody":
        yield problem(
            "ports",
            f"{scene.hub} does not reach the broker at {where} ({call['why']}): open that port of {scene.broker} to it",
        )


def _taken(site: Site, scene: Scene, hub: Told) -> Iterator[Finding]:
    ours = hub.get("commands", {}).get("front", {}).get("out", "").strip() == "active"
    call = hub.get("called", {}).get(f"127.0.0.1:{site.hub.port}")
    if call and call["heard"] and not ours:
        yield problem(
            "ports",
            f"another program listens at port {site.hub.port} of {scene.hub}: "
            "stop it (ss -ltnp shows it), or write another site.hub.port",
        )


def judge_names(site: Site, scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield which names do not lead to the hub."""
    found = told.get(scene.hub, {}).get("names")
    if not found:
        return
    own = found.get(site.host, [])
    if not own:
        yield problem("names", f"nobody knows the name {site.host}: add it to DNS, or correct site.public_url")
    for name in names(site)[1:]:
        if not found.get(name):
            yield problem(
                "names",
                f"nobody knows the names of users, such as USER.{site.host}: "
                f"add *.{site.host} to DNS, or write site.origins: shared",
            )
        elif own and set(found[name]) != set(own):
            yield problem(
                "names",
                f"*.{site.host} leads to {', '.join(found[name])}, and {site.host} "
                f"to {', '.join(own)}: let both lead to the hub's host",
            )
