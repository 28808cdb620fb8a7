"""Kernels with jobs of their own, against a Slurm of our making that really runs what is submitted."""

import asyncio
import json
import os
import site
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from davide_session.jobkernel import front, link, provisioner
from davide_session.jobkernel.offers import Offer
from davide_session.jobkernel.slurm_job import JobRefused
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from support.local_slurm import LocalSlurm
from traitlets.config import Config

TOP = Path(__file__).parents[2]
OFFER = Offer("one-gpu-1gpu-1h", "1 GPU, 1 h, own job", "p", "gpu:tesla:1", 1, 4, 6, 1)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return a Python that has the packages of a session."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    packages = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (packages / "ours.pth").write_text("\n".join([str(TOP / "hub"), *site.getsitepackages()]))
    return str(folder / "bin/python")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    made = LocalSlurm(tmp_path)
    made.start()
    made.add_session("500")
    (tmp_path / "home").mkdir()
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "made-up-secret-token")
    for name, value in {"ID": "500", "ACCOUNT": "tra26", "QOS": "normal", "RESERVATION": "course"}.items():
        monkeypatch.setenv(f"SLURM_JOB_{name}", value)
    yield made
    made.stop()


@pytest.fixture
def manager(slurm, python, tmp_path, monkeypatch):
    """Return a manager of one kernel with a job of its own, not started yet."""
    folder = tmp_path / "kernels/mine"
    folder.mkdir(parents=True)
    metadata = {"kernel_provisioner": {"provisioner_name": "davide-job", "config": {"offer": OFFER.as_json()}}}
    spec = {
        "argv": [sys.executable, "-I", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python",
        "language": "python",
        "env": {"FROM_SPEC": "yes"},
        "metadata": metadata,
    }
    (folder / "kernel.json").write_text(json.dumps(spec))
    entry = EntryPoint("davide-job", f"{provisioner.__name__}:JobProvisioner", KernelProvisionerFactory.GROUP_NAME)
    monkeypatch.setitem(KernelProvisionerFactory.instance().provisioners, "davide-job", entry)
    monkeypatch.setattr(provisioner, "_loop", None)
    specs = KernelSpecManager()
    specs.kernel_dirs = [str(tmp_path / "kernels")]
    manager = KernelManager(
        kernel_name="mine",
        kernel_spec_manager=specs,
        transport="ipc",
        config=Config({"JobProvisioner": {"python": python}}),
        connection_file=str(tmp_path / "runtime/kernel-1.json"),
    )
    yield manager
    if manager.has_kernel:
        manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.fixture
def client(manager):
    """Return a client of a kernel that runs."""
    manager.start_kernel()
    yield from connected(manager)


def connected(manager, seconds=30):
    client = manager.client()
    client.start_channels()
    if seconds:
        client.wait_for_ready(timeout=seconds)
    yield client
    client.stop_channels()


def run(client, code, seconds=60):
    """Return the state of the answer, and all that was printed or raised."""
    out = []

    def note(message):
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                out.append(content["text"])
            case "execute_result":
                out.append(content["data"]["text/plain"])
            case "error":
                out.append(f"{content['ename']}: {content['evalue']}")
            case "clear_output":
                out.append("<cleared>")

    reply = client.execute_interactive(code, output_hook=note, timeout=seconds, allow_stdin=False)
    return reply["content"]["status"], "".join(out)


def begin(client, code):
    """Send a cell, and return once it is at work."""
    client.execute(f"print('begun', flush=True)\n{code}")
    next_text(client, "begun")


def answer(client, seconds=60):
    """Return what the next answer to a cell says."""
    deadline = time.monotonic() + seconds
    while (message := client.get_shell_msg(timeout=seconds))["msg_type"] != "execute_reply":
        assert time.monotonic() < deadline, "the cell has no answer"
    return message["content"]


def test_kernel_runs_in_a_job_of_its_own(slurm, client):
    assert run(client, "import os; print(os.environ['SLURM_JOB_ID'], os.environ['FROM_SPEC'])") == ("ok", "1001 yes\n")
    assert slurm.queue == ["500", "1001"]


def test_no_secret_is_in_script_command_or_variables_of_the_job(slurm, client, manager):
    job = slurm.newest
    secrets = [manager.session.key.decode(), "made-up-secret-token", "PRIVATE KEY"]
    seen = [job.script, json.dumps(job.environment), json.dumps(slurm.asked)]
    seen += ["\0".join(process.cmdline()) for process in job.processes]
    assert not [one for one in secrets if any(one in text for text in seen)]
    # What the kernel's own variables hold is not the session's.
    assert run(client, "import os; 'JUPYTERHUB_API_TOKEN' in os.environ") == ("ok", "False")
    left = [file.name for file in (Path.home() / ".local/share/davide-hub/kernels").rglob("*") if file.is_file()]
    assert sorted(left) == ["job.sbatch", "kernel.log"]


def test_job_is_charged_as_the_session_is_and_says_whose_it_is(slurm, client, manager):
    asked = slurm.newest.asked
    assert (asked["account"], asked["qos"], asked["reservation"]) == ("tra26", "normal", "course")
    assert (asked["gres"], asked["cpus-per-task"], asked["mem"], asked["time"]) == ("gpu:tesla:1", "4", "6G", "1:00:00")
    assert asked["comment"] == f"davide-kernel:500:{manager.kernel_id}"


def test_kernel_asks_on_stdin_who_asked_it(client):
    answers = []
    reply = client.execute_interactive(
        "print(input('name? '))",
        stdin_hook=lambda message: (answers.append(message["content"]["prompt"]), client.input("davide")),
        output_hook=lambda message: answers.append(message["content"].get("text")),
        timeout=20,
    )
    assert reply["content"]["status"] == "ok"
    assert "name? " in answers
    assert "davide\n" in answers


def test_large_data_goes_both_ways(client):
    assert run(client, f"x = {'y' * 3_000_000!r}; len(x)") == ("ok", "3000000")
    state, said = run(client, "print('z' * 5_000_000)")
    assert (state, len(said)) == ("ok", 5_000_001)


def test_interrupt_reaches_the_kernel(manager, client):
    begin(client, "import time\ntime.sleep(60)")
    manager.interrupt_kernel()
    assert answer(client)["ename"] == "KeyboardInterrupt"
    assert run(client, "1 + 1") == ("ok", "2")


def test_interrupting_a_kernel_that_is_just_starting_again_keeps_the_job(slurm, manager, client):
    manager.restart_kernel(now=True)
    manager.interrupt_kernel()
    client.wait_for_ready(timeout=60)
    assert run(client, "1 + 1") == ("ok", "2")
    assert slurm.queue == ["500", "1001"]


def test_a_client_that_comes_after_a_restart_finds_the_kernel(manager, client):
    for _ in range(3):
        manager.restart_kernel(now=True)
    for late in connected(manager):
        assert run(late, "1 + 1") == ("ok", "2")


def test_restart_keeps_the_job(slurm, manager, client):
    assert run(client, "x = 1; import os; os.getpid()")[0] == "ok"
    manager.restart_kernel()
    client.wait_for_ready(timeout=30)
    assert run(client, "'x' in dir()") == ("ok", "False")
    assert slurm.queue == ["500", "1001"]


def test_kernel_that_is_killed_starts_again_in_its_job(slurm, manager, client, wait_for):
    client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    wait_for(lambda: not manager.is_alive(), "the kernel's end is noticed", 20)
    # What Jupyter's restarter does.
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=30)
    assert run(client, "1 + 1") == ("ok", "2")
    assert slurm.queue == ["500", "1001"]


