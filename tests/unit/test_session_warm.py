"""Warm kernels: a real session, real kernels, and a module that is slow to import in TensorFlow's place."""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_session.cgroup import JobUse
from davide_session.warm import Parents, order_for, room_of_job
from fake_hub import TOKEN, USER, FakeHub
from support.session_process import session_process

TOP = Path(__file__).parents[2]
# As matplotlib does, which comes with Keras, it reads where to draw while it is imported.
SLOW = "import os, time, numpy.random; time.sleep(0.5); DRAWS = os.environ.get('MPLBACKEND')\n"
# What importing it leaves behind in each process that is forked.
KEEPS_A_THREAD = """
import os, threading
os.register_at_fork(after_in_child=lambda: threading.Thread(target=threading.Event().wait, daemon=True).start())
"""
LAUNCH = f"""#!/bin/bash
export PYTHONPATH={{folder}} OMP_NUM_THREADS=1
exec {sys.executable} "$@"
"""
SPEC = {
    "argv": ["{resource_dir}/launch", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "TensorFlow",
    "language": "python",
    "metadata": {"davide": {"warm": "slow"}},
}


def make_warm_kernel(folder, module=SLOW):
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(SPEC))
    (folder / "launch").write_text(LAUNCH.format(folder=folder))
    (folder / "launch").chmod(0o755)
    (folder / "slow.py").write_text(module)
    shutil.copy(TOP / "kernels/warm.py", folder)
    return folder


def wait_for(found, seconds=60):
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return result


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- the parents alone


def order_of(folder, notebook="", **variables):
    spec = SimpleNamespace(resource_dir=str(folder), display_name="TensorFlow", metadata=SPEC["metadata"])
    command = [str(folder / "launch"), "-m", "ipykernel_launcher", "-f", str(folder / "connection.json")]
    return order_for(spec, command, os.environ | variables, str(folder), str(notebook))


@pytest.fixture
def expecting():
    """Return a function that makes parents which expect a kernel."""
    made = []

    def expect(folder, room=None):
        made.append(Parents(lambda: room))
        spec = {"resource_dir": str(folder), "display_name": "TensorFlow", "env": {}}
        made[-1].expect(SimpleNamespace(**spec, metadata=SPEC["metadata"], argv=SPEC["argv"]))
        return made[-1]

    yield expect
    for parent in [one for parents in made for one in parents._parents.values()]:
        parent.close()
        parent._process.wait()


def only_parent(parents):
    (parent,) = parents._parents.values()
    wait_for(lambda: parent.look() or parent.is_ready or parent.has_ended)
    return parent


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (KEEPS_A_THREAD, "2 threads run after the imports"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("file = open('/dev/full')\n", "the imports have opened a GPU"),
    ],
)
def test_a_parent_that_can_not_be_forked_gives_up_and_says_why(expecting, tmp_path, module, said, capfd):
    folder = make_warm_kernel(tmp_path / "kernel", module)
    # A device that every machine has, in the place of a GPU's.
    (folder / "warm.py").write_text((folder / "warm.py").read_text().replace("/dev/nvidia", "/dev/full"))
    parents = expecting(folder)
    assert only_parent(parents).has_ended
    assert asyncio.run(parents.fork(order_of(folder))) is None
    assert said in capfd.readouterr().err


def test_a_parent_that_always_ends_is_not_tried_for_ever(expecting, tmp_path):
    folder = make_warm_kernel(tmp_path / "kernel", f"open({str(tmp_path / 'tried')!r}, 'a').write('.'); 1 / 0\n")
    parents = expecting(folder)
    for _ in range(4):
        if parents._parents:
            assert only_parent(parents).has_ended
        assert asyncio.run(parents.fork(order_of(folder))) is None
    assert (tmp_path / "tried").read_text() == "..."


