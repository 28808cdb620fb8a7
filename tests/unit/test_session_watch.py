"""What a session knows of itself: its end, its use, its work; and whom it tells."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_session.activity import Activity
from davide_session.cgroup import JobCgroup, JobUse
from davide_session.gpus import Gpu, GpuNews, Gpus
from davide_session.leases import Leases
from davide_session.notice import tell
from davide_session.walltime import EndUnknown, Term, Warnings, ask_slurm, parse, told_by_slurm
from davide_session.watch import Rules, Sample, Watch

USUAL = Warnings((900, 300), 120)


async def no_kernels():
    """Return what is known of kernels with jobs of their own where there are none."""
    return []


# -- when it ends


def test_a_session_of_hours_is_warned_at_15_and_5_minutes():
    assert USUAL.within(2 * 3600) == USUAL


def test_a_session_of_three_minutes_is_warned_at_half_of_it_and_saved_before_its_end():
    short = USUAL.within(180)
    assert short == Warnings((90, 30), 30)


def test_slurm_says_when_the_job_ends():
    assert told_by_slurm({"SLURM_JOB_START_TIME": "100", "SLURM_JOB_END_TIME": "280"}) == Term(100, 280)
    assert told_by_slurm({}) is None  # before 23.02


def test_squeue_says_it_where_the_job_does_not_know():
    assert parse("1795982400 1795989600\n") == Term(1795982400, 1795989600)


@pytest.mark.parametrize("answer", ["", "N/A N/A\n", "1795982400 Unknown\n"])
def test_an_answer_without_an_end_is_none(answer):
    with pytest.raises(EndUnknown):
        parse(answer)


def test_squeue_is_asked_for_seconds(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\n[ "$SLURM_TIME_FORMAT" = %s ] && [ "$2" = --jobs=42 ] && echo 100 280\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert asyncio.run(ask_slurm("42")) == Term(100, 280)


def test_a_node_without_squeue_is_no_reason_to_fail(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EndUnknown, match="can't be run"):
        asyncio.run(ask_slurm("42"))


# -- memory and processor


def host(top: Path, membership: str, mounts: str, files: dict[str, str]) -> Path:
    """Write what /proc and the mounted hierarchies show; return /proc."""
    (top / "proc/self").mkdir(parents=True)
    (top / "proc/self/cgroup").write_text(membership)
    (top / "proc/self/mountinfo").write_text(mounts.replace("TOP", str(top)))
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top / "proc"


V1 = """\
30 25 0:26 / TOP/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 25 0:27 / TOP/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / TOP/freezer rw,relatime - cgroup cgroup rw,freezer
"""


def test_version_1_tells_of_the_job_and_not_of_its_step(tmp_path):
    step = "/slurm/uid_3001/job_42/step_batch/task_0"
    proc = host(
        tmp_path,
        f"9:memory:{step}\n8:cpu,cpuacct:{step}\n1:name=systemd:/init.scope\n",
        V1,
        {
            "memory/slurm/uid_3001/job_42/memory.usage_in_bytes": "5000000\n",
            "memory/slurm/uid_3001/job_42/memory.limit_in_bytes": "6442450944\n",
            "memory/slurm/uid_3001/job_42/memory.stat": "cache 9\ntotal_inactive_file 1000000\n",
            "cpu/slurm/uid_3001/job_42/cpuacct.usage": "2500000000\n",
        },
    )
    assert JobCgroup("42", proc, {}).use() == JobUse(4000000, 6442450944, 2.5)


def test_version_2_tells_the_same(tmp_path):
    proc = host(
        tmp_path,
        "0::/system.slice/slurmstepd.scope/job_42/step_batch/user/task_0\n",
        "30 25 0:26 / TOP/cg rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        {
            "cg/system.slice/slurmstepd.scope/job_42/memory.current": "5000000\n",
            "cg/system.slice/slurmstepd.scope/job_42/memory.max": "max\n",
            "cg/system.slice/slurmstepd.scope/job_42/memory.stat": "anon 1\ninactive_file 1000000\n",
            "cg/system.slice/slurmstepd.scope/job_42/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        },
    )
    assert JobCgroup("42", proc, {"SLURM_MEM_PER_NODE": "6144"}).use() == JobUse(4000000, 6 * 2**30, 2.5)


def test_where_only_devices_are_bounded_the_jobs_processes_tell(tmp_path):
    proc = host(
        tmp_path,
        "4:freezer:/slurm/uid_3001/job_42/step_batch/task_0\n",
        V1,
        {
            "freezer/slurm/uid_3001/job_42/cgroup.procs": "",
            "freezer/slurm/uid_3001/job_42/step_batch/task_0/cgroup.procs": "7\n8\n9\n",
            "proc/7/statm": "1000 300 100 1 0 200 0\n",
            "proc/8/statm": "1000 50 20 1 0 20 0\n",
            "proc/7/stat": "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 100 50 25 25 20 0\n",
        },
    )
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    assert JobCgroup("42", proc, {}).use() == JobUse(230 * page, None, 200 / tick)


def test_a_mount_that_shows_a_part_is_read_from_there(tmp_path):
    """A container sees its own part of a hierarchy as the top."""
    proc = host(
        tmp_path,
        "0::/host.slice/job_42/step_batch\n",
        "30 25 0:26 /host.slice TOP/cg rw - cgroup2 cgroup2 rw\n",
        {"cg/job_42/cpu.stat": "usage_usec 1000000\n"},
    )
    assert JobCgroup("42", proc, {}).use().cpu_seconds == 1.0


def test_outside_a_job_the_machines_own_use_is_not_shown(tmp_path):
    proc = host(
        tmp_path, "0::/user.slice\n", "30 25 0:26 / TOP/cg rw - cgroup2 cgroup2 rw\n", {"cg/memory.current": "9"}
    )
    assert JobCgroup("42", proc, {}).use() == JobUse(None, None, None)
    assert JobCgroup("4", proc, {}).use() == JobUse(None, None, None)


def test_the_job_42_is_not_the_job_4(tmp_path):
    files = {"cg/job_42/memory.current": "9", "cg/job_4/memory.current": "9"}
    proc = host(tmp_path, "0::/job_42/step_batch\n", "30 25 0:26 / TOP/cg rw - cgroup2 c rw\n", files)
    assert JobCgroup("42", proc, {}).use().memory_bytes == 9
    assert JobCgroup("4", proc, {}).use().memory_bytes is None


# -- GPUs


class Nvml:
    """The library's functions as `gpus.py` uses them; the real one is run on a machine with a GPU."""

    class NVMLError_NotSupported(Exception):  # noqa: N801, N818 - its name there
        pass

    def __init__(self, use: int | None = 37) -> None:
        self.use, self.begun = use, 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.begun += 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"GPU {index}"

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        return name

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return f"Tesla {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=16, used=4)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:  # noqa: N802
        if self.use is None:
            raise self.NVMLError_NotSupported
        return SimpleNamespace(gpu=self.use)


