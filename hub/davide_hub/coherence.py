"""Whether the facts of a site, each of them well-formed, hold together; and what is allowed and costs something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from ipaddress import ip_interface
from itertools import islice
from typing import TYPE_CHECKING, Any

from davide_hub.hostlist import host_names
from davide_hub.reading import Key
from davide_hub.sentences import Finding

if TYPE_CHECKING:
    from davide_hub.facts import Hub, OidcLogin, Partition, Profile, Site

_LOOPBACK = ("127.0.0.1", "localhost")
_HOST = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
# Far more than any cluster has; a slip in a range shall not fill the memory.
_MOST_NODES = 50_000


def contradictions(site: Site) -> Iterator[Finding]:
    """Yield what is wrong between facts that are each well-formed: where, and the problem with its fix."""
    yield from _repeated(("site", "kernels"), site.kernels)
    yield from _repeated(("site", "kernel_sources"), site.kernel_sources)
    yield from _repeated(("site", "course", "lessons"), site.course.lessons)
    yield from _repeated(("site", "slurm", "partitions"), [p.name for p in site.slurm.partitions], "name")
    yield from _repeated(("site", "profiles"), [p.name for p in site.profiles], "name")
    for index, partition in enumerate(site.slurm.partitions):
        yield from _misnamed(("site", "slurm", "partitions", index, "nodes"), partition.nodes)
    yield from _misread(("site", "slurm", "node_addresses"), site.slurm.node_addresses)
    yield from _shared_ports(site.hub)
    if site.broker and site.broker.host == site.hub.host:
        problem = f"{site.hub.host!r} is site.hub.host, where the broker has a socket; remove site.broker"
        yield ("site", "broker", "host"), problem
    if site.database and site.database.authority is None and site.database.host not in _LOOPBACK:
        problem = f"the way to {site.database.host} is not this host's own, and nobody vouches for what is there"
        yield ("site", "database"), f"{problem}; write authority: the file with the database's CA certificate"
    if site.origins == "per-user" and re.fullmatch(r"https://[0-9.]+(:[0-9]+)?", site.public_url):
        problem = f"{site.public_url!r} is a number, and users' names can't stand before it"
        yield ("site", "public_url"), f"{problem}; write a host name, or site.origins: shared"
    if site.login.kind == "oidc":
        yield from _unsafe(site.login)
    if site.session.default_kernel not in site.kernels:
        key = ("site", "session", "default_kernel")
        yield key, _not_among(site.session.default_kernel, "site.kernels", site.kernels)
    for index, profile in enumerate(site.profiles):
        yield from _misfits(("site", "profiles", index), profile, site.slurm.partitions)
    yield from _impossible_course(site)
    yield from _impossible_kernel_jobs(site)


def warnings(site: Site) -> Iterator[str]:
    """Yield what is allowed, and costs something that whoever wrote it should know."""
    if site.origins == "shared":
        yield (
            "site.origins: shared: every user's pages come from one origin, so a notebook that somebody was tricked "
            "into opening can act in the hub, and in other people's sessions, as whoever looks at it. Get a wildcard "
            "name (*.host in DNS and in the certificate), and write per-user"
        )


def _repeated(where: Key, names: Sequence[str], field: str | None = None) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name in names[:index]:
            key = (*where, index) if field is None else (*where, index, field)
            yield key, f"{name!r} stands here for the second time; remove it or give it a name of its own"


def _misnamed(where: Key, nodes: Sequence[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, written in enumerate(nodes):
        names = list(islice(host_names(written), _MOST_NODES + 1))
        doubled = next((name for name in names if name in seen), None)
        if not 0 < len(names) <= _MOST_NODES:
            count = f"more than {_MOST_NODES}" if names else "no"
            yield (*where, place), f"{written!r} stands for {count} nodes; correct the range, as in gpu[01-45]"
        elif wrong := next((name for name in names if not _HOST.match(name)), None):
            yield (*where, place), f"{wrong!r} is not a host's name; write for example gpu01 or gpu[01-45]"
        elif "--" in written:
            # In a route's name these stand for a dot (davide_hub.certificates).
            yield (*where, place), f"{written!r} has '--' in it; give the node a name without"
        elif doubled or len(set(names)) < len(names):
            yield (
                (*where, place),
                f"{doubled or written!r} stands here for the second time; remove it or give it a name of its own",
            )
        seen.update(names)


def _misread(where: Key, addresses: Sequence[str]) -> Iterator[Finding]:
    # What nft would not load, or would take for more hosts than was meant.
    seen: dict[str, Any] = {}
    for index, text in enumerate(addresses):
        try:
            one = ip_interface(text)
        except ValueError:
            yield (*where, index), f"{text!r} is not an address or a network; write for example 10.77.0.0/24"
            continue
        if one.ip != one.network.network_address:
            yield (*where, index), f"{text!r} is a host in a network; write {one.network} or {one.ip}"
        elif one.network.prefixlen == 0:
            yield (*where, index), f"{text!r} is everybody; write the networks of the compute nodes"
        for other, known in seen.items():
            if known.version == one.version and known.overlaps(one.network):
                yield (*where, index), f"{text!r} and {other!r} have addresses in common; keep the larger one"
        seen[text] = one.network


def _shared_ports(hub: Hub) -> Iterator[Finding]:
    taken = {hub.port: "site.hub.port"}
    for field in ("proxy_port", "api_port", "proxy_api_port"):
        port = getattr(hub, field)
        if port in taken:
            yield ("site", "hub", field), f"{port} is {taken[port]} already; choose another port"
        taken.setdefault(port, f"site.hub.{field}")


def _unsafe(login: OidcLogin) -> Iterator[Finding]:
    for field in ("issuer", "authorize_url", "token_url", "keys"):
        address = getattr(login, field)
        if address.startswith("http:") and not re.match(r"http://(127\.0\.0\.1|localhost)[:/]", address):
            yield ("site", "login", field), f"{address!r} can be read and changed on its way; write https://"


def _misfits(where: Key, profile: Profile, partitions: tuple[Partition, ...]) -> Iterator[Finding]:
    partition = next((p for p in partitions if p.name == profile.partition), None)
    if partition is None:
        names = [p.name for p in partitions]
        yield (*where, "partition"), _not_among(profile.partition, "site.slurm.partitions", names)
        return
    for field, most in (("gpus", profile.most_gpus), ("hours", profile.most_hours)):
        if most is not None and most < getattr(profile, field):
            yield (
                (*where, f"most_{field}"),
                f"{most} is less than the profile's own {getattr(profile, field)}; write more",
            )
    if profile.most_gpus and not profile.gpus:
        yield (*where, "most_gpus"), "the profile has no GPUs; remove it, or give the profile some"
    limits = {
        "gpus": (partition.gpus, "GPUs of a node"),
        "cores": (partition.cores, "cores of a node"),
        "memory_gb": (partition.memory_gb, "gigabytes of a node"),
        "hours": (partition.max_hours, "hours allowed"),
        "most_gpus": (partition.gpus, "GPUs of a node"),
        "most_hours": (partition.max_hours, "hours allowed"),
    }
    for field, (limit, what) in limits.items():
        wanted = getattr(profile, field) or 0
        if wanted > limit:
            problem = f"{wanted} is more than the {limit} {what} in partition {partition.name}"
            yield (*where, field), f"{problem}; write at most {limit}"
    if profile.gpus and (profile.most_gpus or 0) > profile.gpus:
        for field in ("cores", "memory_gb"):
            limit, what = limits[field]
            wanted = getattr(profile, field) * (profile.most_gpus or 0) // profile.gpus
            if wanted > limit:
                problem = f"with {profile.most_gpus} GPUs it is {wanted}, more than the {limit} {what}"
                yield (*where, field), f"{problem} in partition {partition.name}; write less here or in most_gpus"


def _impossible_course(site: Site) -> Iterator[Finding]:
    course, where = site.course, ("site", "course")
    for field in ("first_day", "last_day"):
        day = getattr(course, field)
        try:
            date.fromisoformat(day or "2026-01-01")
        except ValueError:
            yield (*where, field), f'{day!r} is no day of the calendar; write for example "2026-03-02"'
    if course.first_day and course.last_day and course.last_day < course.first_day:
        yield (*where, "last_day"), f"{course.last_day!r} is before first_day; write a later day"
    if course.profile is None:
        for field, value in (("hours", course.hours), ("locked", "profile" in course.locked)):
            if value:
                yield (*where, field), "it needs the profile that it is about; write site.course.profile"
        return
    profile = next((one for one in site.profiles if one.name == course.profile), None)
    if profile is None:
        yield (*where, "profile"), _not_among(course.profile, "site.profiles", [one.name for one in site.profiles])
    elif (course.hours or 0) > (limit := profile.most_hours or profile.hours):
        yield (
            (*where, "hours"),
            f"{course.hours} is more than the {limit} of profile {profile.name}; write at most {limit}",
        )


def _impossible_kernel_jobs(site: Site) -> Iterator[Finding]:
    for index, offer in enumerate(site.kernel_jobs):
        where = ("site", "kernel_jobs", index)
        if offer in site.kernel_jobs[:index]:
            yield where, "the same stands here for the second time; remove it"
        profile = next((one for one in site.profiles if one.name == offer.profile), None)
        if profile is None:
            yield (*where, "profile"), _not_among(offer.profile, "site.profiles", [one.name for one in site.profiles])
        elif profile.gpus == 0:
            yield (*where, "profile"), f"profile {profile.name} has no GPUs; name one that has, or remove this"
        else:
            most = {"gpus": profile.most_gpus or profile.gpus, "hours": profile.most_hours or profile.hours}
            for field, limit in most.items():
                wanted = getattr(offer, field) or 0
                if wanted > limit:
                    problem = f"{wanted} is more than the {limit} of profile {profile.name}"
                    yield (*where, field), f"{problem}; write at most {limit}"


def _not_among(name: str, home: str, names: Sequence[str]) -> str:
    return f"{name!r} is not in {home}; write one of {', '.join(names)}"
