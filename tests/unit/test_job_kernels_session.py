"""Kernels with jobs of their own in a real session, over its REST API and websockets, as JupyterLab uses them."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
import requests
import websocket
from davide_hub.facts import load_site
from fake_hub import TOKEN, USER, FakeHub
from support.local_slurm import LocalSlurm
from support.real_session import make_software

LOCAL = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
HEADERS = {"Authorization": f"token {TOKEN}"}
KERNEL = "tf-cpu.one-gpu-1gpu-1h"


class Session:
    """A session whose job is number 500."""

    def __init__(self, slurm, process, port):
        self.slurm, self.process = slurm, process
        self.url = f"http://127.0.0.1:{port}/user/{USER}"

    def ask(self, method, where, **body):
        return requests.request(method, self.url + where, json=body or None, headers=HEADERS, timeout=60)

    def start(self, path="one.ipynb"):
        """Open a notebook, and return its kernel's id."""
        answer = self.ask("POST", "/api/sessions", path=path, name=path, type="notebook", kernel={"name": KERNEL})
        assert answer.status_code == 201, answer.text
        return answer.json()["kernel"]["id"]

    def channel(self, kernel, seconds=60):
        url = f"{self.url.replace('http:', 'ws:')}/api/kernels/{kernel}/channels?session_id=page"
        return websocket.create_connection(url, timeout=seconds, header=[f"Authorization: token {TOKEN}"])