@pytest.fixture
def driver(tmp_path):
    file = tmp_path / "version"
    file.write_text("NVRM version\n")
    return file


def test_only_the_sessions_own_gpus_are_read(monkeypatch, driver):
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    gpus = Gpus({"CUDA_VISIBLE_DEVICES": "1,MIG-7"}, driver)
    assert [gpu.name for gpu in gpus.read().gpus] == ["Tesla GPU 1", "Tesla MIG-7"]
    assert gpus.read().at_work
    assert nvml.begun == 1


def test_a_part_of_a_gpu_has_no_use_that_anybody_knows(monkeypatch, driver):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(use=None))
    news = Gpus({"CUDA_VISIBLE_DEVICES": "MIG-7"}, driver).read()
    assert news.gpus == (Gpu("Tesla MIG-7", None, 16, 4),)
    assert not news.at_work


@pytest.mark.parametrize("visible", [{}, {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}])
def test_a_session_without_a_gpu_says_so(visible, driver):
    assert Gpus(visible, driver).read() == GpuNews("none")


def test_without_a_driver_nothing_is_pretended(tmp_path):
    assert Gpus({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path / "none").read() == GpuNews("no-driver")


def test_a_driver_that_fails_is_asked_again(monkeypatch, driver):
    gpus = Gpus({"CUDA_VISIBLE_DEVICES": "0"}, driver)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus.read() == GpuNews("silent")
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert gpus.read().state == "read"


# -- whether it is at work

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Hours:
    """A clock, kernels and terminals that tests set."""

    def __init__(self) -> None:
        self.now = NOON
        self.state = "idle"
        self.times = [NOON - timedelta(hours=1)]
        self.activity = Activity(lambda: [{"execution_state": self.state}], lambda: self.times, lambda: self.now)

    def later(self, minutes: int) -> None:
        self.now = NOON + timedelta(minutes=minutes)


def test_a_session_that_does_nothing_is_idle_since_its_start():
    hours = Hours()
    hours.later(30)
    assert hours.activity.look(cores=0.01, gpu_at_work=False) == []
    assert hours.activity.last() == NOON


@pytest.mark.parametrize(("cores", "gpu"), [(0.9, False), (0.0, True), (None, True)])
def test_a_program_that_computes_is_work(cores, gpu):
    hours = Hours()
    hours.later(30)
    assert hours.activity.look(cores=cores, gpu_at_work=gpu)
    assert hours.activity.last() == hours.now


def test_a_busy_kernel_is_work_however_silent():
    hours = Hours()
    hours.state = "busy"
    hours.later(30)
    assert hours.activity.look(cores=0.0, gpu_at_work=False) == ["kernel"]
    assert hours.activity.last() == hours.now


def test_a_terminals_output_and_i_am_here_count():
    hours = Hours()
    hours.times.append(NOON + timedelta(minutes=5))
    assert hours.activity.last() == NOON + timedelta(minutes=5)
    hours.later(20)
    hours.activity.here()
    assert hours.activity.last() == hours.now


# -- who is told


LISTENER = """
import os, signal, sys, time
# Not print: the signal may come while it still prints the line below.
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"told\\n"))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def program():
    started = []

    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_program_that_asked_is_told(tmp_path, program):
    process = program(LISTENER)
    (tmp_path / str(process.pid)).touch()
    assert tell(tmp_path) == [process.pid]
    assert process.stdout.readline() == "told\n"


def test_a_program_that_did_not_ask_or_does_not_listen_is_left_alone(tmp_path, program):
    listens = program(LISTENER)
    deaf = program("import time; print('ready', flush=True); time.sleep(60)")
    (tmp_path / str(deaf.pid)).touch()
    (tmp_path / "4194305").touch()  # larger than any number that Linux gives
    (tmp_path / "notes.txt").touch()
    assert tell(tmp_path) == []
    assert listens.poll() is deaf.poll() is None
    deaf.send_signal(signal.SIGUSR1)  # the twin: it would have been its end
    assert deaf.wait(10) == -signal.SIGUSR1


# -- all of it together


class World:
    """A watch over a session whose news are counted."""

    def __init__(self, asked: Path, left: float, idle_minutes: int | None = None) -> None:
        self.announced = 0
        self.hours = Hours()
        now = time.time()
        self.watch = Watch(
            Rules(USUAL, idle_minutes),
            job="42",
            term=Term(now - 1000, now + left),
            cgroup=JobCgroup(""),
            gpus=Gpus({}),
            activity=Activity(lambda: [], lambda: [datetime.now(UTC) - timedelta(minutes=25)]),
            leases=Leases([]),
            job_kernels=no_kernels,
            asked=asked,
            announce=self._count,
            log=logging.getLogger("test"),
        )

    def _count(self) -> None:
        self.announced += 1


def test_pages_are_told_to_save_before_the_end_even_without_slurms_signal(tmp_path):
    world = World(tmp_path, left=60)
    asyncio.run(asyncio.wait_for(world.watch.keep_term(), 10))
    assert world.announced == 1
    assert asyncio.run(world.watch.facts())["walltime"]["saving"]


def test_slurms_signal_twice_is_told_once(tmp_path):
    world = World(tmp_path, left=600)
    assert not asyncio.run(world.watch.facts())["walltime"]["saving"]
    world.watch.save_now()
    world.watch.save_now()
    assert world.announced == 1


def test_the_facts_count_from_now(tmp_path):
    facts = asyncio.run(World(tmp_path, left=600, idle_minutes=30).watch.facts())
    assert facts["walltime"]["left_seconds"] in (599, 600)
    assert facts["gpus"] == {"state": "none", "gpus": ()}
    # The watch began just now, which counts as activity.
    assert facts["idle"] == {"idle_seconds": 0, "limit_seconds": 1800, "left_seconds": 1800, "warn_seconds": 300}


def test_cores_are_those_between_two_looks():
    before = Sample(100.0, JobUse(0, 0, 50.0), GpuNews("none"), 10.0)
    after = Sample(110.0, JobUse(0, 0, 65.0), GpuNews("none"), 15.0)
    assert after.cores_since(before) == 1.5
    assert after.cores_of_work_since(before) == 1.0
    assert after.cores_since(None) is None
