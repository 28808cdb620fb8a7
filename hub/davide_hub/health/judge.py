"""All that can be said of a site from what its hosts have told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from davide_hub.facts import Site
from davide_hub.health import judge_hosts as hosts
from davide_hub.health.findings import Finding, ordered
from davide_hub.health.judge_certificate import judge_certificate
from davide_hub.health.judge_slurm import judge_job, judge_slurm, outcomes
from davide_hub.health.plan import Scene, Told


def judge(site: Site, scene: Scene, told: Mapping[str, Told]) -> list[Finding]:
    """Return what is wrong, the causes first.

    Parameters
    ----------
    site
        The site's facts.
    scene
        Who is who.
    told
        What each host told (`look`), with `clock`: when it was asked and when the answer was there, by one clock.
        A host that gave no answer has `why` instead.
    """
    return ordered(_findings(site, scene, told))


def _findings(site: Site, scene: Scene, told: Mapping[str, Told]) -> Iterator[Finding]:
    yield from hosts.judge_reach(scene, told)
    yield from hosts.judge_room(site, told)
    yield from hosts.judge_clocks(scene, told)
    yield from hosts.judge_systems(site, scene, told)
    yield from hosts.judge_accounts(site, scene, told)
    yield from hosts.judge_files(site, scene, told)
    yield from hosts.judge_munge(scene, told)
    yield from hosts.judge_ports(site, scene, told)
    yield from hosts.judge_names(site, scene, told)
    hub, broker = told.get(scene.hub, {}), told.get(scene.broker, {})
    if "certificate" in hub:
        yield from judge_certificate(site, hub["certificate"], hub["time"])
    if "config" in broker.get("commands", {}):
        yield from judge_slurm(site, scene.broker, outcomes(broker["commands"]))
    if "job" in broker:
        yield from judge_job(site, scene.broker, broker["job"])
