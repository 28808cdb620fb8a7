"""`davide-hub preflight`: what ansible/preflight.yml asks between its rounds, and the verdict at their end.

The play runs `look` on the hosts; this knows what to ask them and what their answers mean, and touches none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from davide_hub.facts import Site, load_site
from davide_hub.health.findings import Finding
from davide_hub.health.judge import judge
from davide_hub.health.plan import ROUNDS, Scene, Told, asked, encoded, merged


def add_verbs(verbs: Any) -> None:
    """Add the verb to `davide-hub`."""
    parser = verbs.add_parser("preflight", help="what the play preflight.yml asks; you want ./davide preflight SITE")
    inner = parser.add_subparsers(required=True, metavar="VERB")
    ask = inner.add_parser("ask", help="print what each host is to look at; earlier rounds on standard input")
    ask.add_argument("--round", type=int, choices=ROUNDS, required=True)
    ask.set_defaults(run=_ask)
    verdict = inner.add_parser("judge", help="say what is wrong, from all rounds on standard input")
    verdict.add_argument("--json", action="store_true", help="print it as JSON")
    verdict.set_defaults(run=_judge)
    for one in (ask, verdict):
        one.add_argument("--site", required=True, help="a site.yml")
        one.add_argument("--scene", required=True, help="JSON: session, nodes, made; see plan.Scene")


def _ask(arguments: argparse.Namespace) -> int:
    site = load_site(arguments.site)
    scene = read_scene(site, arguments.scene)
    plans = asked(site, scene, arguments.round, read_rounds(json.load(sys.stdin)))
    print(json.dumps({host: encoded(plan) for host, plan in plans.items()}))
    return 0


def _judge(arguments: argparse.Namespace) -> int:
    site = load_site(arguments.site)
    scene = read_scene(site, arguments.scene)
    return tell(judge(site, scene, read_rounds(json.load(sys.stdin))), as_json=arguments.json)


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
    return {"why": said[-1][:200] if said else "it gave no answer"}


def tell(findings: list[Finding], *, as_json: bool, good: str = "preflight: all is right") -> int:
    """Print what was found, for people or as JSON; return 1 if something must be mended."""
    problems = [one for one in findings if one.level == "problem"]
    if as_json:
        print(json.dumps({"ok": not problems, "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        for one in findings:
            print(f"{one.level}: {one.sentence}", file=sys.stderr if one.level == "problem" else sys.stdout)
        if not findings:
            print(good)
    return int(bool(problems))
