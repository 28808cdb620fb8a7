"""Fixtures for all tests: the local cluster, and waiting for things."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.cluster import Cluster, davide


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of all folders."""
    config.addinivalue_line(
        "markers", "long: in a long form only: another test is much like it, and the suite has its limits"
    )


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the local cluster, which `./davide test` has brought up."""
    shown = json.loads(davide("status", "--json").stdout)
    assert shown["state"] == "up", "the local cluster is not up; run ./davide up, or ./davide test, which does"
    by_name = {key: {row["name"]: row for row in shown[key]} for key in ("accounts", "hosts")}
    return Cluster(shown["hub_url"], by_name["accounts"], by_name["hosts"])


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Return a function that waits until something is true and returns it."""

    def wait(what: Callable[[], Any], because: str, seconds: float = 60, every: float = 0.3) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {because}"
            time.sleep(every)
        return found

    return wait