@pytest.fixture(scope="module")
def software(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    made = make_software(folder)
    site = load_site(LOCAL).model_dump(mode="json")
    facts = {"partitions": site["slurm"]["partitions"], "profiles": site["profiles"]}
    (made / "handouts").mkdir()
    (made / "handouts/site.json").write_text(json.dumps(facts | {"kernel_jobs": site["kernel_jobs"]}))
    return made


@pytest.fixture
def session(software, tmp_path):
    slurm = LocalSlurm(tmp_path)
    slurm.start()
    slurm.add_session("500")
    home = tmp_path / "home"
    home.mkdir()
    with FakeHub() as hub:
        secrets = home / "environment.json"
        secrets.write_text(json.dumps(hub.environment()))
        secrets.chmod(0o600)
        command = [software / "envs/session/bin/python", "-I", "-m", "davide_session", "--environment", secrets]
        command += ["--software", software, "--kernel", "tf-cpu", "--course", "davide-course"]
        environment = {"HOME": str(home), "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "TMPDIR": "/tmp"}
        environment |= {"SLURM_JOB_ID": "500", "SLURM_JOB_ACCOUNT": "tra26"}
        with (tmp_path / "session.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
        try:
            assert hub.heard.wait(60), (tmp_path / "session.log").read_text()
            yield Session(slurm, process, hub.calls[0]["port"])
        finally:
            process.kill()
            process.wait()
            slurm.stop()


def send(channel, code):
    header = {"msg_id": "1", "session": "page", "username": "", "msg_type": "execute_request", "version": "5.4"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channel.send(json.dumps(message))


def told(channel, part=""):
    """Return the next text or error with this part that a cell shows."""
    while True:
        message = json.loads(channel.recv())
        if message["parent_header"].get("msg_id") == "1" and message["msg_type"] in ("stream", "error"):
            said = message["content"].get("text") or message["content"]["evalue"]
            if part in said:
                return said


def run(session, kernel, code):
    channel = session.channel(kernel)
    try:
        send(channel, code)
        return told(channel)
    finally:
        channel.close()


def test_launcher_offers_each_kernel_of_the_site_with_jobs_of_its_own(session):
    answer = session.ask("GET", "/api/kernelspecs").json()
    shown = {name: one["spec"]["display_name"] for name, one in answer["kernelspecs"].items()}
    assert answer["default"] == "tf-cpu"
    assert shown == {
        "tf-cpu": "Python",
        KERNEL: "Python · 1 GPU, 1 h, own job",
        "tf-cpu.one-gpu-2gpu-2h": "Python · 2 GPUs, 2 h, own job",
    }


def test_notebook_runs_in_its_job_and_a_page_that_is_loaded_again_finds_it(session, wait_for):
    kernel = session.start()
    assert run(session, kernel, "import os; x = 7; print(os.environ['SLURM_JOB_ID'])") == "1001\n"
    asked = session.slurm.newest.asked
    assert (asked["partition"], asked["gres"], asked["time"]) == ("dvd_usr_prod", "gpu:tesla:1", "1:00:00")
    assert run(session, kernel, "print(x)") == "7\n"
    assert session.ask("DELETE", f"/api/kernels/{kernel}").status_code == 204
    wait_for(lambda: session.slurm.queue == ["500"], "the job ends", 10)


def test_kernel_that_is_killed_is_started_again_in_its_job(session, wait_for):
    kernel = session.start()
    channel = session.channel(kernel)
    send(channel, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    while json.loads(channel.recv())["content"].get("execution_state") != "restarting":
        pass
    channel.close()

    def answers():
        try:
            return run(session, kernel, "print(6 * 7)") == "42\n"
        except websocket.WebSocketException:
            return False

    wait_for(answers, "the kernel is back", 60)
    assert session.slurm.queue == ["500", "1001"]


def test_cell_is_told_that_its_job_was_cancelled_and_a_restart_brings_another(session):
    kernel = session.start()
    channel = session.channel(kernel)
    send(channel, "print('begun', flush=True); import time; time.sleep(60)")
    assert told(channel) == "begun\n"
    subprocess.run([session.slurm.folder / "bin/scancel", "--", "1001"], check=True)
    assert told(channel).startswith("You cancelled the job of this kernel")
    channel.close()
    assert session.slurm.queue == ["500"]
    assert session.ask("POST", f"/api/kernels/{kernel}/restart").status_code == 200
    assert run(session, kernel, "print(6 * 7)") == "42\n"
    assert session.slurm.queue == ["500", "1002"]


def test_start_that_waits_opens_its_page_and_says_why(session):
    session.slurm.full = "Resources"
    kernel = session.start()
    channel = session.channel(kernel)
    send(channel, "print(6 * 7)")
    assert told(channel, "waits: all fitting GPUs or cores are in use; yours is next")
    session.slurm.run("1001")
    assert told(channel, "42") == "42\n"
    channel.close()


def test_interrupt_of_a_start_that_waits_empties_the_queue(session, wait_for):
    session.slurm.full = "Resources"
    kernel = session.start()
    channel = session.channel(kernel)
    send(channel, "print(6 * 7)")
    assert told(channel, "waits")
    assert session.ask("POST", f"/api/kernels/{kernel}/interrupt").status_code == 204
    assert told(channel, "You interrupted").startswith("You interrupted the start of this kernel")
    wait_for(lambda: session.slurm.queue == ["500"], "the queue is empty", 10)
    channel.close()


def test_job_that_slurm_refuses_is_told_to_the_page(session):
    session.slurm.refuses = "Batch job submission failed: Invalid qos specification"
    answer = session.ask("POST", "/api/sessions", path="a", name="a", type="notebook", kernel={"name": KERNEL})
    assert answer.status_code == 500
    assert "Slurm refused the kernel's job: Batch job submission failed: Invalid qos" in answer.json()["message"]
    # Jupyter keeps a start that failed among those on the way, and would wait for it for ever.
    session.process.send_signal(signal.SIGTERM)
    session.process.wait(90)


@pytest.mark.parametrize("waits", [False, True])
def test_session_that_ends_takes_its_jobs_along(session, wait_for, waits):
    session.slurm.full = "Resources" if waits else ""
    session.start()
    session.process.send_signal(signal.SIGTERM)
    session.process.wait(90)
    wait_for(lambda: session.slurm.queue == ["500"], "the queue is empty", 10)


def test_session_that_is_lost_is_missed_by_its_job(session, wait_for):
    kernel = session.start()
    assert run(session, kernel, "print(1)") == "1\n"
    session.process.kill()
    session.process.wait()
    session.slurm.jobs["500"].state = "NODE_FAIL"
    wait_for(lambda: session.slurm.queue == [], "the job ends", 90)
