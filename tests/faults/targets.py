"""Setting up the hub that the rows are run against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from support.cluster import Cluster

from faults.hosts import HUB, Hosts
from faults.stock import stock_hub
from faults.target import Target
from faults.waiting import wait_for

DROP_INS = "/etc/davide-hub/jupyterhub_config.d"
# Our own hub with one thought of it turned wrong: a file of settings that patches it.
MUTANTS = {path.stem: path for path in sorted((Path(__file__).parent / "mutants").glob("*.py"))}
NAMES = ("ours", "stock", *MUTANTS)


@contextlib.contextmanager
def on_stage(name: str, cluster: Cluster) -> Iterator[Target]:
    """Set a hub up, and take it down again; ours is there already."""
    assert name in NAMES, f"no target '{name}'; there are {', '.join(NAMES)}"
    if name == "stock":
        with stock_hub() as target:
            yield target
        return
    target = Target(name, cluster.hub_url)
    if name == "ours":
        yield target
        return
    with _drop_in(target, MUTANTS[name]):
        yield target


@contextlib.contextmanager
def _drop_in(target: Target, mutant: Path) -> Iterator[None]:
    hosts, path = Hosts(), f"{DROP_INS}/{mutant.name}"
    restart = f"systemctl restart {target.hub_unit}"
    try:
        hosts.write(HUB, path, mutant.read_text(), "0644")
        hosts.output(HUB, restart, 120)
        wait_for(
            lambda: mutant.stem in hosts.output(HUB, f"journalctl --unit={target.hub_unit} -n 200"), "the mutant", 30
        )
        yield
    finally:
        hosts.output(HUB, f"rm -f {path}; {restart}", 120)
