"""A session with four GPUs and its kernels: real server and real kernels; the GPUs are numbers in a variable."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest
from davide_session.leases import Lease, Leases
from davide_session.local_kernels import SessionProvisioner
from davide_session.wishes import Wish
from fake_hub import TOKEN, USER, FakeHub
from jupyter_client.kernelspec import KernelSpec
from support.session_process import make_kernel, session_process

# -- the provisioner alone


def test_a_lease_outlasts_the_time_between_two_processes_of_a_restart(monkeypatch):
    leases = Leases(["0", "1"])
    monkeypatch.setattr("davide_session.local_kernels.session_leases", lambda: leases)
    provisioner = SessionProvisioner(kernel_id="a", kernel_spec=KernelSpec())

    async def held_after(restart):
        await leases.take(Lease("a", "TensorFlow", "a.ipynb", Wish()))
        leases.began("a", lambda: True)
        await provisioner.cleanup(restart=restart)
        return [one.kernel for one in await leases.held()]

    assert asyncio.run(held_after(True)) == ["a"]
    assert asyncio.run(held_after(False)) == []


# -- a session

SEEN = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
PID = "import os; print(os.getpid())"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    top = tmp_path_factory.mktemp("session")
    home = top / "home"
    (home / "lessons").mkdir(parents=True)
    make_kernel(top / "software/share/jupyter/kernels", "tf-cpu", display_name="TensorFlow")
    own = home / ".local/share/jupyter/kernels"
    # It names a GPU by itself, which may be another notebook's.
    make_kernel(own, "my-own", env={"CUDA_VISIBLE_DEVICES": "0"})
    make_kernel(own, "broken")
    (own / "broken/kernel.json").write_text('{"argv": ["/no/such/program"], "display_name": "broken"}')
    with (
        FakeHub() as hub,
        session_process(hub, home, USER, TOKEN, CUDA_VISIBLE_DEVICES="0,1,2,3") as running,
    ):
        yield running


class Notebook:
    """A notebook that is open, as JupyterLab has it."""

    def __init__(self, session, path, gpus=None, kernel="tf-cpu"):
        self._session, self.path = session, path
        metadata = {} if gpus is None else {"davide": {"gpus": gpus}}
        document = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        (session.home / path).write_text(json.dumps(document))
        # As JupyterLab does: first with a number for a path, beside the notebook.
        body = {"path": path.replace(".ipynb", "-1f2e"), "name": path.split("/")[-1], "type": "notebook"}
        self.answer = session.request("POST", "/api/sessions", kernel={"name": kernel}, **body)
        self.id = self.answer.json().get("id")
        if self.id:
            self.change(path=path)

    @property
    def kernel(self):
        return self._session.ask(f"/api/sessions/{self.id}").json()["kernel"]["id"]

    def run(self, code):
        return self._session.run_in(self.kernel, code).strip()

    def change(self, **what):
        return self._session.request("PATCH", f"/api/sessions/{self.id}", **what)

    def restart(self):
        return self._session.request("POST", f"/api/kernels/{self.kernel}/restart")

    def kill(self):
        """Kill the kernel, and return the number of its process once the session has seen its end."""
        pid = int(self.run(PID))
        os.kill(pid, signal.SIGKILL)

        def is_seen():
            held(self._session)  # which looks for kernels that have ended
            return not Path(f"/proc/{pid}").exists()

        wait_for(is_seen)
        return pid

    def close(self):
        return self._session.request("DELETE", f"/api/sessions/{self.id}")

    def asks_for(self, gpus):
        file = self._session.home / self.path
        file.write_text(json.dumps(json.loads(file.read_text()) | {"metadata": {"davide": {"gpus": gpus}}}))


@pytest.fixture
def notebook(session):
    opened = []

    def start(*args, **more):
        opened.append(Notebook(session, *args, **more))
        return opened[-1]

    yield start
    for one in opened:
        if one.id:
            one.close()
    assert held(session) == {}, "a lease has leaked"


def held(session):
    leases = session.ask("/davide/facts").json()["leases"]
    assert leases["gpus"] == ["0", "1", "2", "3"]
    return {one["path"]: one["gpus"] for one in leases["held"]}


def wait_for(found, seconds=30):
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return result


def test_four_notebooks_hold_four_gpus_and_the_fifth_is_told(session, notebook):
    four = [notebook(f"{name}.ipynb") for name in "abcd"]
    assert sorted(one.run(SEEN) for one in four) == ["0", "1", "2", "3"]
    refused = notebook("e.ipynb").answer
    assert refused.status_code == 500
    told = refused.json()["message"]
    assert told.startswith("All 4 GPUs of this session are in use by other notebooks.\nGPU 0: a.ipynb\n")
    assert "To share one" in told
    # Renamed meanwhile: told by its present name.
    four[1].change(path="renamed.ipynb", name="renamed.ipynb")
    assert "GPU 1: renamed.ipynb" in notebook("e.ipynb").answer.json()["message"]
    assert notebook("shares.ipynb", "share").run(SEEN) == "0"
    assert notebook("lessons/reads.ipynb", 0).run(SEEN) == ""
    # Another kernel for the same notebook: it goes on with the same GPU, although the first still runs when it starts.
    assert four[2].change(kernel={"name": "my-own"}).status_code == 200
    assert four[2].run(SEEN) == "2"
    # A restart keeps it.
    assert four[3].restart().status_code == 200
    assert four[3].run(SEEN) == "3"
    assert held(session) == {
        "a.ipynb": ["0"],
        "renamed.ipynb": ["1"],
        "c.ipynb": ["2"],
        "d.ipynb": ["3"],
        "shares.ipynb": ["0"],
        "lessons/reads.ipynb": [],
    }


def test_a_kernel_killed_comes_back_with_its_gpu(session, notebook):
    killed, other = notebook("killed.ipynb"), notebook("other.ipynb")
    gpu, pid = killed.run(SEEN), killed.kill()
    # Jupyter starts it again by itself.
    wait_for(lambda: held(session).get("killed.ipynb") == [gpu])
    assert killed.run(SEEN) == gpu
    assert killed.run(PID) != str(pid)
    assert held(session)["other.ipynb"] == [other.run(SEEN)]


def test_a_killed_kernel_gives_its_gpu_to_whoever_is_quick_and_comes_back_without_and_the_page_knows(session, notebook):
    four = [notebook(f"{name}.ipynb") for name in "abcd"]

    def taken():
        # Jupyter looks for dead kernels every 3 s: if that was just now, this one has its GPU back, and dies again.
        if "a.ipynb" in held(session):
            four[0].kill()
        quick = notebook("quick.ipynb")
        return quick if quick.id else None

    assert wait_for(taken, 60).run(SEEN) == "0"
    wait_for(lambda: held(session).get("a.ipynb") == [])
    assert four[0].run(SEEN) == ""
    rows = session.ask("/davide/facts").json()["leases"]["held"]
    assert [(one["asked"], one["gpus"]) for one in rows if one["path"] == "a.ipynb"] == [(1, [])]


def test_a_wish_is_read_anew_at_a_restart(session, notebook):
    mine = notebook("mine.ipynb")
    mine.asks_for(3)
    assert mine.restart().status_code == 200
    assert mine.run(SEEN) == "0,1,2"
    other = notebook("other.ipynb")
    other.asks_for(2)
    assert other.restart().status_code == 200
    assert other.run(SEEN) == "3", "it keeps what it had"
    mine.asks_for("share")
    mine.restart()
    assert mine.run(SEEN) == "0"


@pytest.mark.parametrize("kernel", ["broken", "no-such-kernel"])
def test_a_start_that_fails_leaves_no_lease(session, notebook, kernel):
    assert notebook("mine.ipynb", kernel=kernel).answer.status_code >= 500
    assert held(session) == {}


def test_a_kernel_that_a_program_asked_for_has_a_lease_too(session):
    kernel = session.request("POST", "/api/kernels", name="tf-cpu").json()["id"]
    assert held(session) == {"": ["0"]}
    session.request("DELETE", f"/api/kernels/{kernel}")
    assert held(session) == {}


def test_a_kernel_that_does_not_go_by_itself_gives_back_too(session, notebook):
    stubborn = notebook("stubborn.ipynb")
    stubborn.run("import signal as s; [s.signal(one, s.SIG_IGN) for one in (s.SIGINT, s.SIGTERM)]; print()")
    stubborn.run("import os, time; os.fork() or time.sleep(600); print()")
    stubborn.close()
    assert held(session) == {}


def test_a_session_that_has_refused_a_kernel_ends_like_any_other(session):
    assert Notebook(session, "greedy.ipynb", 4).answer.status_code == 201
    assert Notebook(session, "late.ipynb").answer.status_code == 500
    session.process.send_signal(signal.SIGTERM)
    assert session.process.wait(30) == 0
