"""What JupyterLab shows of a session that is a real job: its end, its memory and cores, and the button that ends it."""

import os
import re

import pytest
from playwright.sync_api import expect

# While the session of test_walltime.py trains, and before it is warned.
pytestmark = pytest.mark.turn(1)


@pytest.fixture(scope="module")
def session(student):
    """Seat student05 in a session with one GPU."""
    one = student("student05")
    one.enter()
    one.start("One GPU")
    one.wait_for_lab()
    return one


def test_the_status_bar_tells_the_end_that_slurm_set(session, cluster):
    left = session.page.locator(".davide-left")
    # Slurm 22.05 does not tell its jobs: squeue is asked, some seconds after the start.
    expect(left).to_have_text(re.compile(r"^(2 h|1 h 5\d min) left$"), timeout=60_000)
    shown = cluster.output("ctl01", "squeue --noheader --user student05 --format=%L").strip()
    assert re.fullmatch(r"(2:00|1:5\d):\d\d", shown)
    session.picture("7-lab-status")


def test_the_memory_and_cores_are_those_of_the_job(session):
    bar = session.page.locator(".davide-status")
    memory, cpu = bar.locator(".davide-memory"), bar.locator(".davide-cpu")
    expect(memory).to_have_text(re.compile(r"^\d\.\d+ of 6\.0 GB$"), timeout=60_000)
    # A JupyterLab has more than nothing and less than the node.
    assert 0 < float(memory.inner_text().split()[0]) < 3
    # Four are the job's. On a machine with fewer there are only these to work on.
    cores = min(4, len(os.sched_getaffinity(0)))
    expect(cpu).to_have_text(re.compile(rf"^\d\.\d of {cores} cores$"), timeout=60_000)


def test_nothing_is_pretended_about_a_gpu_without_a_driver(session):
    expect(session.page.locator(".davide-gpu")).to_have_text("GPU: no driver here")


def test_the_button_ends_the_job(session, cluster):
    page = session.page
    page.get_by_role("button", name="End session").click()
    page.get_by_role("dialog").get_by_role("button", name="End session").click()
    expect(page.get_by_role("dialog", name="You ended this session")).to_be_visible(timeout=60_000)
    session.wait_for(lambda: not session.job(), "the job of student05 to end", 60)
    page.get_by_role("link", name="Start a new session").click()
    page.wait_for_url(f"{cluster.hub_url}/hub/spawn")
