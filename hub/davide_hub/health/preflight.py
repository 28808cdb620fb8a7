"""What ansible/preflight.yml hands over between its rounds: who is who, and what the hosts told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from davide_hub.facts import Site
from davide_hub.health.plan import Scene, Told, merged


def read_scene(site: Site, text: str) -> Scene:
    """Return who is who, from the site's facts and the groups of the inventory."""
    told = json.loads(text)
    broker = site.broker.host if site.broker else site.hub.host
    return Scene(site.hub.host, broker, told["session"], tuple(told["nodes"]), frozenset(told["made"]))


def read_rounds(rounds: Iterable[Mapping[str, Any]]) -> dict[str, Told]:
    """Return what each host told, from what Ansible registered in each round.

    Parameters
    ----------
    rounds
        Each has `before` and `after`, by this machine's clock, and `results`: what Ansible registered of each host.
    """
    told = []
    for one in rounds:
        clock = [float(one["before"]), float(one["after"])]
        told.append({host: _answer(result) | {"clock": clock} for host, result in one["results"].items()})
    return dict(merged(told))


def _answer(result: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(result.get("stdout", ""))
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    said = str(result.get("msg") or result.get("stderr") or "it gave no answer").strip().splitlines()
    return {"why": said[-1].removeprefix("Task failed: ")[:200] if said else "it gave no answer"}
