"""Setting up the hub that the rows are run against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from support.cluster import Cluster

from faults.target import Target


@contextlib.contextmanager
def on_stage(name: str, cluster: Cluster) -> Iterator[Target]:
    """Set a hub up, and take it down again; ours is there already."""
    assert name == "ours", f"no target '{name}'"
    yield Target("ours", cluster.hub_url)
