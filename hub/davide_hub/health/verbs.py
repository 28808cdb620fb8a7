"""The command lines of `davide-hub doctor`, and of `davide-hub preflight`, which ansible/preflight.yml calls.

What they use is imported when they run: the other verbs, also those in sessions, do without cryptography and Slurm.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from davide_hub.facts import FactsError, load_site
from davide_hub.health.findings import ORDER, Finding
from davide_hub.operate import SITE

# Of the doctor, as monitoring programs want it.
RIGHT, WARNED, WRONG, BLIND = 0, 1, 2, 3


def add_verbs(verbs: Any) -> None:
    """Add the verbs to `davide-hub`."""
    _add_doctor(verbs)
    parser = verbs.add_parser("preflight", help="what the play preflight.yml asks; you want ./davide preflight SITE")
    inner = parser.add_subparsers(required=True, metavar="VERB")
    ask = inner.add_parser("ask", help="print what each host is to look at; earlier rounds on standard input")
    ask.add_argument("--round", type=int, choices=(1, 2, 3), required=True)
    ask.set_defaults(run=_ask)
    verdict = inner.add_parser("judge", help="say what is wrong, from all rounds on standard input")
    verdict.add_argument("--json", action="store_true", help="print it as JSON")
    verdict.set_defaults(run=_judge)
    for one in (ask, verdict):
        one.add_argument("--site", required=True, help="a site.yml")
        one.add_argument("--scene", required=True, help="JSON: session, nodes, made; see plan.Scene")


def _add_doctor(verbs: Any) -> None:
    parser = verbs.add_parser(
        "doctor",
        help="say what is wrong with this hub, why, and how to mend it",
        description="Say what is wrong with this hub, why, and how to mend it. Nothing is changed.",
        epilog="Status: 0 all is right, 1 there are warnings, 2 there are problems; 3 it could not look.",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON: ok, and findings")
    parser.add_argument(
        "--no-job", action="store_true", help="don't look from a node in a job of the site's first admin"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        choices=ORDER,
        metavar="CHECK",
        help="leave out warnings about: " + ", ".join(ORDER),
    )
    parser.add_argument("--site", type=Path, default=SITE, help=argparse.SUPPRESS)
    parser.set_defaults(run=_doctor)


def _ask(arguments: argparse.Namespace) -> int:
    from davide_hub.health.plan import asked, encoded
    from davide_hub.health.preflight import read_rounds, read_scene

    site = load_site(arguments.site)
    scene = read_scene(site, arguments.scene)
    plans = asked(site, scene, arguments.round, read_rounds(json.load(sys.stdin)))
    print(json.dumps({host: encoded(plan) for host, plan in plans.items()}))
    return 0


def _judge(arguments: argparse.Namespace) -> int:
    from davide_hub.health.judge import judge
    from davide_hub.health.preflight import read_rounds, read_scene

    site = load_site(arguments.site)
    scene = read_scene(site, arguments.scene)
    findings = judge(site, scene, read_rounds(json.load(sys.stdin)))
    tell(findings, as_json=arguments.json)
    return int(any(one.level == "problem" for one in findings))


def _doctor(arguments: argparse.Namespace) -> int:
    from davide_hub.health.doctor import examine, is_here

    if os.geteuid() != 0:
        print("davide-hub doctor looks at keys and units; run it as root on the hub's host", file=sys.stderr)
        return BLIND
    try:
        site = load_site(arguments.site)
    except FactsError as error:
        print(error, file=sys.stderr)
        return BLIND
    if not (is_here("jupyterhub") or is_here("davide-broker")):
        print(f"there is neither hub nor broker on this host; run this as root on {site.hub.host}", file=sys.stderr)
        return BLIND
    findings = examine(site, with_job=not arguments.no_job)
    findings = [one for one in findings if one.level == "problem" or one.check not in arguments.ignore]
    tell(findings, as_json=arguments.json)
    if any(one.level == "problem" for one in findings):
        return WRONG
    return WARNED if findings else RIGHT


def tell(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was found, the cause first, for people or as JSON."""
    if as_json:
        right = not any(one.level == "problem" for one in findings)
        print(json.dumps({"ok": right, "findings": [asdict(one) for one in findings]}, indent=2))
        return
    for one in findings:
        print(f"{one.level}: {one.sentence}")
    if not findings:
        print("all is right")
