"""A whole session as a process, as the batch script starts it, against a stand-in for the hub (see fake_hub.py)."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_hub import STRANGERS_TOKEN, TOKEN, USER, FakeHub
from support.session_process import START, make_kernel, session_process

TOP = Path(__file__).parents[2]

# Places where a user's code would get into a stock server before anything of ours runs.
SURPRISE = "open({marker!r}, 'a').write(__file__ + '\\n')\n"
SURPRISES = [
    "jupyter_server_config.py",
    ".jupyter/jupyter_server_config.py",
    ".jupyter/jupyter_config.py",
    ".jupyter/jupyter_lab_config.py",
    ".local/etc/jupyter/jupyter_server_config.py",
    f".local/lib/python3.{sys.version_info.minor}/site-packages/usercustomize.py",
    f".local/lib/python3.{sys.version_info.minor}/site-packages/surprise.py",
    "python-path/sitecustomize.py",
    "python-path/davide_session/__init__.py",
]
SURPRISE_IN_THE_BROWSER = {
    "name": "surprise",
    "version": "1.0.0",
    "jupyterlab": {"_build": {"load": "static/remoteEntry.js", "extension": "./extension"}},
}


def make_home(top: Path) -> Path:
    """Return a home with a course folder, a kernel of the user's own, and surprises in every known place."""
    home = top / "home"
    (home / "davide-course").mkdir(parents=True)
    for name in SURPRISES:
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SURPRISE.format(marker=str(top / "marker")))
    (home / f".local/lib/python3.{sys.version_info.minor}/site-packages/surprise.pth").write_text("import surprise\n")
    enabled = {"ServerApp": {"jpserver_extensions": {"surprise": True}}}
    extensions = home / ".jupyter/jupyter_server_config.d"
    extensions.mkdir()
    (extensions / "surprise.json").write_text(json.dumps(enabled))
    in_browser = home / ".local/share/jupyter/labextensions/surprise"
    in_browser.mkdir(parents=True)
    (in_browser / "package.json").write_text(json.dumps(SURPRISE_IN_THE_BROWSER))
    (home / ".ipython").mkdir()  # an old IPython makes a stock server "migrate" its files
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (home / "davide-course" / "lesson.ipynb").write_text(json.dumps(notebook))
    make_kernel(home / ".local/share/jupyter/kernels", "my-own")
    make_kernel(home / ".local/share/jupyter/kernels", "tf-cpu", display_name="shadow of the site's")
    return home


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    top = tmp_path_factory.mktemp("session")
    home = make_home(top)
    make_kernel(top / "software/share/jupyter/kernels", "tf-cpu", display_name="TensorFlow")
    python_path = str(home / "python-path")
    with (
        FakeHub(failures=1) as hub,
        session_process(hub, home, USER, TOKEN, "--idle-minutes", "30", PYTHONPATH=python_path) as running,
    ):
        yield running


def test_it_calls_home_once_with_the_port_it_serves(session):
    assert session.ask("/api/status").status_code == 200
    assert len(session.hub.calls) == 1
    assert set(session.hub.calls[0]) == {"port"}


@pytest.mark.parametrize("token", [STRANGERS_TOKEN, "nonsense", ""])
def test_only_its_user_gets_in(session, token):
    assert session.ask("/api/status", token).status_code == 403


def test_no_token_in_an_address_is_in_its_log(session):
    for path in ("/", "/lab?a=b", "/login?next=%2Fx%3Ftoken%3Dmade-up-token", "/api/status", "/not-there"):
        session.ask(f"{path}{'&' if '?' in path else '?'}token=made-up-token", token="")
    assert "token=[secret]" in session.log, "it is the log that they went to"
    assert "made-up-token" not in session.log


def test_the_kernels_are_the_sites_and_the_users_own(session):
    answer = session.ask("/api/kernelspecs").json()
    assert answer["default"] == "tf-cpu"
    assert set(answer["kernelspecs"]) == {"tf-cpu", "my-own"}
    assert answer["kernelspecs"]["tf-cpu"]["spec"]["display_name"] == "TensorFlow"


def test_jupyterlab_opens_in_the_course(session):
    page = session.ask("/")
    assert page.status_code == 200
    assert page.url.endswith(f"/user/{USER}/lab/tree/davide-course")
    assert "jupyter-config-data" in page.text


def test_a_kernel_runs_over_a_socket_in_the_private_folder(session):
    kernel = session.request("POST", "/api/kernels", name="tf-cpu").json()["id"]
    private = session.run_in(kernel, "import tempfile; print(tempfile.gettempdir())").strip()
    assert Path(private) == session.private / "tmp"
    assert list((session.private / "runtime").glob(f"kernel-{kernel}-ipc-*"))


def wait_for(found, seconds=30):
    """Return what `found` returns as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return result


def test_nothing_of_the_users_ran_before_its_time(session):
    """The twin: the same surprises do run in a plain Python, so the test would see them."""
    marker = session.home.parent / "marker"
    assert not marker.exists()
    environment = {"HOME": str(session.home), "PYTHONPATH": str(session.home / "python-path")}
    subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
    assert "sitecustomize" in marker.read_text()
    marker.unlink()


def test_no_code_of_the_users_gets_into_the_page(session):
    assert "surprise" not in session.ask("/lab").text


def test_databases_and_sockets_stay_off_the_home(session):
    assert session.ask("/api/contents/davide-course/lesson.ipynb").json()["content"]["cells"] == []
    assert (session.private / "nbsignatures.db").exists()
    assert not list(session.home.rglob("*.db"))
    assert not (session.home / ".local/share/jupyter/runtime").exists()
    assert not (session.home / ".jupyter/migrated").exists()


def test_the_private_folder_is_on_the_nodes_disk_and_nobody_elses(session):
    assert session.private.parent == Path("/tmp")
    assert session.private.stat().st_mode & 0o777 == 0o700


def test_the_log_holds_no_secret(session):
    assert TOKEN not in session.log
    assert TOKEN not in Path(f"/proc/{session.process.pid}/cmdline").read_text()


def test_it_starts_without_hand_outs(session):
    """The checkout's Python has no davide_course: the session says so and goes on."""
    assert "The hand-outs could not be brought" in session.log


