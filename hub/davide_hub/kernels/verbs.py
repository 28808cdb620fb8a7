"""`davide-hub kernels`: which kernels a site has and could have, what they take of its disk, and whether they work."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from davide_hub.facts import Site, load_site
from davide_hub.kernels import trial
from davide_hub.kernels.choice import choose, load_installed, load_known, obstacles, places
from davide_hub.kernels.disk import Version, installed_versions

SITE = Path("/etc/davide-hub/site.yml")
# No node was free, or there is no Slurm here: try again later (EX_TEMPFAIL).
NOT_TRIED = 75
_NOTE = ".tried"


class KernelsFailed(Exception):  # noqa: N818 - it is what it says
    """What was asked for can't be done. `str()` says why, and what to do."""


def add_verbs(verbs: Any, facts_of: Callable[[str], Path], checkout: Callable[[], Path | None]) -> None:
    """Add `kernels` and its verbs to `davide-hub`.

    Parameters
    ----------
    verbs
        Where argparse collects them.
    facts_of
        Turns what `--site` says into the path of a site.yml.
    checkout
        Returns the project's top folder, or None where there is none.
    """
    kernels = verbs.add_parser("kernels", help="list, choose and test kernels", description=__doc__)
    inner = kernels.add_subparsers(required=True, metavar="VERB")
    listing = _verb(inner, "list", "list the installed kernels, their versions, and what those take of the disk")
    listing.set_defaults(run=lambda options: _list(load_site(facts_of(options.site)), as_json=options.json))
    choosing = _verb(inner, "choose", "say for each partition which kernels fit, and why the others do not")
    choosing.set_defaults(
        run=lambda options: _choose(load_site(facts_of(options.site)), checkout(), as_json=options.json)
    )
    trying = _verb(inner, "test", "run the test of one kernel, or of all, on a node through Slurm")
    trying.add_argument("name", nargs="?", metavar="NAME", help="only this kernel")
    trying.add_argument("--user", help="whose job it is, if root runs this; else the site's first admin")
    trying.add_argument(
        "--once", action="store_true", help="not again what passed as it is now (root's note in the kernel's folder)"
    )
    trying.set_defaults(run=lambda options: _test(load_site(facts_of(options.site)), options))


def _verb(inner: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = inner.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--site", default=str(SITE), help="a site.yml, or in a checkout a folder of ansible/inventory")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return parser


def folder_of(site: Site, name: str = "") -> Path:
    """Return where a site's kernels lie, or one of them."""
    return Path(site.paths.software) / "share/jupyter/kernels" / name


def _list(site: Site, *, as_json: bool) -> int:
    rows = [_row(site, name) for name in site.kernels]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        print(f"{row['name']}: {row['title']}, from {row['source']}, {_RAN.get(row['ran'], row['ran'])}")
        for version in row["versions"]:
            print(
                f"  {version['megabytes']:>8,.0f} MB  {version['folder']}{'  (in use)' if version['current'] else ''}"
            )
    return 0


_RAN = {"here": "run here"}


def _row(site: Site, name: str) -> dict[str, Any]:
    recipe = load_installed(_installed(site, name))
    software = Path(site.paths.software)
    found: list[Version] = []
    if recipe.environment:
        found = installed_versions(software / "envs" / recipe.environment)
    elif recipe.image:
        found = installed_versions(software / "images" / f"{name}.sif")
    return {
        "name": name,
        "title": recipe.display_name,
        "source": recipe.source,
        "ran": recipe.ran,
        "versions": [{"folder": str(one.path), "megabytes": one.bytes / 1e6, "current": one.current} for one in found],
    }


def _test(site: Site, options: argparse.Namespace) -> int:
    if options.name and options.name not in site.kernels:
        raise KernelsFailed(f"no kernel {ascii(options.name)[:60]}; this site has {', '.join(site.kernels)}")
    outcomes = []
    for name in [options.name] if options.name else site.kernels:
        folder = _installed(site, name)
        state = trial.fingerprint(folder, Path(site.paths.software))
        if options.once and _noted(folder) == state:
            print(f"{name}: passed before, as it is now")
            continue
        outcome = trial.try_kernel(site, folder, options.user or site.admins[0])
        outcomes.append(outcome)
        if outcome.passed and os.geteuid() == 0:
            (folder / _NOTE).write_text(state)
        if not options.json:
            print(trial.told(outcome), flush=True)
    if options.json:
        print(json.dumps([asdict(one) for one in outcomes], indent=2))
    if any(one.passed is False for one in outcomes):
        return 1
    return NOT_TRIED if any(one.passed is None for one in outcomes) else 0


def is_noted(folder: Path, software: Path) -> bool:
    """Return whether root has noted that the installed kernel passed its test, as it is now."""
    return _noted(folder) == trial.fingerprint(folder, software)


def _noted(folder: Path) -> str:
    try:
        return (folder / _NOTE).read_text()
    except FileNotFoundError:
        return ""


def _installed(site: Site, name: str) -> Path:
    folder = folder_of(site, name)
    if not (folder / "kernel.yml").is_file():
        raise KernelsFailed(f"{folder}: {name} is not installed there; run the play with the tag kernels")
    return folder


def _choose(site: Site, checkout: Path | None, *, as_json: bool) -> int:
    if checkout is None:
        raise KernelsFailed("the recipes are not on this host; run this from a checkout: davide-hub kernels choose")
    known = load_known(checkout / "kernels")
    rows: list[tuple[str, list[str], dict[str, list[str]]]] = []
    for place in places(site):
        fits = choose(site, known, place)
        others = {name: obstacles(one, place, site.kernel_sources) for name, one in known.items() if name not in fits}
        rows.append((str(place), fits, others))
    if as_json:
        print(json.dumps([dict(zip(("place", "fits", "others"), row, strict=True)) for row in rows], indent=2))
        return 0
    for where, fits, others in rows:
        print(where)
        for name in fits:
            print(f"  {name} fits; {_RAN.get(known[name].recipe.ran, known[name].recipe.ran)}")
        for name, reasons in others.items():
            print(f"  not {name}: {'; '.join(reasons)}")
    return 0
