"""What a student reads when it goes wrong; and that these tests notice when it does."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

COPY = "/run/davide-test-scripts"
DROP_IN = "/run/systemd/system/davide-broker.service.d"


@pytest.fixture
def script(cluster):
    """Return a function that lets the broker use a copy of the batch script, changed by a sed command."""

    def change(edit: str) -> None:
        unit = f"[Service]\nExecStart=\nExecStart=/opt/davide/envs/hub/bin/davide-broker --templates {COPY}\n"
        cluster.output(
            "hub01",
            f"set -e; mkdir -p {COPY} {DROP_IN}; cp /etc/davide-hub/spawner_templates/*.j2 {COPY}/; "
            f"sed -i '{edit}' {COPY}/session.sbatch.j2; "
            f"! cmp -s {COPY}/session.sbatch.j2 /etc/davide-hub/spawner_templates/session.sbatch.j2; "
            f"printf '{unit}' > {DROP_IN}/test.conf; systemctl daemon-reload; systemctl restart davide-broker",
        )

    yield change
    cluster.output("hub01", f"rm -rf {COPY} {DROP_IN}; systemctl daemon-reload; systemctl restart davide-broker")


@pytest.fixture(scope="module")
def unlucky(student):
    """Seat student04, at the form."""
    one = student("student04")
    one.enter()
    return one


def test_a_broken_script_is_noticed(unlucky, script):
    script("s|^exec .*|exec /nothing/here \\\\|")
    unlucky.start("One GPU")
    error = unlucky.page.locator("#session-error")
    expect(error).to_contain_text("The session ended before JupyterLab was up", timeout=60_000)
    expect(unlucky.page.locator(".davide-log")).to_contain_text("/nothing/here: No such file or directory")
    unlucky.picture("7-did-not-start")
    with pytest.raises(AssertionError):  # what every other test waits for does not come
        expect(unlucky.page).to_have_url(re.compile("/user/student04/lab"), timeout=3_000)
    assert not unlucky.job()


def test_slurms_refusal_stands_on_the_form(unlucky, script):
    script("s/--account=.*/--account=nobody/")
    unlucky.start("No GPU")
    error = unlucky.page.locator("#session-error")
    expect(error).to_contain_text("Invalid account or account/partition combination specified")
    unlucky.picture("7-refused-by-slurm")
    expect(unlucky.page.get_by_role("radio", name="No GPU")).to_be_checked()


def test_a_session_in_the_queue_says_why_and_can_be_cancelled(unlucky, script):
    script("s/--no-requeue/--no-requeue --begin=now+1hour/")
    unlucky.start("No GPU")
    planned = re.compile("it is to start (later|at)")
    expect(unlucky.page.locator("#session-news")).to_contain_text(planned, timeout=60_000)
    unlucky.picture("3-in-the-queue")
    assert unlucky.job()["State"] == "PENDING"
    unlucky.page.get_by_role("button", name="Cancel").click()
    expect(unlucky.page.get_by_role("heading", name="Start a session")).to_be_visible(timeout=60_000)
    unlucky.wait_for(lambda: not unlucky.job(), "the job to leave the queue")


def test_a_session_that_an_administrator_cancelled_says_so(unlucky, cluster):
    unlucky.start("No GPU")
    unlucky.wait_for_lab()
    cluster.output("ctl01", f"scancel {unlucky.job()['JobID']}")

    def told() -> bool:
        unlucky.page.goto(f"{cluster.hub_url}/hub/home")
        return "An administrator cancelled the session's job." in unlucky.page.inner_text("main")

    unlucky.wait_for(told, "the home page to say who cancelled", 60)
    unlucky.picture("7-cancelled")


def test_who_is_not_in_the_group_is_told_whom_to_ask(browser, cluster):
    cluster.output("hub01", "useradd --no-create-home outsider && echo outsider:let-me-in-please | chpasswd")
    try:
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.goto(cluster.hub_url)
        page.get_by_label("Username:").fill("outsider")
        page.get_by_label("Password:", exact=True).fill("let-me-in-please")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".login_error")).to_contain_text("is not in the group davide")
        assert "outsider" not in cluster.output("hub01", "ls /var/lib/davide-broker/tickets")
    finally:
        cluster.output("hub01", "userdel outsider")


def test_the_form_fits_a_phone(unlucky, cluster):
    unlucky.page.goto(f"{cluster.hub_url}/hub/spawn")
    unlucky.page.set_viewport_size({"width": 390, "height": 844})
    unlucky.picture("2-form-on-a-phone")
    assert unlucky.page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(unlucky.page.get_by_role("button", name="Start")).to_be_visible()
    unlucky.page.set_viewport_size({"width": 1280, "height": 860})
