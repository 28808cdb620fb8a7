"""%%davide on the cluster: jobs of a student's on two GPU nodes, sent from a kernel that runs in a job itself."""

import json
import random
import shlex
import threading
import time
from pathlib import Path

import pytest
import support
from support.hostlists import random_list

STUDENT = "student05"
FOLDER = f"/home/{STUDENT}/cell-jobs"
ENVS = "/software/davide/envs"
KERNELS = "/software/davide/share/jupyter"
# As a session is: a job on a node, with an account; it needs no GPU itself.
SESSION = "srun --quiet --account=tra26_davide --partition=dvd_usr_prod --cpus-per-task=1 --mem=1G --time=10"
DRIVER = (Path(support.__file__).parent / "cell_driver.py").read_text()

PREPARE = {"run": "%load_ext davide_course.cell\nfrom davide_course.cell import magic\nmagic.PARENT_SECONDS = 6.0"}
WHO = "import os, time\nfrom davide_course import cell\nhere = cell.here()\n"
WAITS = WHO + "open(f'pid-{here.rank}', 'w').write(str(os.getpid()))\nprint('at work', flush=True)\ntime.sleep(300)\n"
ADD_UP = (
    WHO
    + """
import json
import tensorflow as tf
from davide_course import machine
strategy = tf.distribute.MultiWorkerMirroredStrategy()

@tf.function
def add_up():
    parts = strategy.run(lambda: tf.fill([1000], float(here.rank + 1)))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

here.progress(1, 1, sum=float(add_up()[0]))
time.sleep(2)  # so that somebody can read it
print('node', os.environ['SLURMD_NODENAME'])
workers = json.loads(os.environ['TF_CONFIG'])['cluster']['worker']
yours = [name for name, state in machine.gpu_files().items() if state == 'yours']
result = {'sum': add_up().numpy(), 'nodes': [one.split(':')[0] for one in workers], 'yours': yours,
          'visible': os.environ['CUDA_VISIBLE_DEVICES'], 'secrets': [one for one in os.environ if 'TOKEN' in one]}
"""
)
RESUMES = (
    WHO
    + """
state = here.folder / 'state.txt'
first = int(state.read_text()) if state.exists() else 0
for step in range(first, 4):
    with here.replacing('state.txt') as draft:
        draft.write_text(str(step + 1))
    if first == 0 and step == 1:
        os.kill(os.getpid(), 9)
result = (first, step + 1)
"""
)


@pytest.fixture(autouse=True)
def folder(cluster):
    """Give the student an empty folder, and leave nothing of the student's in the queue."""
    cluster.output("hub01", f"rm -rf {FOLDER} && install -d -o {STUDENT} -g davide -m 0700 {FOLDER}")
    cluster.output("hub01", f"install -o {STUDENT} /dev/stdin {FOLDER}/cell_driver.py", given=DRIVER)
    yield
    cluster.output("hub01", f"scancel --user={STUDENT}; rm -rf {FOLDER}")


