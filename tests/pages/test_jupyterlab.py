"""What a student sees of their session in JupyterLab: real hub, proxy and session, in Chromium; Slurm is pretended."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from support.axe import findings
from support.lab import open_file, run_cell, type_into
from support.real_hub import RealHub
from support.real_session import KERNEL, RealSessions

GIB = 2**30
TWO_GPUS = {
    "state": "read",
    "gpus": [
        {"name": "Tesla P100-SXM2-16GB", "use_percent": use, "memory_bytes": 16 * GIB, "memory_used_bytes": 3 * GIB}
        for use in (37, 91)
    ],
}
# A training that saves when it is told, and goes on for longer than the session.
TRAINING = """
import time
from davide_course import walltime
step = 0
with walltime.watch() as end:
    while not end.is_near:
        step += 1
        time.sleep(0.01)
open("checkpoint", "w").write(f"saved at step {step}")
print("saved")
"""


def site_facts(site: dict[str, Any]) -> None:
    """Let sessions without a GPU end for lack of use."""
    site["profiles"][2]["idle_minutes"] = 10


@pytest.fixture(scope="module")
def sessions(hub: RealHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSessions]:
    """Let jobs be real sessions."""
    running = RealSessions(hub.slurm, hub.folder / "site.yml", tmp_path_factory.mktemp("sessions"))
    hub.slurm.runs_at_once = True
    yield running
    running.stop()


@pytest.fixture
def lab(hub: RealHub, sessions: RealSessions, seat: Callable[..., Page]) -> Callable[..., Page]:
    """Return a function that starts somebody's session by the form and returns the page with JupyterLab."""

    def start(name: str, profile: str = "One GPU", *, minutes: float = 120, **browser: Any) -> Page:
        sessions.minutes = minutes
        page = seat(name, **browser)
        page.set_default_timeout(60_000)
        page.goto(f"{hub.url}/hub/spawn")
        page.get_by_role("radio", name=profile).check()
        page.get_by_role("button", name="Start").click()
        page.wait_for_url(f"**/user/{name}/lab**", timeout=120_000)
        shown(page)
        return page

    return start


def pretend(page: Page, **changes: Any) -> None:
    """Let the page hear other facts than the session's own from now on: of a part, or the whole of a list."""

    def answer(route: Any) -> None:
        facts = route.fetch().json()
        for name, value in changes.items():
            facts[name] = facts[name] | value if isinstance(value, dict) else value
        route.fulfill(json=facts)

    page.route("**/davide/facts*", answer)
    page.reload()
    shown(page)


def shown(page: Page) -> None:
    """Wait until JupyterLab shows the session's facts."""
    expect(page.locator(".davide-left")).not_to_be_empty(timeout=120_000)


def toast(page: Page, text: str) -> Locator:
    """Return the notification with a text."""
    return page.locator(".jp-toastContainer").get_by_text(text)


def last_page(page: Page) -> Locator:
    """Return what lies over the page when the session has ended."""
    return page.get_by_role("dialog", name=re.compile("session has ended|ended this session", re.IGNORECASE))


def ours(page: Page) -> list[str]:
    """Return what axe finds in our parts of the page; JupyterLab's own are not ours to mend."""
    found = [(one["id"], str(node["target"])) for one in findings(page) for node in one["nodes"]]
    return [f"{rule}: {target}" for rule, target in found if "davide" in target]


def test_the_status_bar_tells_time_left_and_that_nothing_is_known_of_the_gpu(lab, picture):
    page = lab("student01")
    expect(page.locator(".davide-left")).to_have_text(re.compile(r"^(2 h|1 h 59 min) left$"))
    expect(page.locator(".davide-gpu")).to_have_text("GPU: no driver here")
    expect(page.get_by_role("group", name="This session")).to_be_visible()
    picture(page, "lab-status")
    assert ours(page) == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_status_bar_shows_gpus_memory_and_cores(lab, sessions, picture, dark):
    name = f"student{31 + dark}"
    if dark:
        choose_dark_theme(sessions.home(name))
    page = lab(name, "Four GPUs")
    used = {"used_bytes": int(2.1 * GIB), "limit_bytes": 6 * GIB}
    pretend(page, gpus=TWO_GPUS, memory=used, cpu={"cores_used": 1.25, "cores": 4})
    expect(page.locator(".davide-gpu")).to_have_text(re.compile("^2 . Tesla P100-SXM2-16GB 37, 91 %$"))
    expect(page.locator(".davide-memory")).to_have_text("2.1 of 6.0 GB")
    expect(page.locator(".davide-cpu")).to_have_text(re.compile(r"^1\.\d of 4 cores$"))
    expect(page.locator(".davide-gpu")).to_have_attribute("aria-label", re.compile("91 % in use, 3.0 of 16 GB"))
    picture(page, f"lab-use-{'dark' if dark else 'light'}")
    assert ours(page) == []


