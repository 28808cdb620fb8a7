"""Self-test of a kernel on a node: `launch selftest.py [--json]`; its status is 1 if something is wrong.

It needs nothing but what the kernel has. `davide-hub kernels test` runs it in a job, and the play after each install.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMPORTS = ("numpy", "tensorflow", "keras", "ipykernel")
WORKERS = 2
WORKERS_SECONDS = 120
WARM_SECONDS = 60
WARM = Path(__file__).with_name("warm.py")
# What a message holds, and what is behind it most often.
CAUSES = (
    ("No module named", "the environment, module or image lacks it: compare kernel.yml and the launch script"),
    ("GLIBC", "the node's system is older than these wheels: TensorFlow 2.21 needs glibc 2.27 (RHEL 8, Debian 10)"),
    ("DNN", "this cuDNN has no code for this GPU: 9.11 dropped Pascal and Volta, take tf-cuda-pascal-volta"),
    ("no kernel image", "this TensorFlow has no code for this GPU: davide-hub kernels choose names a kernel that fits"),
    ("out of memory", "somebody else computes on this GPU: nvidia-smi names the processes"),
    ("libcuda", "the node has no driver, or one that is not on the library path"),
    ("timed out", "the processes do not reach each other at 127.0.0.1, or the node is overloaded"),
    ("warmth", "what it imports is not for forks: remove warm from kernel.yml"),
    (f"status {-signal.SIGKILL}", "the job's memory was too small: ask for more"),
    (f"status {-signal.SIGILL}", "the processor lacks an instruction that TensorFlow was built with (AVX)"),
)


class Wrong(Exception):  # noqa: N818 - what was found, not a fault of this program
    """A part did not pass. The first argument is what was found, the second its likely cause, if known."""


def run_part(name: str, part: Callable[[], str]) -> dict[str, Any]:
    """Return what a part of the test came to, whatever it raises."""
    start = time.perf_counter()
    cause = ""
    try:
        found, passed = part(), True
    except Wrong as wrong:
        found, passed, cause = str(wrong.args[0]), False, "".join(wrong.args[1:])
    except Exception as error:  # noqa: BLE001 - any library may raise anything here, and the report must come
        found, passed = f"{type(error).__name__}: {error}", False
    if not passed and not cause:
        cause = next((text for sign, text in CAUSES if sign in found), "not known; run the launch script by hand")
    return {"name": name, "passed": passed, "seconds": time.perf_counter() - start, "found": found, "cause": cause}


def imports(name: str) -> str:
    """Import a package and return its version."""
    return str(importlib.import_module(name).__version__)


def gpus() -> str:
    """Compare the GPUs that TensorFlow sees with those that Slurm gave to the job."""
    import tensorflow as tf

    seen = len(tf.config.list_physical_devices("GPU"))
    if not tf.test.is_built_with_cuda():
        return "a build for processors: needs none"
    allotted = gpus_allotted(os.environ)
    if seen != allotted:
        raise Wrong(f"{seen} seen, {allotted} allotted", _why_not_seen(seen, allotted))
    return f"{seen} seen, as many as allotted"


def gpus_allotted(environ: Any) -> int:
    """Return how many GPUs Slurm gave to the step or the job; outside of Slurm, how many CUDA may use."""
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"):
        if name in environ:
            return len([one for one in environ[name].split(",") if one and one != "-1"])
    return 0


def _why_not_seen(seen: int, allotted: int) -> str:
    if seen > allotted:
        return "Slurm does not confine jobs to their GPUs: ConstrainDevices=yes in cgroup.conf"
    if not Path("/proc/driver/nvidia/version").exists():
        return "the node has no driver loaded: nvidia-smi there says more"
    return "the driver is too old for this CUDA, or a library is missing: TF_CPP_MIN_LOG_LEVEL=0 launch -c 'import ...'"


def convolution() -> str:
    """Compare TensorFlow's convolution with one written out in numpy."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    image = random.normal(size=(8, 8)).astype("float32")
    kernel = random.normal(size=(3, 3)).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    expected = np.einsum("ijkl,kl->ij", windows, kernel)
    found = tf.nn.conv2d(image[None, :, :, None], kernel[:, :, None, None], strides=1, padding="VALID")
    return _compared(found, found.numpy()[0, :, :, 0] - expected, 1e-4)


def product() -> str:
    """Compare TensorFlow's matrix product with numpy's in double precision."""
    import numpy as np
    import tensorflow as tf

    # Else an A100 multiplies with 10 bits of mantissa, and that is no mistake.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    left, right = np.random.default_rng(1).normal(size=(2, 300, 300))
    found = tf.matmul(left.astype("float32"), right.astype("float32"))
    return _compared(found, found.numpy() - left @ right, 1e-3)


def _compared(tensor: Any, difference: Any, allowed: float) -> str:
    error = float(abs(difference).max())
    where = re.sub(r".*device:", "", tensor.device)
    said = f"differs from numpy by {error:.1e} (allowed {allowed:.0e}) on {where}"
    if not error <= allowed:
        raise Wrong(said, "this build of TensorFlow does not fit this processor or GPU, or the GPU is broken")
    return said