def test_it_tells_pages_about_itself(session):
    facts = session.ask("/davide/facts").json()
    assert facts["gpus"]["state"] == "none"
    # No job here, so no end, and nobody's memory is passed off as the job's.
    assert facts["walltime"]["left_seconds"] is facts["memory"]["used_bytes"] is None
    assert facts["idle"]["limit_seconds"] == 1800


@pytest.mark.parametrize("path", ["facts", "here", "end"])
@pytest.mark.parametrize("token", [STRANGERS_TOKEN, ""])
def test_only_its_user_is_told_and_may_press_its_buttons(session, token, path):
    answer = session.ask(f"/davide/{path}", token) if path == "facts" else session.press(f"/davide/{path}", token)
    assert answer.status_code == 403
    assert session.hub.ended == []


def test_a_page_that_is_only_open_is_no_activity(session):
    session.press("/davide/here")
    # What the hub is told, and what Jupyter itself shows.
    before = session.ask("/api/status").json()["last_activity"]

    def idle_although_asked():
        for path in ("/api/kernels", "/api/terminals", "/api/contents"):
            session.ask(path)
        return session.ask("/davide/facts").json()["idle"]["idle_seconds"]

    assert wait_for(idle_although_asked) > 0
    assert session.ask("/api/status").json()["last_activity"] == before


def test_i_am_here_reaches_the_hub_at_once(session):
    known = len(session.hub.activity)
    began = datetime.now(UTC)
    assert session.press("/davide/here").json()["idle"]["idle_seconds"] == 0
    told = wait_for(lambda: session.hub.activity[known:])
    assert datetime.fromisoformat(told[-1]) >= began


def test_the_button_ends_it_through_the_hub(session):
    session.hub.failures = 1
    assert session.press("/davide/end").status_code == 503
    session.hub.failures = 0
    assert session.press("/davide/end").status_code == 202
    assert session.hub.ended == [f"/hub/api/users/{USER}/server"]


WALLTIME = """
import os, pathlib, signal, time
def told(*_):
    global heard
    heard = True
heard = False
signal.signal(signal.SIGUSR1, told)
pathlib.Path(os.environ["DAVIDE_WALLTIME"], str(os.getpid())).touch()
pathlib.Path("ready").touch()
while not heard:
    time.sleep(0.05)
print("told")
"""


def test_slurms_signal_before_the_end_reaches_the_kernels_that_asked_and_pages(session):
    """The other kernel does not know the signal, and goes on."""
    listens, other = (session.request("POST", "/api/kernels", name="tf-cpu").json()["id"] for _ in "ab")
    session.run_in(other, "kept = 7; print(kept)")
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(session.run_in, listens, WALLTIME)
        wait_for((session.home / "ready").exists)
        session.process.send_signal(signal.SIGUSR1)
        assert told.result(30) == "told\n"
    assert session.ask("/davide/facts").json()["walltime"]["saving"]
    assert session.run_in(other, "print(kept)") == "7\n"


def test_slurms_signal_ends_it_at_work_and_leaves_nothing(session, wait_for):
    private = session.private
    many = session.home / "many"
    many.mkdir()
    for number in range(10_000):
        (many / str(number)).touch()
    threads = Path(f"/proc/{session.process.pid}/task")
    before = len(list(threads.iterdir()))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(session.ask, "/api/contents/many")
        # Jupyter looks at each file in a thread that is the request's own.
        wait_for(lambda: len(list(threads.iterdir())) > before, "the listing to begin", 30)
        session.process.send_signal(signal.SIGTERM)
        assert session.process.wait(30) == 0
    assert not private.exists()


@pytest.mark.parametrize("before", [(), (signal.SIGUSR1,)])
def test_a_session_cancelled_while_it_starts_leaves_nothing(tmp_path, before):
    """The import of Jupyter takes a second; here, waiting for the hand-outs takes a minute.

    The signal before the end may come as early, and ends nothing.
    """
    secrets = tmp_path / "environment.json"
    secrets.write_text("{}")
    secrets.chmod(0o600)
    waiting = """
import os, sys, time
sys.path.insert(0, {hub!r})
from davide_session import launch
def finish_sync(_):
    print(os.environ["TMPDIR"], flush=True)
    for _ in range(600):  # a signal that comes just before a sleep begins does not end it
        time.sleep(0.1)
launch.finish_sync = finish_sync
sys.exit(launch.main())
"""
    arguments = ["--environment", secrets, "--software", tmp_path, "--kernel", "k", "--course", "c"]
    command = [sys.executable, "-I", "-c", waiting.format(hub=str(TOP / "hub")), *arguments]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        private = Path(process.stdout.readline().strip()).parent
        assert private.is_dir()
        for one in (*before, signal.SIGTERM):
            process.send_signal(one)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not private.exists()


def test_without_secrets_it_says_so_and_ends(tmp_path):
    code = START.format(path=[str(TOP / "hub")])
    arguments = ["--environment", "gone.json", "--software", "/software", "--kernel", "k", "--course", "c"]
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "gone.json: can't be opened (No such file or directory); start a new session from the hub\n"
    )