def test_shutdown_empties_the_queue_and_leaves_nothing(slurm, manager, client, wait_for):
    processes = slurm.newest.processes
    manager.shutdown_kernel()
    wait_for(lambda: slurm.queue == ["500"], "the job ends", 10)
    assert slurm.newest.state == "COMPLETED"
    assert not [process for process in processes if process.is_running()]
    assert not list((Path.home() / ".local/share/davide-hub/kernels").iterdir())


def test_a_cell_is_told_that_its_job_was_cancelled(slurm, manager, client):
    begin(client, "import time\ntime.sleep(60)")
    subprocess.run(["scancel", "--", "1001"], check=True)
    reply = answer(client)
    assert reply["evalue"] == (
        "You cancelled the job of this kernel, and its variables are lost. Restart the kernel to start another job."
    )
    # Nobody starts another job but the user.
    assert manager.is_alive()
    assert run(client, "1 + 1") == ("error", f"KernelJob: {reply['evalue']}")
    assert slurm.queue == ["500"]
    manager.restart_kernel()
    client.wait_for_ready(timeout=30)
    assert run(client, "1 + 1") == ("ok", "2")
    assert slurm.queue == ["500", "1002"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("TIMEOUT", "reached its time limit of 1 h"),
        ("PREEMPTED", "A job of higher priority took the place"),
        ("OUT_OF_MEMORY", "used more than the 6 GB that it has"),
    ],
)
def test_a_cell_is_told_how_its_job_ended(slurm, client, state, said):
    begin(client, "import time\ntime.sleep(60)")
    slurm.end("1001", state)
    assert said in answer(client)["evalue"]


