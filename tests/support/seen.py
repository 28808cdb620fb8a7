"""What somebody at the browser saw when a test failed: a picture of each page, and in the report what lay over it.

A conftest.py imports `pytest_runtest_makereport`, and has a fixture `browser`.
"""

from __future__ import annotations

import re
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as PlaywrightError

from support.chromium import pictures_folder

_OVER_IT = """() => [...document.querySelectorAll(
    "dialog[open], [role=dialog], [role=alertdialog], .jp-Dialog, .Toastify__toast"
  )].filter((one) => one.checkVisibility()).map((one) => one.innerText.replace(/\\s+/g, " ").trim())"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what its pages show; they are still open now."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser")
    if report.failed and call.when != "teardown" and isinstance(browser, Browser):
        pages = [page for context in browser.contexts for page in context.pages]
        name = re.sub(r"[^A-Za-z0-9]+", "-", item.name).strip("-")
        told = [_told(page, f"failed-{name}-{number}") for number, page in enumerate(pages, 1)]
        report.sections.append(("what the browser showed", "\n".join(told)))
    return report


def _told(page: Page, name: str) -> str:
    """Keep a picture of a page; return its address, the picture's place, and the texts of all that lies over it."""
    picture = pictures_folder() / f"{name}.png"
    try:
        page.screenshot(path=picture, timeout=10_000)
        over = page.evaluate(_OVER_IT)
    except PlaywrightError as error:
        return f"{page.url}: no picture: {error.message}"
    return "\n".join([f"{page.url}: {picture}", *(f"  over it: {text}" for text in over)])
