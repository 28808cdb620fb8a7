"""Chromium in front of the running hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from support.cluster import ROOT, Cluster
from support.student import Student

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once for all tests."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Return the folder for screenshots of what a person sees."""
    folder = Path(os.environ.get("DAVIDE_SCREENSHOTS", ROOT / ".davide" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def student(
    browser: Browser, cluster: Cluster, pictures: Path, wait_for: Callable[..., object]
) -> Iterator[Callable[[str], Student]]:
    """Return a function that seats a student at a browser of their own; sessions are ended afterwards."""
    seated: dict[str, Student] = {}

    def seat(name: str) -> Student:
        if name not in seated:
            page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
            page.set_default_timeout(30_000)
            seated[name] = Student(name, page, cluster, pictures, wait_for)
        return seated[name]

    yield seat
    for one in seated.values():
        if one.job():
            one.stop()
