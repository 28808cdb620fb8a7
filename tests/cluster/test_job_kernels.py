"""Kernels with jobs of their own on the real cluster: another node's GPU, and the ways in which such a job ends.

The session is a job without a GPU that takes all cores of gpu01, so that the kernel's job has to go to gpu02. In it
runs what a session's server has of this: its kernelspecs, Jupyter's manager of a kernel, and our provisioner.
"""

import json
from contextlib import closing

import pytest
from support.cluster import davide
from support.person import log_in
from support.session_process import run_cell
from support.web import open_websocket

USER = "student03"
KERNEL = "tf-cpu.one-gpu-1gpu-1h"
SOFTWARE = "/software/davide"
# Its first word says what happens, and each of its lines of output is JSON.
SCENE = """
import json, os, subprocess, sys, tempfile, time
from jupyter_client.manager import KernelManager
from davide_session.jobkernel.specs import WithJobs
from traitlets.config import Config

software, scene = sys.argv[1:]
runtime = os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(dir="/tmp")
kernels = software + "/share/jupyter/kernels"
specs = WithJobs(site_facts=software + "/handouts/site.json", site_kernels=kernels, ensure_native_kernel=False)
specs.kernel_dirs = [kernels]

LOOK = '''
import errno, json, os, socket
def opened(number):
    try:
        os.close(os.open(f"/dev/nvidia{number}", os.O_RDONLY))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "opened"
print(json.dumps({"node": socket.gethostname(), "job": os.environ["SLURM_JOB_ID"],
    "own": os.environ["SLURM_JOB_GPUS"], "devices": [opened(number) for number in range(4)],
    "secret": "DAVIDE_SECRET" in os.environ}))
'''

def tell(**what):
    print(json.dumps(what), flush=True)

def run(code, seconds=120):
    text = []
    hook = lambda message: text.append(message["content"].get("text") or message["content"].get("evalue") or "")
    reply = client.execute_interactive(code, output_hook=hook, timeout=seconds, allow_stdin=False)
    return "".join(text).strip()

def begin(code):
    client.execute("print('begun', flush=True); " + code)
    while "begun" not in client.get_iopub_msg(timeout=120)["content"].get("text", ""):
        pass

def answer(seconds):
    while (message := client.get_shell_msg(timeout=seconds))["msg_type"] != "execute_reply":
        pass
    content = message["content"]
    return content["ename"] + ": " + content["evalue"] if content["status"] == "error" else content["status"]

os.environ["DAVIDE_SECRET"] = "made-up-session-secret"
began = time.monotonic()
# A job that misses its session asks Slurm for it after a third of this.
config = Config({"JobProvisioner": {"lost_seconds": 30.0}})
manager = KernelManager(kernel_name="tf-cpu.one-gpu-1gpu-1h", kernel_spec_manager=specs, transport="ipc",
    connection_file=runtime + "/kernel.json", config=config)
if scene == "idle":
    offer = manager.kernel_spec.metadata["kernel_provisioner"]["config"]["offer"]
    offer |= {"idle_minutes": 0.2, "keep_mb": 1}
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=120)
look = json.loads(run(LOOK))
tell(seconds=time.monotonic() - began, kernel=manager.kernel_id, **look)
if scene == "gpu":
    run("x = 1")
    begin("import time; time.sleep(120)")
    manager.interrupt_kernel()
    tell(interrupted=answer(30))
    manager.restart_kernel()
    client.wait_for_ready(timeout=60)
    tell(restarted=run("import os; print(os.environ['SLURM_JOB_ID'], 'x' in dir())"))
elif scene == "lost":
    os._exit(0)
elif scene == "idle":
    run("a = 41")
    while subprocess.run(["squeue", "-hj", look["job"]], capture_output=True).stdout:
        time.sleep(1)
    tell(idle=(said := run("a")))
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=120)
    run(said[said.index("%run"):].splitlines()[0])
    tell(again=run("import os; print(a + 1, os.environ['SLURM_JOB_ID'])"))
else:
    begin("import time; time.sleep(600)")
    if scene == "scancel":
        subprocess.run(["scancel", look["job"]], check=True)
    tell(running=True)
    tell(ended=answer(240))
manager.shutdown_kernel()
"""


@pytest.fixture
def scene(cluster, wait_for):
    """Return a function that begins a scene in a session on gpu01, and returns how to read what it tells."""
    told = f"/home/{USER}/job-kernel-scene.log"

    def begin(name):
        cluster.output("hub01", f"install -o {USER} -g davide -m 600 /dev/stdin /home/{USER}/scene.py", given=SCENE)
        command = f'$(realpath {SOFTWARE}/envs/session)/bin/python -I "$HOME/scene.py" {SOFTWARE} {name}'
        done = cluster.as_user(
            USER,
            "sbatch --parsable -A tra26_davide --job-name=scene --nodelist=gpu01 --cpus-per-task=16 --mem=2G --time=10 "
            f"--output={told} --wrap='{command}'",
        )
        assert done.returncode == 0, done.stderr

        def line(key, seconds=180):
            """Return what the scene tells under a key."""

            def found():
                for text in cluster.run("hub01", f"cat {told}").stdout.splitlines():
                    if text.startswith("{") and key in (row := json.loads(text)):
                        return row
                return None

            return wait_for(found, f"{key}; see {told}", seconds)

        return line

    cluster.run("hub01", f"scancel --user {USER}; rm -f {told}")
    wait_for(lambda: queue(cluster) == "", "nothing of an earlier run is left", 60)
    yield begin
    cluster.run("hub01", f"scancel --user {USER}")
    wait_for(lambda: queue(cluster) == "", "the queue is empty", 90)
    kept = f"/home/{USER}/.local/share/davide-hub/kernels"
    # Of a session that was killed with its kernel's job, script and log are left to be read; nothing secret is.
    left = set(cluster.run("hub01", f"find {kept} -type f -printf '%f\\n'").stdout.split())
    assert left <= {"job.sbatch", "kernel.log"}
    cluster.run("hub01", f"rm -rf {kept}/* {told} /home/{USER}/scene.py")


