"""Chromium in front of the running hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.chromium import chromium, new_browser, pictures_folder
from support.cluster import Cluster
from support.seen import pytest_runtest_makereport
from support.student import Student

__all__ = ["pytest_runtest_makereport"]

TURN = 3


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Return the folder for screenshots of what a person sees."""
    return pictures_folder()


@pytest.fixture(scope="session")
def student(
    browser: Browser, cluster: Cluster, pictures: Path, wait_for: Callable[..., object]
) -> Iterator[Callable[[str], Student]]:
    """Return a function that seats a student at a browser of their own; sessions are ended afterwards."""
    seated: dict[str, Student] = {}

    def seat(name: str) -> Student:
        if name not in seated:
            page = new_browser(browser, width=1280, height=860).new_page()
            page.set_default_timeout(30_000)
            seated[name] = Student(name, page, cluster, pictures, wait_for)
        return seated[name]

    yield seat
    for one in seated.values():
        if one.job():
            one.stop()


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of this folder."""
    config.addinivalue_line("markers", f"turn(number): when a test runs among those of this folder, else {TURN}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder take turns: some run while the session of `test_walltime.py` waits for its end."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    turns = iter(sorted(ours, key=turn))
    items[:] = [next(turns) if item in ours else item for item in items]


def turn(item: pytest.Item) -> int:
    """Return when a test runs among those of this folder."""
    mark = item.get_closest_marker("turn")
    return int(mark.args[0]) if mark else TURN