def choose_dark_theme(home: Path) -> None:
    """Write down what the menu Settings, Theme writes down."""
    file = home / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text('{"theme": "JupyterLab Dark"}')


def test_the_button_saves_and_ends_by_keyboard_after_a_question(lab, hub, sessions, picture):
    page = lab("student02")
    (sessions.home("student02") / "notes.txt").write_text("")
    open_file(page, "notes.txt")
    type_into(page, "not saved yet")
    button = page.get_by_role("button", name="End session")
    button.focus()
    page.keyboard.press("Enter")
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("End this session?")
    picture(page, "lab-end-question")
    page.keyboard.press("Enter")  # on "Go on working", where the focus is
    expect(question).to_be_hidden()
    assert hub.slurm.newest("student02").state == "RUNNING"
    button.focus()
    page.keyboard.press("Enter")
    question.get_by_role("button", name="End session").click()
    expect(last_page(page)).to_contain_text("You ended this session")
    assert (sessions.home("student02") / "notes.txt").read_text() == "not saved yet"
    picture(page, "lab-over-by-you")
    assert ours(page) == []
    page.keyboard.press("Enter")  # on the link, where the focus is
    page.wait_for_url("**/hub/spawn")
    assert hub.slurm.newest("student02").state == "CANCELLED"


def test_a_short_session_warns_saves_and_says_why_it_ended(lab, hub, sessions, picture, wait_for):
    home = sessions.home("student41")
    (home / "notes.txt").write_text("")
    cell = {"cell_type": "code", "source": TRAINING, "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
    kernel = {"kernelspec": {"name": KERNEL, "display_name": "Python", "language": "python"}}
    book = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (home / "training.ipynb").write_text(json.dumps(book))
    page = lab("student41", minutes=2)
    open_file(page, "training.ipynb")
    run_cell(page)
    open_file(page, "notes.txt")
    type_into(page, "typed before the warning")
    expect(toast(page, "This session ends in")).to_be_visible(timeout=90_000)
    wait_for(lambda: (home / "notes.txt").read_text() == "typed before the warning", "the edit to be saved", 30)
    type_into(page, " and after it")
    expect(page.get_by_role("button", name="Save all now")).to_be_in_viewport(ratio=1)
    picture(page, "lab-warning-light")
    wait_for((home / "checkpoint").exists, "the training to save", 90)
    expect(toast(page, "is being saved")).to_be_visible()
    wait_for(lambda: (home / "notes.txt").read_text() == "typed before the warning and after it", "the rest", 30)
    # Jupyter empties a file before it fills it.
    wait_for(lambda: "saved" in (home / "training.ipynb").read_text().partition('"outputs"')[2], "the output", 30)
    hub.slurm.end(hub.slurm.newest("student41").number, "TIMEOUT")
    expect(last_page(page)).to_contain_text("time limit", timeout=60_000)
    picture(page, "lab-over-time-limit-light")
    form = page.get_by_role("link", name="Start a new session").get_attribute("href")

    def told():
        page.goto(form)
        return page.locator("#session-ended").count()

    # After its time, the page needs no word of the hub, which may hear of it later.
    wait_for(told, "the form to tell of the end", 60, every=2)
    expect(page.locator("#session-ended")).to_contain_text("time limit")


def test_a_session_that_ends_at_a_time_unknown_is_saved_too(lab, sessions, wait_for):
    notes = sessions.home("student24") / "notes.txt"
    notes.write_text("")
    page = lab("student24")
    pretend(page, walltime={"left_seconds": None})
    open_file(page, "notes.txt")
    type_into(page, "typed before the signal")
    sessions.warn("student24")
    expect(toast(page, "This session ends soon: its time limit")).to_be_visible(timeout=60_000)
    wait_for(lambda: notes.read_text() == "typed before the signal", "the edit to be saved", 30)


def test_the_warning_and_the_last_page_can_be_read_in_the_dark(lab, hub, sessions, picture):
    choose_dark_theme(sessions.home("student42"))
    page = lab("student42")
    pretend(page, walltime={"left_seconds": 290, "warn_seconds": [900, 300]})
    expect(toast(page, "This session ends in")).to_be_visible()
    picture(page, "lab-warning-dark")
    assert ours(page) == []
    page.unroute("**/davide/facts*")
    hub.slurm.end(hub.slurm.newest("student42").number)
    expect(last_page(page)).to_contain_text("This session has ended", timeout=60_000)
    picture(page, "lab-over-dark")
    assert ours(page) == []


def test_a_session_whose_node_failed_leads_to_the_reason(lab, hub, picture):
    page = lab("student03")
    hub.slurm.end(hub.slurm.newest("student03").number, "NODE_FAIL")
    expect(last_page(page)).to_contain_text("This session has ended", timeout=90_000)
    page.get_by_role("link", name="Start a new session").click()
    expect(page.locator("#session-ended")).to_contain_text("node")


def test_what_cannot_be_saved_under_its_name_is_saved_beside_it(lab, sessions, wait_for):
    home = sessions.home("student04")
    (home / "notes.txt").write_text("first")
    page = lab("student04", minutes=120)
    open_file(page, "notes.txt")
    type_into(page, " and mine")
    notes = home / "notes.txt"
    notes.write_text("somebody else's")
    # JupyterLab takes what is a second younger for its own.
    os.utime(notes, (notes.stat().st_atime, notes.stat().st_mtime + 10))
    sessions.warn("student04")
    # The page says it when the copy is whole; Jupyter fills a new file in its place.
    expect(toast(page, "could not be saved")).to_be_visible(timeout=60_000)
    [copy] = home.glob("notes.unsaved-*.txt")
    assert copy.read_text() == "first and mine"
    assert (home / "notes.txt").read_text() == "somebody else's"
    # From now on it is tried every ten seconds, to the end.
    written = copy.stat().st_mtime
    wait_for(lambda: copy.stat().st_mtime > written, "the copy to be written again", 60)
    assert list(home.glob("notes.unsaved-*.txt")) == [copy]
    expect(toast(page, "could not be saved")).to_have_count(1)


# The answer that tells the first save what it wrote comes late; the file is written already.
LATE = """
const real = window.fetch;
let writes = 0;
window.fetch = async (request, ...more) => {
  const answer = await real(request, ...more);
  const { url, method } = request instanceof Request ? request : { url: String(request), method: more[0]?.method };
  if (url.includes("/api/contents/notes.txt")) {
    if (method === "PUT") writes += 1;
    else if (writes === 1 && !url.includes("content=1")) {
      writes += 1;
      await new Promise((resolve) => setTimeout(resolve, 5000));
      window.answered = true;
    }
  }
  return answer;
};
"""


@pytest.fixture
def saving(lab, sessions, wait_for):
    """Return a function that types into somebody's notes while a save of them runs: theirs, or ours before the end."""

    def begin(name: str, *, ours: bool = False) -> tuple[Page, Path]:
        notes = sessions.home(name) / "notes.txt"
        notes.write_text("")
        page = lab(name)
        page.add_init_script(LATE)
        page.reload()
        shown(page)
        open_file(page, "notes.txt")
        page.wait_for_timeout(1_500)  # until the page has looked at what is open
        type_into(page, "first")
        if ours:
            sessions.warn(name)
        else:
            page.keyboard.press("Control+s")
        wait_for(lambda: notes.read_text() == "first", "the first save to write", 30)
        type_into(page, " and second")
        return page, notes

    return begin


def test_what_is_typed_while_a_save_runs_is_saved_too(saving, sessions, wait_for):
    page, notes = saving("student22")
    page.wait_for_function("window.answered")
    assert notes.read_text() == "first"
    sessions.warn("student22")
    wait_for(lambda: notes.read_text() == "first and second", "the rest to be saved", 30)


def test_what_is_typed_while_all_is_saved_is_no_failure(saving, wait_for):
    page, notes = saving("student23", ours=True)
    page.wait_for_function("window.answered")
    wait_for(lambda: notes.read_text() == "first and second", "the rest to be saved", 30)
    assert list(notes.parent.glob("notes.unsaved-*")) == []
    expect(toast(page, "could not be saved")).to_have_count(0)


def test_a_save_while_another_runs_is_no_change_by_somebody_else(saving, wait_for):
    page, notes = saving("student21")

    def saved_again():
        # JupyterLab itself passes over the key while its own save runs.
        page.keyboard.press("Control+s")
        return notes.read_text() == "first and second"

    wait_for(saved_again, "the second save to write", 30)
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def test_an_idle_session_is_warned_of_and_i_am_here_keeps_it(lab, picture):
    page = lab("student05", "No GPU")
    pretend(page, idle={"left_seconds": 170})
    warning = toast(page, "Nothing has run here for 7 minutes. This session ends in 3 minutes for lack of use")
    expect(page.get_by_role("button", name="I am here")).to_be_in_viewport(ratio=1)
    picture(page, "lab-idle")

    def answer(route: Any) -> None:
        # Not before: the page would hear that nobody waits for it, and take the button away.
        page.unroute("**/davide/facts*")
        route.continue_()

    page.route("**/davide/here*", answer)
    with page.expect_response("**/davide/here*") as heard:
        page.get_by_role("button", name="I am here").click()
    idle = heard.value.json()["idle"]
    assert (idle["limit_seconds"], idle["warn_seconds"]) == (600, 300)
    assert 590 <= idle["left_seconds"] <= 600
    expect(warning).to_be_hidden()


def test_a_kernel_whose_job_is_about_to_end_unused_is_warned_of_and_kept(lab, picture):
    page = lab("student43", "No GPU")
    kernel = {"kernel": "k1", "title": "1 GPU, 1 h, own job", "path": "training.ipynb", "job": "1234", "state": "ready"}
    kernel |= {"gpus": TWO_GPUS["gpus"][:1], "idle_minutes": 30, "idle_left_seconds": 290}
    pretend(page, job_kernels=[kernel])
    warning = toast(page, "training.ipynb: nothing ran for 25 minutes")
    expect(warning).to_contain_text("Its kernel's job, with its GPU, ends in 5 minutes.")
    picture(page, "lab-kernel-idle")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="GPUs of This Notebook…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("job 1234, ready: Tesla P100-SXM2-16GB 37 %")
    picture(page, "lab-kernel-jobs")
    dialog.get_by_role("button", name="Close").click()
    assert ours(page) == []
    # This session has no such kernel in truth.
    page.get_by_role("button", name="Keep it").click()
    expect(toast(page, "The kernel's job could not be told just now")).to_be_visible()
    pretend(page, job_kernels=[kernel | {"idle_left_seconds": None}])
    expect(warning).to_be_hidden()


def write_notebook(home: Path, name: str, **metadata: Any) -> None:
    """Write a notebook with one cell."""
    cell = {"cell_type": "code", "source": "", "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
    kernel = {"kernelspec": {"name": KERNEL, "display_name": "Python", "language": "python"}}
    book = {"cells": [cell], "metadata": kernel | metadata, "nbformat": 4, "nbformat_minor": 5}
    (home / name).write_text(json.dumps(book))


def choose_gpus(page: Page, choice: str) -> None:
    """Choose in the dialog that shows who holds which GPU."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").select_option(label=choice)
    dialog.get_by_role("button", name="Save and restart kernel").click()


def test_a_notebook_that_gets_no_gpu_is_told_who_has_them_and_shares_one(lab, sessions, picture, wait_for):
    home = sessions.home("student06")
    write_notebook(home, "greedy.ipynb", davide={"gpus": 4})
    write_notebook(home, "late.ipynb")
    page = lab("student06", "Four GPUs")
    leased = page.locator(".davide-leases")
    expect(leased).to_have_text("0 of 4 GPUs in use")
    open_file(page, "greedy.ipynb")
    expect(leased).to_have_text("4 of 4 GPUs in use")
    open_file(page, "late.ipynb")
    refused = page.locator(".jp-Dialog", has_text="Error Starting Kernel")
    expect(refused).to_contain_text("All 4 GPUs of this session are in use")
    expect(refused).to_contain_text("GPU 3: greedy.ipynb")
    picture(page, "lab-no-gpu-free")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="No Kernel").click()
    leased.click()
    expect(page.get_by_role("dialog")).to_contain_text("greedy.ipynb (Python)")
    picture(page, "lab-leases")
    assert ours(page) == []
    choose_gpus(page, "a GPU that others may use too")
    wait_for(lambda: "late.ipynb" in (leased.get_attribute("title") or ""), "the kernel to start", 60)
    assert json.loads((home / "late.ipynb").read_text())["metadata"]["davide"] == {"gpus": "share"}
    # The other one gives two back: by the menu this time.
    open_file(page, "greedy.ipynb")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="GPUs of This Notebook…").click()
    choose_gpus(page, "2 GPUs of its own")
    expect(leased).to_have_text(re.compile("[23] of 4 GPUs in use"), timeout=60_000)
    assert json.loads((home / "greedy.ipynb").read_text())["metadata"]["davide"] == {"gpus": 2}