def queue(cluster, name="", field="%j"):
    """Return the names of the student's jobs that begin with a word, or another field of them."""
    shown = cluster.run("ctl01", f"squeue --noheader --user {USER} --format='%j {field}'").stdout
    return "\n".join(row.split()[-1] for row in shown.splitlines() if row.startswith(name))


def test_kernel_has_a_gpu_of_another_node_and_is_refused_the_neighbours(cluster, scene, wait_for):
    line = scene("gpu")
    found = line("devices")
    assert found["node"] == "gpu02"
    # No driver here: "no such device" is what the cgroup lets through, "not permitted" what it does not.
    expected = ["EPERM"] * 4
    expected[int(found["own"])] = "ENXIO"
    assert found["devices"] == expected
    assert not found["secret"], "the session's own variables stay in the session"
    assert line("interrupted")["interrupted"].startswith("KeyboardInterrupt")
    assert line("restarted")["restarted"] == f"{found['job']} False"
    wait_for(lambda: queue(cluster) == "", "session and kernel have ended, and left nothing in the queue", 60)


def test_cell_is_told_that_its_job_was_cancelled_and_slurm_knew_no_key(cluster, scene, wait_for):
    line = scene("scancel")
    job = line("devices")["job"]
    shown = cluster.output("ctl01", f"scontrol show job {job}; scontrol write batch_script {job} -")
    assert "davide-kernel:" in shown
    assert "PRIVATE KEY" not in shown
    assert "made-up-session-secret" not in shown
    assert line("ended")["ended"].startswith("KernelJob: You cancelled the job of this kernel")
    wait_for(lambda: queue(cluster) == "", "the queue is empty", 60)


def test_job_of_a_kernel_misses_its_session_and_ends(cluster, scene, wait_for):
    line = scene("lost")
    line("devices")
    wait_for(lambda: queue(cluster, "scene") == "", "the session is gone", 60)
    wait_for(lambda: queue(cluster) == "", "the kernel's job has noticed", 120)


def test_job_of_a_kernel_that_nobody_uses_ends_and_the_next_has_its_variables(cluster, scene, wait_for):
    line = scene("idle")
    job = line("devices")["job"]
    assert "nothing ran in it for 0.2 minutes" in line("idle")["idle"]
    number, next_job = line("again")["again"].split()
    assert (number, next_job != job) == ("42", True)
    # Not killed: it has ended by itself.
    assert cluster.output("ctl01", f"sacct -XPnj {job} --format=State").strip() == "COMPLETED"
    wait_for(lambda: queue(cluster) == "", "the queue is empty", 60)


@pytest.fixture
def notebook(cluster, wait_for):
    """Start a session without a GPU, and in it a kernel with a job of its own; return whose, and how to run cells."""
    person = log_in(cluster, USER)
    person.stop(wait_for)
    person.start(wait_for)
    book = {"path": "own.ipynb", "name": "own.ipynb", "type": "notebook", "kernel": {"name": KERNEL}}
    begun = person.ask_session("POST", "/api/sessions", json=book)
    assert begun.status_code == 201, begun.text
    address = f"{cluster.user_url(USER)}/api/kernels/{begun.json()['kernel']['id']}/channels"

    def run(code):
        """Run a cell over a connection of its own, as a laptop that was just opened, and return what it printed."""
        with closing(open_websocket(address, timeout=90, header=[f"Authorization: token {person.token}"])) as channel:
            return run_cell(channel, code).strip()

    yield person, run
    person.stop(wait_for)


def test_kernel_outlives_the_hub_and_a_closed_laptop_but_not_its_session(cluster, notebook, wait_for):
    person, run = notebook
    assert run("import os; x = 42; print(os.environ['SLURM_JOB_ID'])") == queue(cluster, "jupyter-kernel-", "%i")
    # The laptop is closed while a cell runs.
    assert run("import time; print('begun', flush=True); time.sleep(3); x += 1") == "begun"
    cluster.output("hub01", "systemctl restart jupyterhub")
    wait_for(lambda: person.ask("GET", f"/hub/api/users/{USER}").status_code == 200, "the hub to be back", 60)
    assert run("print(x)") == "43"
    person.stop(wait_for)
    wait_for(lambda: queue(cluster) == "", "the kernel's job ends with its session", 60)


@pytest.mark.long
def test_cell_is_told_that_its_node_lost_power(cluster, scene, wait_for):
    line = scene("power")
    assert line("devices")["node"] == "gpu02"
    line("running")
    assert davide("host", "crash", "gpu02").returncode == 0
    try:
        assert "The node of this kernel failed" in line("ended", 240)["ended"]
        wait_for(lambda: queue(cluster) == "", "the queue is empty", 60)
    finally:
        assert davide("host", "boot", "gpu02").returncode == 0
        wait_for(lambda: cluster.run("hub01", "sinfo -hn gpu02 -o %t").stdout.strip() == "idle", "gpu02 is back", 90)
