"""The session form while a course runs that has locked fields."""

from __future__ import annotations

from datetime import date

from playwright.sync_api import expect
from support.axe import assert_usable
from support.real_hub import xsrf
from support.slurm_says import associations, node, sinfo


def site_facts(site):
    site["course"] |= {
        "first_day": "2020-01-01",
        "last_day": "2099-12-31",
        "profile": "no-gpu",
        "hours": 3,
        "account": "course26",
        "reservation": "dl-course",
        "locked": ["profile", "hours", "account", "reservation"],
    }


def test_locked_fields_are_shown_and_not_to_be_changed(hub, seat, picture):
    hub.slurm.says["sinfo"] = sinfo(node("gpu01"))
    hub.slurm.says["scontrol"] = "No reservations in the system\n"
    hub.slurm.says["sacctmgr"] = associations(student01=("tra26_davide", "other"))
    page = seat("student01")
    page.goto(f"{hub.url}/hub/spawn")
    expect(page.get_by_role("radio", name="No GPU")).to_be_checked()
    expect(page.get_by_role("radio", name="One GPU")).to_be_disabled()
    hours = page.get_by_label("Hours", exact=True)
    expect(hours).to_have_value("3")
    expect(hours).not_to_be_editable()
    assert page.get_by_label("Account").locator("option").all_inner_texts() == ["course26"]
    assert page.get_by_label("Reservation").locator("option").all_inner_texts() == ["dl-course"]
    expect(page.get_by_text("Set by the course until 31 December 2099").first).to_be_visible()
    # The hub asks for reservations once somebody looks, and the page asks again for what it did not know.
    card = page.locator("[data-profile=no-gpu]")
    expect(card).to_contain_text("Slurm has no reservation dl-course", timeout=40_000)
    assert_usable(page)
    picture(page, "form-locked")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/spawn-pending/**")
    script = hub.slurm.newest("student01").order["script"]
    assert "--account=course26" in script
    assert "--reservation=dl-course" in script
    assert "--time=3:00:00" in script
    assert date.today().year < 2099, "this course is over: give it another last day"


def test_no_way_in_unlocks_them(hub):
    browser = hub.log_in("student02")
    before = len(hub.slurm.jobs)
    ways = [
        ("POST", "/hub/spawn", {"data": {"profile": "one-gpu"}}),
        ("GET", "/hub/spawn?profile=one-gpu", {}),
        ("POST", "/hub/api/users/student02/server", {"json": {"hours": 1}}),
        ("POST", "/hub/api/users/student02/server", {"json": {"user_options": {"reservation": ""}}}),
        ("PUT", "/hub/api/users/student02/servers/two", {"json": {"user_options": {"account": "tra26_davide"}}}),
    ]
    for method, path, sent in ways:
        headers = {"X-XSRFToken": xsrf(browser)}
        answer = browser.request(method, hub.url + path, headers=headers, timeout=30, **sent)
        assert answer.status_code == 400, f"{method} {path} {sent}"
        assert "The course sets" in answer.text
    assert len(hub.slurm.jobs) == before
