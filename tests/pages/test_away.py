"""What stands where a page should be while the hub or a session can't be reached, and how it heals; in Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


@pytest.fixture
def stays(hub):
    """Return a function that lets a page look at an address again in vain, so that it can be looked at in peace."""

    def stay(page):
        # A browser that is answered with nothing stays where it is.
        page.route(f"{hub.url}/**", answer)

    def answer(route):
        if route.request.is_navigation_request():
            route.fulfill(status=204)
        else:
            route.fallback()

    return stay


@pytest.mark.parametrize("dark", [False, True])
def test_while_the_hub_is_away_its_pages_say_so_and_come_back_by_themselves(hub, seat, looks_right, stays, dark):
    page = seat("student01", dark=dark)
    with hub.away():
        answer = page.goto(f"{hub.url}/hub/home?of=mine#here")
        assert answer is not None
        assert answer.status == 503
        expect(page.locator("#hub-away")).to_contain_text("tries again by itself")
        stays(page)
        looks_right(page, f"hub-{'dark' if dark else 'light'}")
        page.unroute_all()
        page.reload()
        expect(page.locator("#hub-away")).to_be_visible()
    expect(page.get_by_role("button", name="Start a session")).to_be_visible(timeout=15_000)
    assert page.url == f"{hub.url}/hub/home?of=mine#here"


def test_a_form_that_is_sent_meanwhile_is_not_sent_again_but_shown(hub, seat):
    page = seat("student02")
    page.goto(f"{hub.url}/hub/spawn")
    with hub.away():
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#hub-away")).to_be_visible()
    expect(page.get_by_role("heading", name="Start a session")).to_be_visible(timeout=15_000)
    assert page.url == f"{hub.url}/hub/spawn"
    assert hub.slurm.jobs == {}


def test_programs_are_told_in_few_words_as_before(hub):
    browser = hub.browser()
    with hub.away():
        for method, headers in (
            ("GET", {}),
            ("GET", {"Accept": "application/json"}),
            ("DELETE", {"Accept": "text/html"}),
        ):
            answer = browser.request(method, f"{hub.url}/hub/api/user", headers=headers, timeout=10)
            assert (answer.status_code, answer.text) == (503, "Service Unavailable")
            assert "Content-Type" not in answer.headers


def test_a_session_that_is_gone_is_asked_for_until_the_hub_knows_why(hub, seat, looks_right, stays):
    page = seat("student03")
    hub.slurm.runs_at_once = True
    page.goto(f"{hub.url}/hub/spawn")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/student03/**", timeout=60_000)
    job = hub.slurm.newest("student03")
    hub.slurm.lose_server(job.number)
    answer = page.goto(f"{hub.url}/user/student03/lab")
    assert answer is not None
    assert answer.status == 503
    expect(page.locator("#session-away")).to_contain_text("hears of it within half a minute")
    stays(page)
    looks_right(page, "session")
    page.unroute_all()
    hub.slurm.end(job.number, "TIMEOUT")
    page.reload()
    expect(page.locator("#session-ended")).to_contain_text("time limit", timeout=60_000)


def test_a_session_that_is_suspended_has_a_page_and_comes_back(hub, seat):
    page = seat("student04")
    hub.slurm.runs_at_once = True
    page.goto(f"{hub.url}/hub/spawn")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/student04/**", timeout=60_000)
    # So that the proxy has a connection which it keeps.
    page.goto(f"{hub.url}/user/student04/lab")
    page.wait_for_load_state("networkidle")
    with hub.slurm.suspended(hub.slurm.newest("student04").number):
        answer = page.goto(f"{hub.url}/user/student04/lab", timeout=60_000)
        assert answer is not None
        assert answer.status == 503
        expect(page.locator("#session-away")).to_be_visible()
        home = page.context.new_page()
        home.goto(f"{hub.url}/hub/home")
        expect(home.locator("#session-running")).to_contain_text("Slurm has suspended the session", timeout=40_000)
    expect(page.locator("#session-away")).to_have_count(0, timeout=40_000)