def test_variables_that_count_at_import_ask_for_a_parent_of_their_own(tmp_path):
    folder = make_warm_kernel(tmp_path / "kernel")
    plain = order_of(folder, CUDA_VISIBLE_DEVICES="0", JPY_SESSION_NAME="a.ipynb")
    assert plain.key == order_of(folder, CUDA_VISIBLE_DEVICES="1", JPY_SESSION_NAME="b.ipynb").key
    for name in ("TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS", "CUDA_DEVICE_ORDER", "LD_PRELOAD", "ANYTHING"):
        assert plain.key != order_of(folder, **{name: "7"}).key


def test_there_is_no_parent_where_memory_is_short(expecting, tmp_path):
    folder = make_warm_kernel(tmp_path / "kernel")
    assert not expecting(folder, room=1 << 30)._parents
    assert expecting(folder, room=2 << 30)._parents


@pytest.mark.parametrize(
    ("used", "limit", "available_kb", "room"),
    [(3 << 30, 4 << 30, 9 << 20, 1 << 30), (1 << 30, 8 << 30, 2 << 20, 2 << 30), (None, None, 2 << 20, 2 << 30)],
)
def test_the_room_is_what_the_job_and_the_node_still_have(tmp_path, used, limit, available_kb, room):
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {available_kb} kB\n")
    cgroup = SimpleNamespace(use=lambda: JobUse(used, limit, None))
    assert room_of_job(cgroup, tmp_path / "meminfo")() == room


def test_nobody_knows_the_room_where_neither_tells_it(tmp_path):
    assert room_of_job(SimpleNamespace(use=lambda: JobUse(None, None, None)), tmp_path / "none")() is None


@pytest.mark.parametrize("spec", [{}, {"davide": {"warm": ""}}, {"davide": None}])
def test_a_kernel_whose_recipe_does_not_say_so_starts_as_ever(tmp_path, spec):
    folder = make_warm_kernel(tmp_path / "kernel")
    found = SimpleNamespace(display_name="mine", metadata=spec)
    assert order_for(found, [str(folder / "launch"), "-f", "c.json"], {}, "/", "") is None


# -- a session