def all_reduce() -> str:
    """Add up a vector over two processes of this node, as training on several GPUs does."""
    ports = _free_ports(WORKERS)
    started = [_start_worker(index, ports) for index in range(WORKERS)]
    try:
        said = [_result_of(one) for one in started]
    finally:
        for one in started:
            one.kill()
            one.wait()
    expected = float(sum(range(1, WORKERS + 1)))
    if said != [expected] * WORKERS:
        raise Wrong(f"the sums are {said}, not {expected}", "the processes added up something else: a broken build")
    return f"{WORKERS} processes agree"


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _start_worker(index: int, ports: list[int]) -> subprocess.Popen[str]:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    # Without GPUs: two processes on one GPU is what NCCL refuses. A proxy of the site is not for this node's own ports.
    environ = os.environ | {
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        "CUDA_VISIBLE_DEVICES": "-1",
        "no_grpc_proxy": "127.0.0.1",
    }
    command = [sys.executable, __file__, "--worker", str(index)]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _result_of(worker: subprocess.Popen[str]) -> float:
    try:
        said, complaint = worker.communicate(timeout=WORKERS_SECONDS)
    except subprocess.TimeoutExpired:
        raise Wrong(f"timed out after {WORKERS_SECONDS} s", dict(CAUSES)["timed out"]) from None
    if worker.returncode:
        last = complaint.strip().splitlines()[-1:]
        # Not Wrong: the cause is looked up by what is said.
        raise RuntimeError(f"a process ended with status {worker.returncode}: {' '.join(last)}")
    return float(said.strip().splitlines()[-1])


def work(index: int) -> None:
    """Be one process of the sum."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function
    def add_up() -> Any:
        parts = strategy.run(lambda: tf.fill([1000], float(index + 1)))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

    print(float(add_up().numpy().mean()), flush=True)


def warm_start() -> str:
    """Compute in a child of a parent with TensorFlow imported, as a session's kernels do (warm.py)."""
    begun = time.perf_counter()
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.settimeout(WARM_SECONDS)
    with control, theirs, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(WARM), str(theirs.fileno()), warm_module()]
        log = Path(folder, "log")
        with log.open("w") as stderr, subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=stderr):
            theirs.close()
            if not control.recv(16):
                raise Wrong(f"there is no parent: {log.read_text().strip()}", dict(CAUSES)["warmth"])
        ready = time.perf_counter()
        result = Path(folder, "result")
        ours, childs = socket.socketpair()
        ours.settimeout(WARM_SECONDS)
        with ours:
            with childs:
                socket.send_fds(control, [json.dumps(_order(result)).encode()], [childs.fileno()])
            while ours.recv(16):
                """It says that it runs, and then nothing until it ends."""
        if not result.exists():
            raise Wrong(f"a child ended before it had computed: {log.read_text().strip()}", dict(CAUSES)["warmth"])
        said = result.read_text()
    if said != "right":
        raise Wrong(said, dict(CAUSES)["warmth"])
    return f"a child computed in {time.perf_counter() - ready:.1f} s, its parent was ready in {ready - begun:.1f} s"


def warm_module() -> str:
    """Return what a session imports in advance for this kernel; empty for nothing."""
    spec = json.loads(WARM.with_name("kernel.json").read_text())
    module: str = spec["metadata"]["davide"].get("warm", "")
    return module


def _order(result: Path) -> dict[str, Any]:
    return {
        "name": "the test",
        "arguments": [__file__, "--warmed", str(result)],
        "variables": {},
        "folder": "/",
        "notebook": str(result),  # neither is there
        "cold": str(result),
    }


def be_warm(result: Path) -> None:
    """Be that child."""
    parts = {"convolution": convolution, "matrix product": product}
    wrong = [row for row in (run_part(name, part) for name, part in parts.items()) if not row["passed"]]
    result.write_text(" ".join(f"{row['name']}: {row['found']}" for row in wrong) or "right")


def test() -> dict[str, Any]:
    """Run all parts; the rest is not tried if an import fails."""
    rows = []
    for name in IMPORTS:
        rows.append(run_part(f"import {name}", lambda name=name: imports(name)))  # type: ignore[misc]
    if all(row["passed"] for row in rows):
        parts = {"GPUs": gpus, "convolution": convolution, "matrix product": product, "all-reduce": all_reduce}
        if warm_module():
            parts["warm start"] = warm_start
        rows += [run_part(name, part) for name, part in parts.items()]
    return {
        "node": platform.node(),
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", "any number of"),
        "passed": all(row["passed"] for row in rows),
        "rows": rows,
    }


def told(report: dict[str, Any]) -> str:
    """Return a report for people."""
    lines = [f"{report['node']}: Python {report['python']}, {report['threads']} threads"]
    for row in report["rows"]:
        lines.append(
            f"  {'ok   ' if row['passed'] else 'WRONG'} {row['name']:<18} {row['seconds']:5.1f} s  {row['found']}"
        )
        if row["cause"]:
            lines.append(f"        likely cause: {row['cause']}")
    return "\n".join(lines)


def main() -> int:
    """Run the test, or one process of its sum, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--warmed", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker)
        return 0
    if options.warmed:
        be_warm(options.warmed)
        return 0
    report = test()
    print(json.dumps(report) if options.json else told(report))
    return int(not report["passed"])


if __name__ == "__main__":
    sys.exit(main())
