"""The whole way, once: from the log-in form to a trained autoencoder on a GPU node, and back."""

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from support.solving import solve
from support.student import LESSON, errors, text_of

OPEN_ALL_GPUS = """
import os
for number in range(4):
    try:
        os.close(os.open(f"/dev/nvidia{number}", os.O_RDWR))
    except OSError as error:
        print(number, error.strerror)
print("assigned", os.environ["SLURM_JOB_GPUS"], os.uname().nodename, os.getuid())
"""


@pytest.fixture(scope="module")
def session(student):
    """Seat student01 in a session with one GPU, started through the pages."""
    one = student("student01")
    one.enter()
    one.picture("2-form")
    one.start("One GPU")
    one.wait_for_lab()
    return one


@pytest.fixture(scope="module")
def lesson(session, cluster):
    """Do the exercises of lesson 01 and run it from top to bottom in the page, once for all that look at it.

    In a copy beside the course's folder: whoever tries the demo accounts keeps what they wrote there.
    """
    copy = f"lesson-of-a-test-{LESSON}"
    assert cluster.as_user("student01", f"cp /software/davide/handouts/{LESSON} {copy}").returncode == 0
    session.open_notebook(copy)
    solve(session)
    yield session.run_all(copy, 240)
    cluster.as_user("student01", f"rm -f {copy}")


def gpus(session):
    """Return what a session's kernel sees when it opens every GPU's device file: strerror by number, and its own."""
    path = f"gpus-{session.name}.ipynb"
    cell = {
        "cell_type": "code",
        "source": OPEN_ALL_GPUS,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "id": "a",
    }
    kernel = {"kernelspec": {"name": "tf-cpu", "display_name": "TensorFlow (CPU)", "language": "python"}}
    notebook = json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    session.cluster.as_user(session.name, f"cat > {path} <<'END'\n{notebook}\nEND")
    session.open_notebook(path)
    rows = text_of(session.run_all(path, 90)["cells"][0]).strip().splitlines()
    session.cluster.as_user(session.name, f"rm -f {path}")
    _, number, node, uid = rows.pop().split()
    return dict(row.split(" ", 1) for row in rows), (node, number), uid


def test_wrong_password_is_refused(student, cluster):
    one = student("student03")
    one.log_in("wrong-password")
    one.page.wait_for_selector(".login_error")
    assert "Invalid username or password" in one.page.inner_text(".login_error")
    one.picture("1-log-in-refused")
    assert "/hub/login" in one.page.url


def test_log_in_page_looks_for_nothing_outside(student, cluster):
    one = student("student03")
    asked = []
    one.page.on("request", lambda request: asked.append(request.url))
    one.page.goto(cluster.hub_url)
    one.picture("1-log-in")
    assert asked
    assert all(url.startswith((cluster.hub_url, "data:")) for url in asked)


def test_session_is_the_students_own_job_with_one_gpu(session, cluster):
    job = session.job()
    assert (job["UserName"], job["Account"], job["State"]) == ("student01", "tra26_davide", "RUNNING")
    assert job["tres-per-node"].endswith("gpu:tesla:1")
    assert job["NodeList"] in ("gpu01", "gpu02")
    owned = cluster.output(job["NodeList"], "pgrep --uid student01 --full --list-full -- '-m davide_session'")
    assert "/envs/session" in owned


def test_lab_asks_nothing_about_news_from_the_internet(session):
    session.page.get_by_role("heading", name="Start here").wait_for(timeout=60_000)
    session.picture("4-lab")
    settings = f"{session.cluster.user_url(session.name)}/lab/api/settings/@jupyterlab/apputils-extension:notification"
    defaults = session.page.evaluate(READ_OWN, settings)
    assert defaults["schema"]["properties"]["fetchNews"]["default"] == "false"


# What a script in a notebook would try: to read as whoever looks at it.
READ = """async (address) => {
    try { const answer = await fetch(address, {credentials: "include"}); return `${answer.status} ${answer.url}`; }
    catch (error) { return String(error); }
}"""
# What JupyterLab does in its own origin.
READ_OWN = """async (address) => {
    const [, crumb] = document.cookie.match(/_xsrf=([^;]+)/);
    return await (await fetch(address, {headers: {"X-XSRFToken": crumb}})).json();
}"""


