"""The hub without a cluster is a hub: people log in, start, and are led to what runs."""

from __future__ import annotations

from support.axe import assert_usable
from support.real_hub import xsrf


def test_a_session_starts_and_is_reached(hub, wait_for):
    hub.slurm.runs_at_once = True
    browser = hub.log_in("student01")
    form = {"profile": "no-gpu", "_xsrf": xsrf(browser)}
    browser.post(f"{hub.url}/hub/spawn", data=form, timeout=30)
    reached = wait_for(
        lambda: "version" in (page := browser.get(f"{hub.url}/user/student01/api", timeout=30).text) and page,
        "the session is not reached",
    )
    assert reached == '{"version": "2.21.0"}'


def test_the_home_page_is_usable_for_everybody(seat, picture):
    page = seat("student02")
    picture(page, "home-nothing-runs")
    assert_usable(page)
