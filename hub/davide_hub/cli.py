"""`davide-hub`: look at a site's facts without a cluster, root or network; make its certificates; act under attack."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from davide_hub import announce, operate, report
from davide_hub.coherence import warnings
from davide_hub.facts import FactsError, Site, load_site
from davide_hub.health import verbs as health
from davide_hub.kernels import verbs as kernels
from davide_hub.kernels.choice import check_kernels, load_known
from davide_hub.limits import find_unlimited
from davide_hub.render import SPAWNER_TEMPLATES, RenderError
from davide_hub.review import everything, scripts
from davide_hub.versions import VersionsError, installed, locked, too_old

_FACTS_OF_A_SITE = "ansible/inventory/{}/group_vars/all/site.yml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `davide-hub`; return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except (FactsError, RenderError, VersionsError, operate.OrderFailed, kernels.KernelsFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"{error.filename or 'the output'}: {error.strerror}; give a folder you may write to",
            file=sys.stderr,
        )
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="davide-hub", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    check = verbs.add_parser("check", help="say whether a site.yml holds together, and the software is new enough")
    check.add_argument("file", type=Path, metavar="FILE", help="a site.yml")
    check.add_argument(
        "--environment",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="also look at what is installed there (Python or node.js); the environment that runs this always is",
    )
    check.add_argument(
        "--lock", type=Path, action="append", default=[], metavar="FILE", help="also look at what a lock would install"
    )
    check.add_argument(
        "--slurm", action="store_true", help="also ask Slurm whether it bounds what sessions use, and warn if not"
    )
    check.add_argument("--json", action="store_true", help="print the findings, or the facts, as JSON")
    check.set_defaults(run=_check)

    render = verbs.add_parser("render", help="write what a cluster would get, to look at it")
    render.add_argument("--site", required=True, help="a folder of ansible/inventory, or a site.yml")
    render.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")
    render.add_argument(
        "--every-kernel", action="store_true", help="also the kernels of kernels/ that the site has not chosen"
    )
    render.set_defaults(run=_render)

    certificates = verbs.add_parser("certificates", help="make the certificates of hub, proxy and sessions, once")
    certificates.add_argument("--site", required=True, help="a site.yml")
    certificates.add_argument("--out", required=True, type=Path, metavar="DIR", help="where they are kept")
    whose = certificates.add_mutually_exclusive_group(required=True)
    whose.add_argument("--hub-group", metavar="GROUP", help="who may read the hub's keys")
    whose.add_argument("--broker", action="store_true", help="instead: those of a broker on another host, and its hub")
    certificates.set_defaults(run=_certificates)

    trial = verbs.add_parser("trial-certificate", help="make what browsers are shown where nobody vouches for the site")
    trial.add_argument("--site", required=True, help="a site.yml, which says where the files are to lie")
    trial.add_argument("--key-group", required=True, metavar="GROUP", help="who may read the key: the front's group")
    trial.set_defaults(run=_trial_certificate)
    announce.add_verb(verbs)
    report.add_verb(verbs)
    kernels.add_verbs(verbs, _facts_of, _checkout)
    operate.add_verbs(verbs)
    health.add_verbs(verbs)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    site, problems = None, []
    try:
        site = load_site(arguments.file)
    except FactsError as error:
        problems = list(error.sentences)
    problems += _old_versions(arguments)
    if site and (checkout := _checkout()):
        problems += [f"{arguments.file}: {text}" for text in check_kernels(site, load_known(checkout / "kernels"))]
    told = _warnings(site, arguments) if site else []
    if arguments.json:
        facts = {"site": site.model_dump(mode="json"), "warnings": told} if site else {}
        print(json.dumps({"ok": False, "problems": problems} if problems else {"ok": True} | facts, indent=2))
    elif site and not problems:
        for text in told:
            print(f"{arguments.file}: {text}")
        print(f"{arguments.file}: good; {site.name}, {len(site.profiles)} profiles, {len(site.kernels)} kernels")
    else:
        print("\n".join(problems), file=sys.stderr)
    return int(bool(problems))


def _warnings(site: Site, arguments: argparse.Namespace) -> list[str]:
    return [*warnings(site), *(asyncio.run(find_unlimited(site.slurm)) if arguments.slurm else [])]


def _old_versions(arguments: argparse.Namespace) -> list[str]:
    found = [("this environment", installed()), *((str(one), installed(one)) for one in arguments.environment)]
    found += [(str(one), locked(one)) for one in arguments.lock]
    return [sentence for where, versions in found for sentence in too_old(versions, where)]


def _render(arguments: argparse.Namespace) -> int:
    site = load_site(_facts_of(arguments.site))
    checkout = _checkout()
    if arguments.every_kernel and checkout:
        site = site.model_copy(update={"kernels": tuple(load_known(checkout / "kernels"))})
    files = everything(site, checkout) if checkout else scripts(site, SPAWNER_TEMPLATES)
    for name, text in files.items():
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)
    return 0


def _certificates(arguments: argparse.Namespace) -> int:
    # Not at the top: the other verbs do without cryptography.
    from davide_hub.certificates import prepare, prepare_broker

    site = load_site(arguments.site)
    if not arguments.broker:
        made = prepare(arguments.out, site.hub.address)
    elif site.broker:
        made = prepare_broker(arguments.out, site.broker.address)
    else:
        raise FactsError(
            [f"{arguments.site}: site.broker is missing; a broker on the hub's host needs no certificates"]
        )
    for name in made:
        print(f"made {arguments.out / name}")
    if arguments.broker:
        return 0  # all of it is root's
    # Each time: a play that was killed in between is mended by the next one.
    for name, mode in {"": 0o750, "hub.key": 0o640, "sessions.key": 0o640}.items():
        shutil.chown(arguments.out / name, group=arguments.hub_group)
        (arguments.out / name).chmod(mode)
    return 0


def _trial_certificate(arguments: argparse.Namespace) -> int:
    from davide_hub.certificates import prepare_trial

    site = load_site(arguments.site)
    certificate, key = Path(site.hub.certificate), Path(site.hub.certificate_key)
    try:
        made = prepare_trial(certificate, key, site.host)
    except ValueError as error:
        print(f"site.hub.certificate_key: {error}", file=sys.stderr)
        return 1
    for name in made:
        print(f"made {certificate.parent / name}")
    shutil.chown(key, group=arguments.key_group)
    key.chmod(0o640)
    return 0


def _facts_of(site: str) -> Path:
    checkout = _checkout()
    named = checkout / _FACTS_OF_A_SITE.format(site) if checkout and "/" not in site else None
    return named if named and named.is_file() else Path(site)


def _checkout() -> Path | None:
    """Return the project's top folder if this runs from a checkout, else None (installed on a hub)."""
    top = Path(__file__).resolve().parents[2]
    return top if (top / "spawner_templates").is_dir() else None


# So that it runs from a checkout too, where nothing is installed: `PYTHONPATH=hub python -m davide_hub.cli`.
if __name__ == "__main__":
    sys.exit(main())
