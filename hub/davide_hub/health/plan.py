"""What each host is asked to look at, in rounds: a later one asks about what an earlier one made.

1. All hosts tell what they have. Some leave something behind: a credential of munge, a file, an open port.
2. The nodes look at that from their side, and leave the same behind.
3. Hub and broker look at what the nodes left; the file is removed, and the ports are closed.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from davide_hub.facts import Profile, Site
from davide_hub.limits import questions
from davide_hub.profiles import find_partition, gres

ROUNDS = (1, 2, 3)
SLURM_VERSION = ("sinfo", "--version")
# %f is no use here: features are no facts of ours.
SLURM_NODES = ("sinfo", "--all", "--noheader", "--Node", "--format=%N|%P|%c|%m|%G")
# Of the shape of ours, for a hub that does not exist.
MARK = "davide-hub:00000000:preflight:" + 32 * "0"

Asked = dict[str, Any]
Told = Mapping[str, Any]


@dataclass(frozen=True)
class Scene:
    """Who is who.

    Attributes
    ----------
    hub, broker, session
        The hosts with these roles; often one.
    nodes
        The compute nodes that are looked from.
    made
        What the plays set up by themselves, and so is not looked at before: "slurm", "certificate".
    """

    hub: str
    broker: str
    session: str
    nodes: tuple[str, ...]
    made: frozenset[str] = frozenset()

    @property
    def hosts(self) -> list[str]:
        """Return every host, each once."""
        return list(dict.fromkeys((self.hub, self.broker, self.session, *self.nodes)))


def asked(site: Site, scene: Scene, number: int, told: Mapping[str, Told]) -> dict[str, Asked]:
    """Return what each host is asked in a round.

    Parameters
    ----------
    site
        The site's facts.
    scene
        Who is who.
    number
        The round.
    told
        What the hosts have told in the rounds before.
    """
    plans: dict[str, Asked] = {host: {} for host in scene.hosts}
    _FILLED[number](site, scene, told, plans)
    return plans


def encoded(plan: Asked) -> str:
    """Return a plan as `look` takes it: one word that no shell reads anything into."""
    return base64.b64encode(json.dumps(plan).encode()).decode()


def people(site: Site) -> list[str]:
    """Return the accounts that the site facts name."""
    return list(dict.fromkeys((*site.admins, *site.course.teachers)))


def _first(site: Site, scene: Scene, _told: Mapping[str, Told], plans: dict[str, Asked]) -> None:
    plans[scene.session] |= {"room": [site.paths.software]}
    name = f".davide-preflight-{secrets.token_hex(8)}"
    plans[scene.session]["written"] = {"folder": site.paths.software, "name": name, "word": secrets.token_hex(16)}
    hub = plans[scene.hub]
    hub["room"] = [*hub.get("room", []), "/opt/davide", "/var/lib/davide-hub", "/tmp"]  # noqa: S108 - to see what is free
    hub["listening"] = [[site.hub.address, site.hub.api_port]]
    hub["called"] = [["127.0.0.1", site.hub.port]]
    hub["commands"] = {"front": {"argv": ["systemctl", "is-active", "davide-front"]}}
    if "certificate" not in scene.made:
        hub["certificate"] = {"certificate": site.hub.certificate, "key": site.hub.certificate_key}
        hub["names"] = names(site)
    broker = plans[scene.broker]
    if site.broker:
        broker["listening"] = [[site.broker.address, site.broker.port]]
    if "slurm" not in scene.made:
        broker["accounts"] = {"group": site.group, "names": people(site)}
        broker["encoded"] = True
        broker["commands"] = broker.get("commands", {}) | slurm_commands(site)
        broker["job"] = {"user": site.admins[0], "options": job_options(site, site.profiles[0])}


def names(site: Site) -> list[str]:
    """Return the names that must lead to the hub: its own, and where users have theirs, any below it."""
    if site.host.endswith(".localhost"):
        return []  # browsers take these for their own machine, and ask nobody
    return [site.host, *([f"davide-hub-check.{site.host}"] if site.origins == "per-user" else [])]


def slurm_commands(site: Site) -> dict[str, Asked]:
    """Return what Slurm is asked: what `davide-hub check --slurm` asks, versions, and the nodes' sizes."""
    asked = questions(site.slurm) | {"version": SLURM_VERSION, "nodes": SLURM_NODES}
    return {name: {"argv": list(argv)} for name, argv in asked.items()}


def job_options(site: Site, profile: Profile) -> list[str]:
    """Return the options of a job like a session's, with a mark like ours."""
    partition = find_partition(site.slurm.partitions, profile.partition)
    wanted = gres(profile, partition)
    return [
        "--job-name=davide-hub-preflight",
        f"--comment={MARK}",
        f"--account={site.slurm.account}",
        f"--partition={profile.partition}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={profile.cores}",
        f"--mem={profile.memory_gb}G",
        *([f"--gres={wanted}"] if wanted else []),
        f"--time={profile.hours}:00:00",
        "--no-requeue",
        "--chdir=/",
        "--output=/dev/null",
    ]


def _second(site: Site, scene: Scene, told: Mapping[str, Told], plans: dict[str, Asked]) -> None:
    broker, written = told.get(scene.broker, {}), told.get(scene.session, {}).get("written", {})
    for node in scene.nodes:
        plan = plans[node]
        plan["room"] = ["/tmp", site.paths.software]  # noqa: S108 - to see what is free
        plan["called"] = [[site.hub.address, site.hub.api_port]]
        plan["listening"] = [["0.0.0.0", 0]]  # noqa: S104 - as a session does
        if written.get("path") and not written["why"]:
            plan["read"] = written["path"]
        if "accounts" in broker:
            numbers = broker["accounts"]["numbers"]
            plan["accounts"] = {"names": [name for name, one in numbers.items() if one]}
        if "encoded" in broker:
            plan["encoded"] = True
            if broker["encoded"]["code"] == 0:
                plan["decoded"] = {scene.broker: broker["encoded"]["out"]}
    if site.broker:
        plans[scene.hub]["called"] = [[site.broker.address, site.broker.port]]


def _third(_site: Site, scene: Scene, told: Mapping[str, Told], plans: dict[str, Asked]) -> None:
    written = told.get(scene.session, {}).get("written", {})
    if written.get("path") and not written["why"]:
        plans[scene.session]["removed"] = written["path"]
    for host in dict.fromkeys((scene.hub, scene.broker)):
        if process := told.get(host, {}).get("listening", {}).get("process"):
            plans[host]["ended"] = process["id"]
    looked = {node: told[node] for node in scene.nodes if node in told}
    # Nodes are called by their names, as the proxy does; where the plays make Slurm, they make these names too.
    plans[scene.hub]["called"] = [
        [node, port["port"]]
        for node, one in looked.items()
        for port in one.get("listening", {}).values()
        if "slurm" not in scene.made and port.get("by") == "us"
    ]
    credentials = {
        node: one["encoded"]["out"] for node, one in looked.items() if one.get("encoded", {}).get("code") == 0
    }
    if credentials:
        plans[scene.broker]["decoded"] = credentials


_FILLED = {1: _first, 2: _second, 3: _third}


def merged(rounds: Sequence[Mapping[str, Told]]) -> dict[str, dict[str, Any]]:
    """Return what each host told in all rounds; mappings are put together, of all else the first word counts."""
    found: dict[str, dict[str, Any]] = {}
    for one in rounds:
        for host, told in one.items():
            known = found.setdefault(host, {})
            for name, value in told.items():
                if name not in known:
                    known[name] = value
                elif isinstance(value, dict):
                    known[name] = {**known[name], **value}
    return found