WARMTH = "import sys; print('slow' in sys.modules)"
PID = "import os; print(os.getpid())"
STATE = """
import json, os, numpy.random, random, sys
names = ("CUDA_VISIBLE_DEVICES", "JPY_PARENT_PID", "JPY_SESSION_NAME", "OMP_NUM_THREADS", "PWD")
print(json.dumps({
    "variables": {name: os.environ.get(name) for name in names}, "numbers": [numpy.random.rand(), random.random()],
    "same": [
        os.getcwd(), sys.argv[:2], sys.argv[3:], sys.path, sys.modules["__main__"].__name__, os.umask(0o077),
        os.getpgrp() == os.getpid() == os.getsid(0), sorted(os.environ), __import__("slow").DRAWS,
    ],
}))
"""
SLEEPS = """
import pathlib, time
try:
    pathlib.Path.home().joinpath("begun").touch()
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""
SETS_LATE = "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '0'"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    top = tmp_path_factory.mktemp("session")
    home = top / "home"
    (home / "lessons").mkdir(parents=True)
    make_warm_kernel(top / "software/share/jupyter/kernels/tf-cpu")
    with FakeHub() as hub, session_process(hub, home, USER, TOKEN, CUDA_VISIBLE_DEVICES="0,1") as running:
        yield running


@pytest.fixture
def notebook(session):
    """Return a function that opens a notebook, warm unless it is told otherwise."""
    opened = []

    def opens(path, source="", *, warm=True):
        cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        document = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (session.home / path).write_text(json.dumps(document))
        body = {"path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": "tf-cpu"}}
        while True:
            made = session.request("POST", "/api/sessions", **body).json()
            one = Opened(session, made)
            # Not before its parent is ready, which nobody outside can see.
            if one.run(WARMTH) == str(warm):
                opened.append(one)
                return one
            assert warm, "it is warm"
            one.close()

    yield opens
    for one in opened:
        if session.process.poll() is None:
            one.close()


class Opened:
    """A notebook with its kernel."""

    def __init__(self, session, made):
        self._session, self._id, self.kernel = session, made["id"], made["kernel"]["id"]

    def run(self, code):
        return self._session.run_in(self.kernel, code).strip()

    def act(self, verb):
        assert self._session.request("POST", f"/api/kernels/{self.kernel}/{verb}").ok

    def close(self):
        self._session.request("DELETE", f"/api/sessions/{self._id}")


def test_before_a_page_was_there_nothing_is_prepared(notebook):
    first = notebook("first.ipynb", warm=False)
    first.close()
    notebook("second.ipynb", warm=False)


def test_a_warm_kernel_is_like_one_that_was_started(session, notebook):
    session.ask("/api/kernelspecs")
    cold = notebook("lessons/cold.ipynb", SETS_LATE, warm=False)
    started = json.loads(cold.run(STATE))
    cold.close()
    first, second = (json.loads(notebook(f"lessons/{name}.ipynb").run(STATE)) for name in "ab")
    assert first["same"] == started["same"]
    assert first["variables"] == {
        "CUDA_VISIBLE_DEVICES": "0",
        "JPY_PARENT_PID": str(session.process.pid),
        "JPY_SESSION_NAME": str(session.home / "lessons/a.ipynb"),
        "OMP_NUM_THREADS": "1",
        "PWD": str(session.home / "lessons"),
    }
    assert second["variables"]["CUDA_VISIBLE_DEVICES"] == "1"
    assert first["numbers"][0] != second["numbers"][0], "numpy draws the same in all kernels"
    assert first["numbers"][1] != second["numbers"][1]


def test_interrupt_restart_and_a_kill_are_as_ever(session, notebook):
    mine = notebook("mine.ipynb")
    pid = mine.run(PID)
    with ThreadPoolExecutor(max_workers=1) as pool:
        said = pool.submit(mine.run, SLEEPS)
        wait_for((session.home / "begun").exists)
        mine.act("interrupt")
        assert said.result() == "interrupted"
    assert mine.run(PID) == pid
    mine.act("restart")
    assert mine.run(WARMTH) == "True"
    again = mine.run(PID)
    assert again != pid
    assert not runs(int(pid))
    os.kill(int(again), signal.SIGKILL)
    wait_for(lambda: not runs(int(again)))
    # Jupyter starts it again by itself.
    wait_for(lambda: lease_of(session, "mine.ipynb") == ["0"])
    assert mine.run(WARMTH) == "True"
    assert mine.run(PID) != again


def lease_of(session, path):
    held = session.ask("/davide/facts").json()["leases"]["held"]
    return next((one["gpus"] for one in held if one["path"] == path), None)


def test_kernels_outlive_their_parent_and_the_next_ones_get_another(session, notebook):
    mine = notebook("mine.ipynb")
    parent = int(mine.run("import os; print(os.getppid())"))
    assert b"warm.py" in Path(f"/proc/{parent}/cmdline").read_bytes()
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: not runs(parent))
    other = notebook("other.ipynb", warm=False)
    assert mine.run("print(6 * 7)") == "42"
    other.close()
    assert notebook("third.ipynb").run("import os; print(os.getppid())") != str(parent)


def test_variables_that_came_too_late_count_after_a_cold_start(session, notebook):
    mine = notebook("mine.ipynb")
    assert "TF_CPP_MIN_LOG_LEVEL: counts only when libraries are imported" in session.run_in(mine.kernel, SETS_LATE)
    mine.act("restart")
    assert mine.run(WARMTH) == "False"
    mine.close()
    # A notebook that says so from the beginning never gets a warm one; and one that speaks of something else does.
    notebook("sets.ipynb", SETS_LATE, warm=False).close()
    notebook("magic.ipynb", "%env OMP_NUM_THREADS=1", warm=False).close()
    notebook("other.ipynb", "os.environ['CUDA_VISIBLE_DEVICES'] = '0'; os.environ['TF_CONFIG'] = '{}'")


def test_nothing_outlives_a_server_that_is_killed(session, notebook):
    mine = notebook("mine.ipynb")
    kernel, parent = (int(mine.run(f"import os; print(os.{what}())")) for what in ("getpid", "getppid"))
    session.process.kill()
    session.process.wait()
    wait_for(lambda: not runs(kernel) and not runs(parent))