def notebook(cluster, *steps, timeout=240):
    """Do something in a notebook of the student's; return what came of each of its cells but the first."""
    cluster.output("hub01", f"install -o {STUDENT} /dev/stdin {FOLDER}/steps.json", given=json.dumps([PREPARE, *steps]))
    command = f"env JUPYTER_PATH={KERNELS} {ENVS}/session/bin/python -I cell_driver.py tf-cpu < steps.json"
    done = cluster.as_user(STUDENT, f"cd {FOLDER} && {SESSION} bash -c {shlex.quote(command)}", timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded, *cells = json.loads(done.stdout.splitlines()[-1])
    assert loaded["status"] == "ok", loaded
    return cells


def queue(cluster):
    """Return the student's jobs that wait or run."""
    return cluster.output("hub01", f"squeue --noheader --user={STUDENT} --format='%j %T'").splitlines()


def left(cluster, wait_for):
    """Wait until nothing of the student's is in the queue, and no process of a cell on a node."""
    wait_for(lambda: not queue(cluster), "the queue to be empty", 90)
    for node in ("gpu01", "gpu02"):
        assert cluster.run(node, f"pgrep -u {STUDENT} -f davide_course.cell").stdout == ""


def kill_a_rank(cluster, wait_for, rank, killed):
    """Kill a process of a cell from outside, on whichever node it is."""
    pid = wait_for(lambda: cluster.run("hub01", f"cat {FOLDER}/pid-{rank}").stdout, "a process to begin", 120)
    wait_for(
        lambda: "at work" in cluster.run("hub01", f"cat {FOLDER}/runs/*/.job-*/rank-{rank}.txt").stdout, "a line", 30
    )
    # Numbers of processes are a host's own: the one that is a cell's.
    for node in ("gpu01", "gpu02"):
        if "davide_course.cell.child" in cluster.run(node, f"tr '\\0' ' ' < /proc/{pid}/cmdline").stdout:
            killed.append(time.time())
            cluster.output(node, f"kill -9 {pid}")


def test_lists_of_nodes_are_those_of_scontrol(cluster):
    rng = random.Random(time.time_ns())  # noqa: S311 - lists, not secrets
    lists = [random_list(rng)[0] for _ in range(10_000)]
    # Twenty at a time: scontrol keeps order and repetitions, and starting it is what takes time.
    texts = [",zz-end,".join(lists[first : first + 20]) for first in range(0, len(lists), 20)]
    loop = 'while read -r list; do scontrol show hostnames "$list" | paste -sd " "; done'
    answered = cluster.output("hub01", loop, given="\n".join(texts) + "\n", timeout=300).splitlines()
    code = (
        "import json, sys; from davide_course.cell.hostlist import expand; "
        "print(json.dumps([' '.join(expand(line.strip())) for line in sys.stdin]))"
    )
    ours = cluster.output(
        "hub01", f'{ENVS}/kernel-tf-cpu/bin/python -c "{code}"', given="\n".join(texts) + "\n", timeout=120
    )
    assert len(answered) == len(texts)
    assert json.loads(ours) == answered


def test_two_nodes_add_up_and_the_result_comes_back(cluster, wait_for):
    (cell, shown) = notebook(
        cluster, {"run": f"%%davide --nodes 2 --gpus 2 --time 5\n{ADD_UP}"}, {"run": "import json; print(repr(result))"}
    )
    assert cell["status"] == "ok", cell
    found = shown["shown"]
    assert "'nodes': ['gpu01', 'gpu02']" in found
    assert "array([3., 3., 3." in found
    assert "'visible': '0'" in found
    assert found.count("nvidia") == 1  # its own GPU, and no neighbour's
    assert "'secrets': []" in found
    assert "[0] node gpu01" in cell["shown"]
    assert "[1] node gpu02" in cell["shown"]
    assert any("sum 3" in one for one in cell["states"])
    left(cluster, wait_for)


def test_killed_process_ends_the_cell_in_words(cluster, wait_for):
    killed = []
    thread = threading.Thread(target=kill_a_rank, args=(cluster, wait_for, 1, killed))
    thread.start()
    (cell,) = notebook(cluster, {"run": f"%%davide --nodes 2 --gpus 2 --time 5\n{WAITS}"})
    thread.join()
    assert "rank 1 on gpu02 was killed (signal 9, SIGKILL)" in cell["error"]
    assert "    at work" in cell["error"]
    assert cell["ended"] - killed[0] < 15
    left(cluster, wait_for)


def test_process_that_never_starts_is_named_before_the_others_give_up(cluster, wait_for):
    late = 'real="$1"; shift; [ "$SLURM_PROCID" = 1 ] && sleep 300; exec "$real" "$@"'
    code = f"""
import os
real = os.environ["DAVIDE_LAUNCH"]
open("late", "w").write('''#!/bin/bash\nset -- {{}} "$@"\n{late}\n'''.format(real))
os.chmod("late", 0o755)
os.environ["DAVIDE_LAUNCH"] = os.path.abspath("late")
"""
    (_, cell) = notebook(cluster, {"run": code}, {"run": f"%%davide --nodes 2 --tasks 2 --patience 20\n{WAITS}"})
    assert "rank 1 on gpu02 did not start within 20 s, so the job was ended, with those that had" in cell["error"]
    assert cell["ended"] - cell["began"] < 90  # with the time that Slurm took to start it
    left(cluster, wait_for)


def test_rerun_finds_what_the_first_saved(cluster, wait_for):
    line = f"%%davide --tasks 1 --run digits\n{RESUMES}"
    (first, second, shown) = notebook(cluster, {"run": line}, {"run": line}, {"run": "print('it is', result)"})
    assert "was killed (signal 9, SIGKILL)" in first["error"]
    assert "Run it again with --run digits" in first["error"]
    assert second["status"] == "ok", second
    assert "it is (2, 4)" in shown["shown"]
    left(cluster, wait_for)


def test_interrupt_cancels(cluster, wait_for):
    (cell,) = notebook(
        cluster,
        {"start": f"%%davide --nodes 2 --gpus 2\n{WAITS}"},
        {"until": f"{FOLDER}/pid-1"},
        {"interrupt": True},
        {"finish": True},
    )
    assert "was cancelled" in cell["error"]
    left(cluster, wait_for)


@pytest.mark.long
def test_job_of_a_killed_kernel_ends(cluster, wait_for):
    notebook(cluster, {"start": f"%%davide --nodes 2 --gpus 2\n{WAITS}"}, {"until": f"{FOLDER}/pid-1"}, {"kill": True})
    left(cluster, wait_for)


@pytest.mark.long
def test_job_that_somebody_else_cancels_says_so(cluster, wait_for):
    def cancel():
        wait_for(lambda: cluster.run("hub01", f"cat {FOLDER}/pid-0").stdout, "a process to begin", 120)
        name = next(one.split()[0] for one in queue(cluster) if one.startswith("cell-"))
        cluster.output("hub01", f"scancel --user={STUDENT} --name={name}")

    thread = threading.Thread(target=cancel)
    thread.start()
    (cell,) = notebook(cluster, {"run": f"%%davide --tasks 2\n{WAITS}"})
    thread.join()
    assert "was cancelled, by you elsewhere or by an administrator" in cell["error"]
    left(cluster, wait_for)


def test_what_slurm_refuses_and_what_the_site_has_not(cluster, wait_for):
    (refused, large) = notebook(
        cluster, {"run": "%%davide --partition nowhere\nx = 1"}, {"run": "%%davide --nodes 3\nx = 1"}
    )
    assert "Slurm refused the job" in refused["error"]
    assert "This site's partitions: dvd_usr_prod" in refused["error"]
    assert "the partition dvd_usr_prod has 2; take 1 to 2" in large["error"]
    # The allocation that the notebook ran in is listed until its node is cleaned up.
    assert not [job for job in queue(cluster) if job.startswith("cell-")]
    left(cluster, wait_for)
