"""The hub without a cluster is a hub: people log in, start, and are led to what runs."""

from __future__ import annotations

import re

from davide_hub.cli import main
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


def test_a_drained_hub_starts_nothing_keeps_what_runs_and_is_so_after_a_restart(hub, wait_for):
    hub.slurm.runs_at_once = True
    browser, file, home = hub.log_in("student03"), ["--file", str(hub.folder / "drain.json")], f"{hub.url}/hub/home"
    proof = {"X-XSRFToken": xsrf(browser)}
    here = f"{hub.url}/hub/api/users/student03"
    browser.post(f"{here}/server", headers=proof, json={"user_options": {"profile": "no-gpu"}}, timeout=30)

    def ready():
        return browser.get(here, timeout=30).json()["servers"].get("", {}).get("ready")

    def jobs_of(name):
        return [job for job in hub.slurm.jobs.values() if job.account.name == name]

    wait_for(ready, "the first session")
    assert main(["drain", "--until", "Thursday 14:00", *file]) == 0
    try:
        for again in (False, True):
            if again:
                hub.end()
                hub.run()
            newcomer = hub.log_in("student04")
            assert "until Thursday 14:00, because of maintenance" in newcomer.get(home, timeout=30).text
            form = newcomer.get(f"{hub.url}/hub/spawn", timeout=30).text
            assert re.search(r"<button type=.submit.[^>]* disabled", form)
            sent = {"profile": "no-gpu", "_xsrf": xsrf(newcomer)}
            refused = newcomer.post(f"{hub.url}/hub/spawn", data=sent, timeout=30)
            assert (refused.status_code, 'id="session-error"' in refused.text) == (400, True)
            rest = newcomer.post(
                f"{hub.url}/hub/api/users/student04/server", headers={"X-XSRFToken": xsrf(newcomer)}, timeout=30
            )
            assert (rest.status_code, "until Thursday 14:00" in rest.json()["message"]) == (400, True)
            assert jobs_of("student04") == []
            wait_for(ready, "the session that ran before")
            assert "version" in browser.get(f"{hub.url}/user/student03/api", timeout=30).text
    finally:
        assert main(["undrain", *file]) == 0
    newcomer.post(f"{hub.url}/hub/spawn", data=sent, timeout=30)
    wait_for(lambda: jobs_of("student04"), "a session after the drain")


def test_the_home_page_is_usable_for_everybody(seat, picture):
    page = seat("student02")
    picture(page, "home-nothing-runs")
    assert_usable(page)