def test_a_script_in_a_notebook_can_not_read_the_hubs_pages(session):
    own = session.cluster.user_url(session.name)
    assert "kernels" in session.page.evaluate(READ_OWN, f"{own}/api/status")
    for address in (f"{session.cluster.hub_url}/hub/home", "/hub/home", f"{session.cluster.hub_url}/hub/api/user"):
        assert session.page.evaluate(READ, address) == "TypeError: Failed to fetch"


def test_the_hubs_cookies_are_for_its_own_name_alone(session):
    host = urlsplit(session.cluster.hub_url).hostname
    cookies = {cookie["name"]: cookie for cookie in session.page.context.cookies()}
    (login,) = (cookie for name, cookie in cookies.items() if name.startswith("__Host-jupyterhub-hub"))
    assert (login["domain"], login["httpOnly"], login["secure"]) == (host, True, True)
    assert "jupyterhub-hub" not in session.page.evaluate("document.cookie")


def test_lesson_is_in_the_students_home(session, cluster):
    done = cluster.as_user("student01", f"ls -l --time-style=+ davide-course/{LESSON}")
    assert done.stdout.split()[:1] == ["-rw-------"]
    assert done.stdout.split()[2:4] == ["student01", "davide"]


def test_lesson_runs_from_top_to_bottom_without_an_error(lesson):
    assert [text for cell in lesson["cells"] if cell["cell_type"] == "code" for text in errors(cell)] == []


def test_lesson_reaches_its_numbers(lesson):
    report = next(text_of(cell) for cell in lesson["cells"] if "check.report" in "".join(cell["source"]))
    assert "reached" in report
    assert "not yet" not in report.lower()


def test_lesson_looks_right_in_the_page(lesson, session):
    for title in ("Encoder, code, decoder", "Where you stand"):
        heading = session.page.get_by_role("heading", name=title)
        # JupyterLab draws cells when they come into view, and may move on while it does.
        session.wait_for(lambda shown=heading: shown_on_top(shown), f"{title} to be drawn", 30)
        session.picture(f"5-lesson-{title.split(',')[0].lower().replace(' ', '-')}")
    assert session.page.locator(".jp-OutputArea-output img").count() >= 1


def shown_on_top(heading):
    """Scroll to a heading, and say whether a person sees it: whether it is what a click in its middle would hit."""
    heading.scroll_into_view_if_needed()
    return heading.evaluate(
        """shown => { const box = shown.getBoundingClientRect();
                      const hit = document.elementFromPoint(box.x + 5, box.y + box.height / 2);
                      return box.height > 0 && hit !== null && shown.contains(hit); }"""
    )


def test_lesson_shows_plots_and_no_noise(lesson):
    outputs = [out for cell in lesson["cells"] if cell["cell_type"] == "code" for out in cell["outputs"]]
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 4
    assert [out["text"] for out in outputs if out.get("name") == "stderr"] == []


def test_session_opens_its_own_gpu_and_is_refused_the_neighbours(lesson, session):
    opened, (_, own), uid = gpus(session)
    expected = dict.fromkeys("0123", "Operation not permitted")
    expected[own] = "No such device or address"  # allowed; the stand-in has no driver
    assert opened == expected
    assert uid == "6001"


def test_full_cluster_is_told_on_the_pending_page_and_cancel_leaves_no_job(student, cluster):
    holder = "sbatch --parsable -A tra26_davide --gres=gpu:4 --exclusive --wrap='sleep 300'"
    held = [cluster.as_user("student04", holder).stdout.strip() for _ in range(3)]
    try:
        one = student("student03")
        one.enter()
        one.start("Four GPUs")
        news = one.page.locator("#session-news")
        expect(news).to_contain_text("waits: ", timeout=60_000)
        one.picture("3-pending")
        one.page.get_by_role("button", name="Cancel").click()
        one.page.wait_for_url("**/hub/spawn")
        one.wait_for(lambda: not one.job(), "the cancelled job to leave the queue")
    finally:
        cluster.output("ctl01", f"scancel {' '.join(held)}")


def test_second_student_gets_another_gpu(session, student):
    other = student("student02")
    other.enter()
    other.start("One GPU")
    other.wait_for_lab()
    assert gpus(other)[1] != gpus(session)[1]
    other.stop()


def test_stop_ends_the_job(session):
    session.stop()
    session.page.wait_for_selector("text=No session is running")
    session.picture("6-stopped")
