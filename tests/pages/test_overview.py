"""Home and overview: own sessions and everybody's, ending those of a class, the announcement, and idle sessions."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from davide_hub.announce import Announcement
from davide_hub.posted import post, take_down
from playwright.sync_api import expect
from support.real_hub import xsrf


def site_facts(site):
    site["session"]["per_user"] = 3
    site["course"]["teachers"] = ["teacher01", "teacher02"]
    site["admins"] = ["admin01"]
    next(one for one in site["profiles"] if one["name"] == "no-gpu")["idle_minutes"] = 10


@pytest.fixture(autouse=True)
def calm(hub):
    """Let Slurm answer again after a test."""
    hub.slurm.runs_at_once = True
    yield
    hub.slurm.silent, hub.slurm.runs_at_once = False, False


def start(hub, name, profile="no-gpu", server="", waits=False):
    """Start a session; return its owner's browser and its job."""
    hub.slurm.runs_at_once = not waits
    browser = hub.log_in(name)
    path = f"{hub.url}/hub/spawn/{name}{f'/{server}' if server else ''}"
    browser.post(path, data={"profile": profile, "_xsrf": xsrf(browser)}, timeout=30)
    job = hub.slurm.newest(name)
    now = int(time.time())
    job.shown = {"partition": "dvd_usr_prod", "priority": "10", "submitted": str(now - 125)}
    job.shown |= {} if waits else {"start": str(now - 120), "end": str(now + 3955)}
    return browser, job


def sees(page, url, text, wait_for):
    def shown():
        page.goto(url)
        return text in page.inner_text("main")

    wait_for(shown, f"{text} to be shown", 60)


def test_home_shows_each_session_with_node_time_and_gpu(hub, seat, looks_right, wait_for):
    start(hub, "student01", "one-gpu")
    start(hub, "student01", server="session-2")
    page = seat("student01")
    sees(page, f"{hub.url}/hub/home", "1 h 5 min left", wait_for)
    main = page.locator("main")
    expect(main).to_contain_text("1 GPU (tesla)")
    expect(main).to_contain_text("Runs on localhost")
    expect(main).to_contain_text("Named session-2")
    expect(page.get_by_role("button", name="Open")).to_have_count(2)
    expect(page.get_by_role("button", name="Start another session")).to_be_visible()
    looks_right(page, "home")
    page.get_by_role("button", name="End").last.click()
    wait_for(lambda: page.get_by_role("button", name="End", exact=True).count() == 1, "one session to be left", 60)
    assert [job.state for job in hub.slurm.jobs.values() if job.account.name == "student01"] == ["RUNNING", "CANCELLED"]


def test_home_says_in_a_sentence_why_a_session_waits(hub, seat, looks_right, wait_for):
    _, job = start(hub, "student13", "one-gpu", waits=True)
    job.reason = "Priority"
    page = seat("student13")
    sees(page, f"{hub.url}/hub/home", f"Job {job.number} waits: others are before you in the queue.", wait_for)
    looks_right(page, "home-waits")


def test_teacher_and_owner_see_a_gpus_use_without_loading_anew(hub, seat, wait_for):
    _, job = start(hub, "student11", "one-gpu")
    start(hub, "student12")
    teacher, owner = seat("teacher01"), seat("student11")
    sees(teacher, f"{hub.url}/hub/overview", "student12", wait_for)
    sees(owner, f"{hub.url}/hub/home", "GPU use: not known", wait_for)
    use = teacher.get_by_role("row").filter(has_text="student11").locator("[data-label='GPU use']")
    expect(use).to_have_text("not known")
    # Of a session without a GPU there is nothing to know.
    expect(teacher.get_by_role("row").filter(has_text="student12").locator("[data-label='GPU use']")).to_be_empty()
    teacher.get_by_label("Choose student11's session").check()
    told = {"gpus": [{"use_percent": 93, "memory_used_mb": 3072, "memory_mb": 16384}]}
    assert tells_use(hub, job, told) == 204
    # As both pages do each half a minute.
    for page in (teacher, owner):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(use).to_have_text("93 %, 3.0 of 16 GB")
    expect(owner.locator("#session-running")).to_contain_text("GPU use: 93 %, 3.0 of 16 GB")
    expect(teacher.get_by_label("Choose student11's session")).to_be_checked()
    start(hub, "student13")
    teacher.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(teacher.get_by_label("Choose student13's session")).not_to_be_checked()
    expect(teacher.get_by_label("Choose student11's session")).to_be_checked()


def tells_use(hub, job, told):
    """Tell the hub of GPUs' use, as a session's own token does; return the status."""
    headers = {"Authorization": f"token {job.order['environment']['JUPYTERHUB_API_TOKEN']}"}
    return hub.browser().post(f"{hub.url}/hub/api/davide/gpu-use", json=told, headers=headers, timeout=30).status_code


def test_home_says_that_slurm_does_not_answer_and_stays_fast(hub, seat, looks_right, wait_for):
    start(hub, "student02")
    page = seat("student02")
    hub.slurm.silent = True
    sees(page, f"{hub.url}/hub/home", "Slurm does not answer at the moment", wait_for)
    looks_right(page, "home-slurm-silent")
    hub.slurm.silent = False
    wait_for(
        lambda: page.goto(f"{hub.url}/hub/home") and not page.locator("#slurm-silent").count(), "Slurm is back", 60
    )


