"""The whole machine, host by host: which folders, and which commands show what lies in no file as it is."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from davide_lab.place import RUNTIME, SHARED, STATE
from support.cluster import ROOT, Cluster

from leaks.allowed import PARENT
from leaks.search import Find

Words = dict[str, tuple[str, ...]]
Found = dict[str, dict[str, Any]]
OUTPUT = "ansible's output"

_SEARCH = Path(__file__).with_name("search.py").read_text()
_SECONDS = 300
# Bundles hold what others published, packed before there was any secret.
_BUNDLE = "/srv/davide-bundle"
_EVERYWHERE = {
    "compressed logs": "find /var/log -name '*.gz' -exec zcat -f {} +",
    "units": "systemctl show --all '*'",
}
_OF_A_HOST = {
    "ctl01": {
        "accounting database": "mariadb-dump --all-databases --single-transaction",
        "accounting": "sacct --allusers --starttime=now-2days --format=ALL --parsable2",
        "jobs": "scontrol --details show job; squeue --all --format=%all",
        "scripts": "for job in $(squeue --noheader --format=%A); do scontrol write batch_script $job - || exit; done",
        "settings": "scontrol show config; sacctmgr --parsable2 show associations format=ALL",
    },
}


def search(cluster: Cluster, words: Words, since: float, hosts: Iterable[str] = ()) -> Found:
    """Search hosts and the machine that they run on; return per host `finds` and `problems`.

    Parameters
    ----------
    cluster
        The hosts.
    words
        What to look for, by its name.
    since
        From when on journals are read in full, in seconds since 1970. Their files are searched whatever their age.
    hosts
        Which; all of them, and the machine below, if this is empty.
    """
    journal = {"journal": f"journalctl --output=export --since=@{since:.0f}"}
    orders = {
        host: {
            "words": words,
            "roots": [],
            # What all hosts share is searched once.
            "elsewhere": [_BUNDLE] if host == "hub01" else [_BUNDLE, *(f"/{name}" for name in SHARED)],
            "commands": journal | _EVERYWHERE | _OF_A_HOST.get(host, {}),
        }
        for host in cluster.hosts
    }
    orders[PARENT] = {"words": words, "roots": [str(one) for one in _of_the_parent()], "elsewhere": [], "commands": {}}
    chosen = list(hosts) or list(orders)
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(chosen, pool.map(lambda host: _search(cluster, host, orders[host]), chosen), strict=True))


def in_the_output(words: Words, told: str) -> list[Find]:
    """Return what is found in the output of a play."""
    return [
        {"place": OUTPUT, "name": name, "owner": "", "mode": ""}
        for name, values in words.items()
        if any(value in told for value in values)
    ]


def _of_the_parent() -> Iterable[Path]:
    # The hosts' disks and what they share are searched from inside.
    yield from (path for path in STATE.iterdir() if path.name not in ("hosts", *SHARED))
    yield from (path for path in (RUNTIME, ROOT / ".davide", Path.home() / ".ansible") if path.exists())


def _search(cluster: Cluster, host: str, order: dict[str, Any]) -> dict[str, Any]:
    given = json.dumps(order)
    if host == PARENT:
        command = [sys.executable, "-I", "-c", _SEARCH]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False)
    else:
        done = cluster.run(host, f"python3 -I -c {shlex.quote(_SEARCH)}", _SECONDS, given)
    assert done.returncode == 0, f"the search of {host} broke off: {done.stderr[-1000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found
