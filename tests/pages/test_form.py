"""The session form: what is free, when it starts, what it costs, and that it sends what it shows."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect
from support.axe import assert_usable
from support.real_hub import xsrf
from support.slurm_says import associations, node, reservation, sinfo

FORM = "/hub/spawn"


@pytest.fixture(autouse=True)
def quiet(hub):
    """Let the cluster be idle, with one account for everybody but student03."""
    hub.slurm.thaw()
    hub.slurm.silent = False
    hub.slurm.says["sinfo"] = sinfo(node("gpu01"), node("gpu02"))
    hub.slurm.says["scontrol"] = reservation("dl-course", time.time() + 7200, time.time() + 9000, users="student03")
    hub.slurm.says["sacctmgr"] = associations(student01=("tra26_davide",), student03=("tra26_davide", "ai26_thesis"))


def figures(hub, browser, **query):
    answer = browser.get(f"{hub.url}/hub/api/davide/figures", params=query | {"_xsrf": xsrf(browser)}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def asked(hub, program):
    return [argv for argv in hub.slurm.asked if argv[0] == program]


def open_form(hub, page, query=""):
    page.goto(f"{hub.url}{FORM}{query}")
    expect(page.locator(".davide-live").first).not_to_contain_text("Asking Slurm", timeout=20_000)
    return page


def test_a_hundred_who_look_cost_one_question(hub):
    browsers = [hub.log_in("student01")] * 20
    before, began = len(asked(hub, "sinfo")), time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda browser: figures(hub, browser), browsers * 5))
    assert all(one["profiles"]["one-gpu"]["free"] == "8 of 8 GPUs free" for one in told)
    questions = len(asked(hub, "sinfo")) - before
    assert questions <= 1 + (time.monotonic() - began) // 15


def test_the_profiles_are_cards_with_what_is_free(hub, seat, picture):
    page = open_form(hub, seat("student01"))
    first = page.locator(".davide-card").first
    expect(first).to_contain_text("For the course")
    expect(first.locator(".davide-live")).to_contain_text("8 of 8 GPUs free")
    expect(first.locator(".davide-live")).to_contain_text("Starts: now")
    assert_usable(page)
    picture(page, "form")


def test_knobs_change_the_card_and_the_cost(hub, seat):
    page = open_form(hub, seat("student01"))
    expect(page.locator("#cost")).to_have_text("Costs at most 2 GPU-hours.")
    page.get_by_label("GPUs", exact=True).fill("3")
    page.get_by_label("Hours", exact=True).fill("5")
    expect(page.locator("#cost")).to_have_text("Costs at most 15 GPU-hours.")
    expect(page.locator("[data-profile=one-gpu] .davide-facts")).to_contain_text("12 cores")
    page.get_by_role("radio", name="No GPU").check()
    expect(page.locator("#cost")).to_have_text("Costs no GPU-hours.")
    expect(page.get_by_label("GPUs", exact=True)).to_be_hidden()


def test_what_is_out_of_bounds_is_not_sent(hub, seat):
    page, before = open_form(hub, seat("student01")), len(hub.slurm.jobs)
    page.get_by_label("Hours", exact=True).fill("9")
    page.get_by_role("button", name="Start").click()
    assert page.evaluate("() => !document.getElementById('spawn_form').checkValidity()")
    assert page.url == f"{hub.url}{FORM}"
    assert len(hub.slurm.jobs) == before


def test_it_is_usable_with_the_keyboard_alone(hub, seat):
    page = open_form(hub, seat("student04"))
    page.get_by_role("radio", name="One GPU").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Four GPUs")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Hours", exact=True)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Hours", exact=True)).to_have_value("3")
    page.keyboard.press("Enter")
    page.wait_for_url("**/spawn-pending/**")
    script = hub.slurm.newest("student04").order["script"]
    assert "--gres=gpu:tesla:4" in script
    assert "--time=3:00:00" in script


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(hub, seat, picture, dark):
    page = open_form(hub, seat("student03", width=360, height=740, dark=dark))
    expect(page.get_by_label("Account")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert_usable(page)
    picture(page, f"form-phone-{'dark' if dark else 'light'}")


def test_pickers_offer_what_the_user_may_use_and_hide_where_there_is_no_choice(hub, seat):
    page = open_form(hub, seat("student03"))
    assert page.get_by_label("Account").locator("option").all_inner_texts() == ["tra26_davide", "ai26_thesis"]
    assert page.get_by_label("Reservation").locator("option").all_inner_texts() == ["none", "dl-course"]
    expect(page.get_by_label("Quality of service")).to_be_hidden()
    page.get_by_label("Account").select_option("ai26_thesis")
    assert page.get_by_label("Quality of service").locator("option").all_inner_texts()[1:] == ["high", "normal"]
    page.get_by_label("Reservation").select_option("dl-course")
    expect(page.locator("[data-profile=one-gpu]")).to_contain_text("when the reservation begins")
    other = open_form(hub, seat("student01"))
    for name in ("Account", "Quality of service", "Reservation"):
        expect(other.get_by_label(name)).to_be_hidden()


def test_figures_of_what_one_may_not_use_are_refused(hub):
    browser = hub.log_in("student01")
    for query in ({"account": "ai26_thesis"}, {"qos": "high"}, {"reservation": "dl-course"}, {"account": "x y"}):
        answer = browser.get(f"{hub.url}/hub/api/davide/figures", params=query | {"_xsrf": xsrf(browser)}, timeout=30)
        assert answer.status_code == 400, query


def test_nobody_without_a_log_in_is_told_anything(hub):
    assert hub.browser().get(f"{hub.url}/hub/api/davide/figures", timeout=30).status_code == 403


def test_the_last_choice_is_there_again(hub, seat, wait_for):
    browser = hub.log_in("student04")
    user, crumb = f"{hub.url}/hub/api/users/student04", {"X-XSRFToken": xsrf(browser)}
    browser.delete(f"{user}/server", headers=crumb, timeout=30)
    wait_for(lambda: browser.get(user, headers=crumb, timeout=30).json()["servers"] == {}, "the session to end")
    page = open_form(hub, seat("student04"))
    expect(page.get_by_role("radio", name="Four GPUs")).to_be_checked()
    expect(page.get_by_label("Hours", exact=True)).to_have_value("3")


def test_a_link_fills_in_the_form_and_starts_nothing(hub, seat, picture):
    before = len(hub.slurm.jobs)
    page = open_form(hub, seat("student05"), "?profile=one-gpu&gpus=2&hours=4")
    expect(page.get_by_label("Hours", exact=True)).to_have_value("4")
    expect(page.get_by_label("GPUs", exact=True)).to_have_value("2")
    expect(page.get_by_role("alert")).to_contain_text("nothing has started")
    expect(page.locator("#cost")).to_have_text("Costs at most 8 GPU-hours.")
    picture(page, "form-by-link")
    assert len(hub.slurm.jobs) == before
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/hub/spawn-pending/student05$"))
    assert "--time=4:00:00" in hub.slurm.newest("student05").order["script"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("profile=huge", "There is no profile &#39;huge&#39;"),
        ("profile=one-gpu&hours=99", "this profile has 1 to 8"),
        ("profile=one-gpu&partition=x", "There is no option &#39;partition&#39;"),
        ("hours=<script>alert(1)</script>", "is not a whole number"),
    ],
)
def test_a_link_with_what_there_is_not_is_refused(hub, query, words):
    before = len(hub.slurm.jobs)
    page = hub.log_in("student01").get(f"{hub.url}{FORM}?{query}", timeout=30)
    assert page.status_code == 400
    assert words in page.text
    assert "<script>alert" not in page.text
    assert len(hub.slurm.jobs) == before


def test_a_frozen_slurm_holds_up_no_page_and_is_told(hub, seat, picture, wait_for):
    page = open_form(hub, seat("student01"))
    hub.slurm.silent = True
    expect(page.get_by_text("Slurm does not answer")).to_be_visible(timeout=40_000)
    expect(page.locator(".davide-live").first).to_have_text(re.compile("Slurm does not say"))
    assert_usable(page)
    picture(page, "form-silent")
    hub.slurm.freeze()
    browser = hub.log_in("student02")
    began = time.monotonic()
    assert browser.get(f"{hub.url}{FORM}", timeout=30).status_code == 200
    # A frozen command is given up after 15 s: a page that waited for it would take as long.
    assert time.monotonic() - began < 10