def test_a_teacher_sees_who_waits_and_who_runs_and_ends_some(hub, seat, looks_right, wait_for):
    start(hub, "student03", "one-gpu")
    start(hub, "student04")
    start(hub, "teacher02")
    _, waiting = start(hub, "student05", "four-gpus", waits=True)
    _, own = start(hub, "teacher01", "four-gpus", waits=True)
    waiting.reason = own.reason = "AssocGrpGRESMinutes"
    page = seat("teacher01")
    overview = f"{hub.url}/hub/overview"
    sees(page, overview, "their account has no budget left", wait_for)
    sees(page, overview, "your account has no budget left", wait_for)
    sees(page, overview, "min left", wait_for)
    expect(page.get_by_role("link", name="Overview")).to_be_visible()
    expect(page.get_by_label("Choose teacher02's session")).to_have_count(0)
    looks_right(page, "overview")
    page.get_by_label("Choose student03's session").check()
    page.get_by_label("Choose student05's session").check()
    page.get_by_role("button", name="End the chosen sessions").click()
    expect(page.get_by_role("heading", name="End these 2 sessions?")).to_be_visible()
    looks_right(page, "confirm")
    assert waiting.state == "PENDING"
    page.get_by_role("button", name="End them").click()
    expect(page.locator("#overview-notice")).to_have_text("2 sessions are ending.")
    for name in ("student03", "student05"):
        wait_for(lambda name=name: hub.slurm.newest(name).state == "CANCELLED", f"{name}'s job to end", 60)
    assert hub.slurm.newest("student04").state == "RUNNING"
    theirs = seat("student03")
    sees(theirs, f"{hub.url}/hub/home", "teacher01 ended the session.", wait_for)


def test_only_overseers_may_look_or_end(hub):
    start(hub, "student06")
    stranger = hub.log_in("student07")
    url = f"{hub.url}/hub/overview"
    form = {"session": "student06/", "confirmed": "yes"}
    assert stranger.get(url, timeout=30).status_code == 403
    assert stranger.post(url, data=form | {"_xsrf": xsrf(stranger)}, timeout=30).status_code == 403
    teacher = hub.log_in("teacher01")
    assert teacher.post(url, data=form, timeout=30).status_code == 403  # without the proof against forgery
    assert hub.slurm.newest("student06").state == "RUNNING"
    answer = teacher.get(f"{hub.url}/hub/spawn/student06", timeout=30)
    assert answer.status_code in (403, 404)


def test_not_even_an_administrator_starts_a_session_in_anothers_name(hub):
    hub.log_in("student10")
    admin = hub.log_in("admin01")
    form = {"profile": "no-gpu", "_xsrf": xsrf(admin)}
    page = admin.post(f"{hub.url}/hub/spawn/student10", data=form, timeout=30)
    assert (page.status_code, "started by its owner alone" in page.text) == (403, True)
    url = f"{hub.url}/hub/api/users/student10/server"
    headers = {"X-XSRFToken": xsrf(admin), "Referer": f"{hub.url}/hub/admin"}
    answer = admin.post(url, json={"profile": "no-gpu"}, headers=headers, timeout=30)
    assert (answer.status_code, "started by its owner alone" in answer.text) == (403, True)
    assert not [job for job in hub.slurm.jobs.values() if job.account.name == "student10"]


def test_a_teacher_can_not_end_another_teachers_session_by_its_name(hub):
    start(hub, "teacher02")
    teacher = hub.log_in("teacher01")
    form = {"session": "teacher02/", "confirmed": "yes", "_xsrf": xsrf(teacher)}
    page = teacher.post(f"{hub.url}/hub/overview", data=form, timeout=30).text
    assert "No session was chosen" in page
    assert hub.slurm.newest("teacher02").state == "RUNNING"


def test_an_announcement_stands_on_every_page(hub, seat, looks_right):
    file = hub.folder / "announcement.json"
    post(file, Announcement("Slurm is away <b>from 14:00</b>.", "warning"))
    try:
        page = seat("student08")
        for path in ("home", "spawn", "token", "no-such-page"):
            page.goto(f"{hub.url}/hub/{path}")
            expect(page.locator("#announcement")).to_have_text("Slurm is away <b>from 14:00</b>.")
        page.goto(f"{hub.url}/hub/home")
        looks_right(page, "announcement")
    finally:
        take_down(file)
    page.reload()
    expect(page.locator("#announcement")).to_have_count(0)


def test_an_idle_session_is_warned_of(hub, seat, looks_right):
    start(hub, "student09")
    job = hub.slurm.newest("student09")
    token = job.order["environment"]["JUPYTERHUB_API_TOKEN"]
    page = seat("student09")
    page.goto(f"{hub.url}/hub/home")
    expect(page.locator("[data-idle]")).to_have_count(0)
    # As a session does that has been at work 8 minutes ago; it began just now, which counts as well.
    last = (datetime.now(UTC) - timedelta(minutes=8)).isoformat()
    report = hub.browser().post(
        f"{hub.url}/hub/api/users/student09/activity",
        json={"servers": {"": {"last_activity": last}}},
        headers={"Authorization": f"token {token}"},
        timeout=30,
    )
    assert report.status_code == 200
    page.reload()
    expect(page.locator("[data-idle]")).to_have_count(0)
    looks_right(page, "home-one")
