"""Every state of a session as its owner sees it, in Chromium, at a desk and on a phone: waiting, failing, ending."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect
from support.real_hub import xsrf


def site_facts(site):
    site["session"]["per_user"] = 3
    site["course"]["title"] = "Deep learning"


@pytest.fixture(autouse=True)
def calm(hub):
    """Let Slurm answer again after a test."""
    yield
    hub.slurm.silent, hub.slurm.refuses, hub.slurm.runs_at_once = False, "", False
    hub.slurm.thaw()


def start(hub, page, profile="No GPU", name=""):
    page.goto(f"{hub.url}/hub/spawn{f'/{name}' if name else ''}")
    page.get_by_role("radio", name=profile).check()
    page.get_by_role("button", name="Start").click()


def waits(hub, page, user, reason, **shown):
    """Start a session that waits for a reason; return its job."""
    start(hub, page)
    page.wait_for_url("**/spawn-pending/**")
    job = hub.slurm.newest(user)
    now = int(time.time())
    job.reason = reason
    job.shown = {"partition": "dvd_usr_prod", "priority": "100", "submitted": str(now - 125)} | shown
    return job


def fact(page, name):
    return page.locator(f"[data-fact={name}] dd")


def test_waiting_is_told_with_all_there_is_to_know(hub, seat, looks_right):
    page = seat("student01")
    job = waits(hub, page, "student01", "Priority", start=str(int(time.time()) + 1200))
    expect(page.locator("#session-news")).to_have_text(
        f"Job {job.number} waits: others are before you in the queue", timeout=30_000
    )
    expect(page.locator("#session-advice")).to_contain_text("A smaller profile may start sooner")
    expect(fact(page, "job")).to_have_text(job.number)
    expect(fact(page, "reason")).to_have_text("Priority")
    expect(fact(page, "place")).to_have_text("1 of 1 who wait here")
    expect(fact(page, "since")).to_have_text(re.compile(r"^[2-9]:\d\d$"))
    expect(fact(page, "starts")).to_have_text(re.compile(r"\d\d?:\d\d"))
    looks_right(page, "waiting")
    page.reload()
    expect(page.locator("#session-news")).to_contain_text("others are before you")
    expect(fact(page, "since")).to_have_text(re.compile(r"^[2-9]:\d\d$"))
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/hub/spawn")
    assert job.state == "CANCELLED"


@pytest.mark.parametrize(
    ("reason", "sentence", "todo"),
    [
        ("AssocGrpGRESMinutes", "your account has no budget left: its GPU hours are used up", "ask your teacher"),
        ("AssocGrpCPUMinutesLimit", "your account has no budget left: its core hours are used up", "ask your teacher"),
        ("Reservation", "its reservation starts at 14:00", "It starts by itself then"),
        ("SomethingNewInSlurm30", "Slurm says: SomethingNewInSlurm30", "Ask the site's support"),
    ],
)
def test_a_reason_is_told_with_what_to_do(hub, seat, looks_right, reason, sentence, todo):
    page = seat("student02")
    begins = int(time.mktime((*time.localtime()[:3], 14, 0, 0, 0, 0, -1)))
    waits(hub, page, "student02", reason, start=str(begins) if reason == "Reservation" else "N/A")
    expect(page.locator("#session-news")).to_contain_text(sentence, timeout=30_000)
    expect(page.locator("#session-advice")).to_contain_text(todo)
    looks_right(page, f"waiting-{reason.lower()}")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/hub/spawn")


def test_the_page_opens_the_session_and_tells_who_asked_for_it(hub, seat):
    page = seat("student03")
    page.context.grant_permissions(["notifications"], origin=hub.url)
    page.add_init_script(
        """window.told = []; Object.defineProperty(document, "hidden", {get: () => true});
           const real = window.Notification;
           window.Notification = function (title, more) { sessionStorage.setItem("told", title + ": " + more.body);
                                                          return new EventTarget(); };
           window.Notification.permission = "granted";"""
    )
    job = waits(hub, page, "student03", "Resources")
    hub.slurm.run(job.number)
    page.wait_for_url("**/user/student03/**", timeout=30_000)
    assert page.evaluate("sessionStorage.getItem('told')").startswith("Your session is up: JupyterLab is ready")


def test_a_browser_asks_only_when_its_button_is_pressed(hub, seat):
    page = seat("student04")
    page.add_init_script(
        """window.asked = 0;
           window.Notification = class { static permission = "default";
             static async requestPermission() { window.asked += 1; return "denied"; } };"""
    )
    waits(hub, page, "student04", "Resources")
    button = page.get_by_role("button", name="Tell me when it is up")
    expect(button).to_be_visible()
    assert page.evaluate("window.asked") == 0
    button.click()
    expect(page.locator("#session-told")).to_contain_text("does not allow this page")
    assert page.evaluate("window.asked") == 1
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/hub/spawn")


def test_slurm_does_not_answer_while_a_session_starts(hub, seat, looks_right):
    page = seat("student05")
    hub.slurm.silent = True
    start(hub, page)
    news = page.locator("#session-news")
    expect(news).to_contain_text("The session is submitted as soon as it does", timeout=30_000)
    looks_right(page, "slurm-silent-at-the-start")
    hub.slurm.silent = False
    expect(news).to_contain_text("waits: ", timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/hub/spawn")


def test_a_page_survives_that_the_hub_is_away(hub, seat, looks_right):
    page = seat("student06")
    job = waits(hub, page, "student06", "Resources")
    expect(page.locator("#session-news")).to_contain_text("all fitting GPUs", timeout=30_000)
    # A page that hears that all is well loads anew; if the hub ends just then, it meets the proxy (test_away.py).
    # This is about one that does not. That a hub which ends says so no more, tests/unit/test_bounds.py shows.
    page.route("**/hub/health", lambda route: route.abort())
    with hub.away():
        expect(page.locator("#session-lost")).to_be_visible(timeout=60_000)
        looks_right(page, "hub-away")
    page.unroute_all()
    # It asks ever more seldom, and all that it shows meanwhile, it knew before.
    expect(page.locator("#session-lost")).to_be_hidden(timeout=60_000)
    expect(page.locator("#session-news")).to_contain_text("all fitting GPUs", timeout=60_000)
    hub.slurm.run(job.number)
    page.wait_for_url("**/user/student06/**", timeout=60_000)


ENDS = {
    "FAILED": ("The session's job failed.", "The last lines of its log say why"),
    "NODE_FAIL": ("The node of the session failed.", "It was no fault of yours"),
    "OUT_OF_MEMORY": ("more memory than its profile has", "Choose a profile with more memory"),
    "TIMEOUT": ("reached its time limit", "choose more hours"),
}


@pytest.mark.parametrize("state", ENDS)
def test_a_failed_start_says_what_happened_and_what_to_do(hub, seat, looks_right, state):
    page = seat("student07")
    job = waits(hub, page, "student07", "Resources")
    hub.slurm.logs[job.order["session_key"]] = (
        "\n".join(f"line {n}" for n in range(20)) + "\nKilled <b>by</b> something"
    )
    hub.slurm.end(job.number, state)
    sentence, todo = ENDS[state]
    expect(page.locator("#session-error")).to_contain_text(sentence, timeout=60_000)
    expect(page.locator("#session-advice")).to_contain_text(todo)
    expect(page.locator(".davide-log pre")).to_contain_text("Killed <b>by</b> something")
    looks_right(page, f"failed-{state.lower().replace('_', '-')}")
    page.get_by_role("button", name="Try again with the same choice").click()
    page.wait_for_url("**/spawn-pending/**")
    assert hub.slurm.newest("student07") is not job
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/hub/spawn")


def test_a_full_home_is_told_as_one(hub, seat, looks_right):
    page = seat("student08")
    job = waits(hub, page, "student08", "Resources")
    hub.slurm.logs[job.order["session_key"]] = "mkdir: cannot create directory: Disk quota exceeded"
    hub.slurm.end(job.number, "FAILED")
    expect(page.locator("#session-error")).to_contain_text("Your home is full", timeout=60_000)
    expect(page.locator("#session-advice")).to_contain_text("Delete what you do not need")
    looks_right(page, "home-full")
    page.get_by_role("button", name="Choose another profile").click()
    expect(page.get_by_role("heading", name="Start a session")).to_be_visible()


@pytest.mark.parametrize(("by", "sentence"), [("TIMEOUT", "reached its time limit"), ("NODE_FAIL", "node of the")])
def test_after_the_end_the_page_says_why_and_leads_back(hub, seat, looks_right, wait_for, by, sentence):
    page = seat("student09")
    hub.slurm.runs_at_once = True
    start(hub, page)
    page.wait_for_url("**/user/student09/**", timeout=60_000)
    hub.slurm.end(hub.slurm.newest("student09").number, by)
    expect(page.locator("body")).not_to_be_empty()

    def told():
        page.goto(f"{hub.url}/hub/user/student09/")
        return page.locator("#session-ended").count()

    wait_for(told, "the page to tell the end", 60)
    expect(page.locator("#session-ended")).to_contain_text(sentence)
    looks_right(page, f"ended-{by.lower().replace('_', '-')}")
    page.get_by_role("button", name="Choose another profile").click()
    expect(page.get_by_role("heading", name="Start a session")).to_be_visible()


def test_the_same_choice_again_needs_the_page_of_the_hub(hub):
    browser = hub.log_in("student10")
    answer = browser.post(f"{hub.url}/hub/spawn/student10", data={"profile": "no-gpu"}, timeout=30)
    assert answer.status_code == 403
    assert xsrf(browser)
