"""`davide-hub backup FILE` and `restore FILE`, as root on the hub's host, and on the broker's where it has its own."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

from davide_hub.facts import load_site
from davide_hub.operate import SITE, OrderFailed

# The order in which they start; they are stopped the other way round.
_UNITS = ("davide-broker", "jupyterhub-proxy", "jupyterhub", "davide-front")
_UNIT_FILES = Path("/etc/systemd/system")


def add_verbs(verbs: Any) -> None:
    """Add the verbs to `davide-hub`."""
    backup = verbs.add_parser("backup", help="write all that this host can't make again into a file, while it runs")
    backup.set_defaults(run=_backup)
    restore = verbs.add_parser("restore", help="put that back, on this host or a new one; sessions that run go on")
    restore.set_defaults(run=_restore)
    for verb in (backup, restore):
        verb.add_argument("file", type=Path, metavar="FILE", help="a tar.gz for root alone; it holds secrets")
        verb.add_argument("--site", type=Path, default=SITE, help=argparse.SUPPRESS)
        verb.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)


def _backup(arguments: argparse.Namespace) -> int:
    # Not at the top: the other verbs do without.
    from davide_hub.backup.archive import write
    from davide_hub.backup.gather import gather

    about, members = gather(load_site(arguments.site), arguments.root)
    write(arguments.file, about, members)
    sessions = sum(name.startswith("broker/ledger/") for name in members)
    print(f"{arguments.file}: {len(members)} files and folders, {sessions} sessions in the ledger; keep it elsewhere")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from davide_hub.backup.archive import read
    from davide_hub.backup.restore import check, put_back

    site = load_site(arguments.site)
    about, members = read(arguments.file)
    check(site, about, members, arguments.root)
    units = [unit for unit in _UNITS if (arguments.root / _UNIT_FILES.relative_to("/") / f"{unit}.service").exists()]
    _systemctl("stop", [unit for unit in reversed(units) if unit != "davide-front"])
    try:
        told = put_back(site, members, arguments.root)
    except OSError as error:
        raise OrderFailed(
            f"{error.filename}: {error.strerror}; hub and broker are stopped. Mend this, and give the order again"
        ) from None
    _systemctl("restart", units)
    print("\n".join([f"of {about.made}, from {about.host}", *told, f"restarted {', '.join(units)}"]))
    return 0


def _systemctl(verb: str, units: list[str]) -> None:
    if not units:
        return
    done = subprocess.run(["systemctl", verb, *units], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OrderFailed(f"systemctl {verb} {' '.join(units)} failed: {done.stderr.strip()}")
