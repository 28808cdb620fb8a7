"""A real hub on this machine, without a cluster, and Chromium before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize
from support.axe import assert_usable
from support.chromium import chromium, new_browser, pictures_folder
from support.pretended_cluster import PASSWORD
from support.real_hub import RealHub, real_hub
from support.seen import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]

PHONE: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RealHub]:
    """Start a hub for the tests of a file, whose function `site_facts`, if there is one, changes the facts before."""
    change = getattr(request.module, "site_facts", dict)
    with real_hub(tmp_path_factory.mktemp("hub"), change) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture
def seat(hub: RealHub, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that logs somebody in at a browser of their own and returns its page."""
    contexts = []

    def seat(name: str, *, width: int = 1280, height: int = 860, dark: bool = False) -> Page:
        context = new_browser(browser, width=width, height=height, dark=dark)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{hub.url}/hub/login?next=%2Fhub%2Fhome")
        page.get_by_label("Username:").fill(name)
        page.get_by_label("Password:", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/hub/home")
        return page

    yield seat
    for context in contexts:
        context.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Return a function that keeps what somebody sees, under a name."""

    def keep(page: Page, title: str) -> None:
        # Without "animations", a colour may be caught halfway.
        page.screenshot(path=pictures_folder() / f"{title}.png", full_page=True, animations="disabled")

    return keep


@pytest.fixture
def looks_right(request: pytest.FixtureRequest, picture: Callable[[Page, str], None]) -> Callable[[Page, str], None]:
    """Return a function that keeps pictures of a page, at a desk and on a dark phone, and wants it usable on both."""
    subject = request.path.stem.removeprefix("test_")

    def look(page: Page, title: str) -> None:
        picture(page, f"{subject}-{title}")
        assert_usable(page)
        desk = page.viewport_size
        page.set_viewport_size(PHONE)
        # As JupyterHub's own button for it does.
        page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
        picture(page, f"{subject}-{title}-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert_usable(page)
        page.evaluate("document.documentElement.dataset.bsTheme = 'light'")
        if desk:
            page.set_viewport_size(desk)

    return look