def test_a_cell_is_told_that_its_node_is_silent_and_then_that_it_failed(slurm, client, monkeypatch):
    monkeypatch.setattr(front, "_SILENT_SECONDS", 1)
    monkeypatch.setattr(link, "SILENCE_SECONDS", 2)
    begin(client, "import time\ntime.sleep(60)")
    slurm.freeze("1001")
    assert next_text(client, "node01, where this kernel runs, does not answer")
    # Silence is no proof: the job is still there.
    assert slurm.queue == ["500", "1001"]
    slurm.kill("1001")
    slurm.jobs["1001"].state = "NODE_FAIL"
    assert "The node of this kernel failed" in answer(client)["evalue"]


def test_a_node_that_answers_again_goes_on_where_it_was(slurm, client, monkeypatch):
    monkeypatch.setattr(front, "_SILENT_SECONDS", 1)
    monkeypatch.setattr(link, "SILENCE_SECONDS", 2)
    run(client, "x = 41")
    begin(client, "import time\ntime.sleep(3)\nx += 1")
    slurm.freeze("1001")
    assert next_text(client, "does not answer")
    for process in slurm.jobs["1001"].processes:
        process.resume()
    assert answer(client)["status"] == "ok"
    assert run(client, "x") == ("ok", "42")


def next_text(client, part, seconds=60):
    """Return the next text of a cell with this part. On a busy machine Slurm's answer may come after other words."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = client.get_iopub_msg(timeout=seconds)
        if message["msg_type"] == "stream" and part in message["content"]["text"]:
            return message["content"]["text"]
    raise AssertionError(f"no cell shows {part!r}")


def test_a_start_that_waits_says_why_and_runs_its_cells_in_the_end(slurm, manager):
    slurm.full = "Priority"
    manager.start_kernel()
    for client in connected(manager, seconds=0):
        # The page opens although there is no kernel yet.
        client.wait_for_ready(timeout=20)
        client.execute("20 + 22")
        assert next_text(client, "waits:") == (
            "This notebook's kernel is job 1001 of Slurm, and waits: others are before you in the queue. The cell runs "
            "when it starts. Interrupt the kernel to take the job out of the queue.\n"
        )
        slurm.run("1001")
        assert answer(client)["status"] == "ok"


def test_a_start_that_can_never_be_says_so(slurm, manager):
    slurm.full = "QOSMaxGRESPerJob"
    manager.start_kernel()
    for client in connected(manager, seconds=0):
        client.execute("1")
        said = next_text(client, "waits:")
        assert "it asks for more than your QOS may give one job: GPUs" in said
        assert "It will never start like this. Cancel it, and choose another profile." in said


def test_interrupting_a_start_that_waits_takes_the_job_out_of_the_queue(slurm, manager, wait_for):
    slurm.full = "Resources"
    manager.start_kernel()
    for client in connected(manager, seconds=0):
        client.execute("1")
        client.execute("2")
        manager.interrupt_kernel()
        first, second = answer(client), answer(client)
        assert "You interrupted the start of this kernel" in first["evalue"]
        assert second["status"] == "aborted"
        wait_for(lambda: slurm.queue == ["500"], "the queue is empty", 10)


def test_restart_of_a_start_that_waits_keeps_its_place(slurm, manager):
    slurm.full = "Resources"
    manager.start_kernel()
    manager.restart_kernel()
    time.sleep(1)
    assert slurm.queue == ["500", "1001"]


def test_shutdown_of_a_start_that_waits_empties_the_queue(slurm, manager, wait_for):
    slurm.full = "Resources"
    manager.start_kernel()
    manager.shutdown_kernel()
    wait_for(lambda: slurm.queue == ["500"], "the queue is empty", 10)


def test_silence_of_slurm_ends_nothing(slurm, manager):
    slurm.full = "Priority"
    manager.start_kernel()
    for client in connected(manager, seconds=0):
        slurm.silent = True
        client.execute("1")
        time.sleep(5)
        slurm.silent = False
        slurm.run("1001")
        assert answer(client)["status"] == "ok"


def test_a_job_that_slurm_refuses_is_told_in_its_words(slurm, manager):
    slurm.refuses = "Batch job submission failed: Invalid account or account/partition combination specified"
    with pytest.raises(JobRefused, match="Invalid account or account/partition"):
        manager.start_kernel()
    assert slurm.queue == ["500"]
    assert not list((Path.home() / ".local/share/davide-hub/kernels").iterdir())


def test_a_kernel_that_can_not_start_shows_the_end_of_its_log(slurm, manager):
    manager.kernel_spec.argv[:] = ["/bin/false"]
    manager.start_kernel()
    code = exit_code(manager)
    assert code == 1


def exit_code(manager, seconds=20):
    deadline = time.monotonic() + seconds
    while manager.is_alive():
        assert time.monotonic() < deadline, "the kernel does not end"
        time.sleep(0.1)
    return manager.provisioner._front.exit_code


@contextmanager
def client_of_idle(manager, minutes, keep_mb=None):
    """Return a client of a kernel whose job ends after so many minutes without work."""
    metadata = manager.kernel_spec.metadata["kernel_provisioner"]
    metadata["config"]["offer"] |= {"idle_minutes": minutes, "keep_mb": keep_mb}
    manager.start_kernel()
    yield from connected(manager)


# Longer at work than the limit: that ends nothing.
MADE = """
import time, numpy as np
time.sleep(15)
a, b, big = np.arange(3), {"x": 1}, bytes(2_000_000)
f = lambda: 1
"""


def test_kernel_that_nobody_uses_gives_its_gpu_back_and_its_variables_come_again(slurm, manager, wait_for):
    with client_of_idle(manager, 0.2, keep_mb=1) as client:
        job_front = manager.provisioner._front
        assert run(client, MADE)[0] == "ok"
        assert job_front.ends_idle is None
        wait_for(lambda: job_front.ends_idle is not None, "the warning", 30)
        wait_for(lambda: job_front.stage is front.Stage.ENDED, "the end", 60)
        assert "1001" not in slurm.queue
        status, said = run(client, "1 + 1")
    assert status == "error"
    assert "nothing ran in it for 0.2 minutes" in said
    assert "These of its variables are kept: a, b." in said
    [line] = [text[text.index("%run") :] for text in said.splitlines() if "%run" in text]
    manager.restart_kernel(now=True)
    with contextmanager(connected)(manager) as client:
        assert run(client, line)[0] == "ok"
        code = "print(a.sum(), b, 'big' in globals(), 'f' in globals())"
        assert run(client, code) == ("ok", "3 {'x': 1} False False\n")


def test_kernel_that_somebody_wants_is_kept(slurm, manager, wait_for):
    with client_of_idle(manager, 0.2) as client:
        job_front = manager.provisioner._front
        for _ in range(3):
            wait_for(lambda: job_front.ends_idle is not None, "the warning", 30)
            assert asyncio.run(provisioner.keep_kernel(manager.kernel_id))
            wait_for(lambda: job_front.ends_idle is None, "the warning to go", 30)
        assert run(client, "print(1)") == ("ok", "1\n")
        assert "1001" in slurm.queue
    assert not asyncio.run(provisioner.keep_kernel("another"))


LOST = """
import json, sys, time
from importlib.metadata import EntryPoint
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from traitlets.config import Config
entry = EntryPoint("davide-job", "davide_session.jobkernel.provisioner:JobProvisioner", "x")
KernelProvisionerFactory.instance().provisioners["davide-job"] = entry
specs = KernelSpecManager()
specs.kernel_dirs = [sys.argv[1]]
config = Config({"JobProvisioner": {"python": sys.executable, "lost_seconds": float(sys.argv[2])}})
manager = KernelManager(kernel_name="mine", kernel_spec_manager=specs, transport="ipc", config=config)
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("lost_seconds", "session"), [(3, "RUNNING"), (30, "COMPLETED")])
def test_job_ends_by_itself_when_its_session_is_gone(
    slurm, manager, python, tmp_path, wait_for, monkeypatch, lost_seconds, session
):
    command = [python, "-c", LOST, str(tmp_path / "kernels"), str(lost_seconds)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path / "runtime")
    try:
        assert server.stdout.readline() == b"ready\n"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert slurm.queue == ["500", "1001"]
    slurm.jobs["500"].state = session
    wait_for(lambda: "1001" not in slurm.queue, "the job notices", 25)
    assert not list((Path.home() / ".local/share/davide-hub/kernels").iterdir())
