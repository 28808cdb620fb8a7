"""Chromium, as the tests use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from support.cluster import ROOT

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync"]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, and end it afterwards."""
    # Other parts of the suite run beside: what is to be seen may take longer than the usual 5 s, and is waited for.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield started
        started.close()


def new_browser(browser: Browser, *, width: int, height: int, dark: bool = False) -> BrowserContext:
    """Return a browser without cookies, whose user has said yes to the trial certificate."""
    return browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        ignore_https_errors=True,
    )


def pictures_folder() -> Path:
    """Return the folder for screenshots of what a person sees."""
    folder = Path(os.environ.get("DAVIDE_SCREENSHOTS", ROOT / ".davide" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
