"""In a session's job: starts kernels with jobs of their own, and lets srun say a node's name, in turns."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from davide_session.jobkernel.offers import read_offers
from davide_session.jobkernel.specs import WithJobs
from jupyter_client.manager import KernelManager

software, kernel, account, rounds = sys.argv[1:]
runtime = os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(dir="/tmp")
kernels, facts = f"{software}/share/jupyter/kernels", f"{software}/handouts/site.json"
specs = WithJobs(site_facts=facts, site_kernels=kernels, ensure_native_kernel=False)
specs.kernel_dirs = [kernels]
offer = read_offers(Path(facts))[0]
# As from a shell: the variables of this job would make it a step of this job.
shell = {name: os.environ[name] for name in ("HOME", "PATH", "USER") if name in os.environ}


def srun() -> float:
    """Return how long srun takes for a job of the same size to say its node's name."""
    size = [f"--gres={offer.gres}", f"--cpus-per-task={offer.cores}", f"--mem={offer.memory_gb}G", "--time=5"]
    begun = time.perf_counter()
    command = ["srun", "-Q", "-A", account, "-p", offer.partition, "-n1", *size, "hostname"]
    subprocess.run(command, env=shell, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def first_cell(number: int) -> float:
    """Return how long a notebook waits from the order of its kernel to the answer of its first cell."""
    begun = time.perf_counter()
    manager = KernelManager(
        kernel_name=f"{kernel}.{offer.name}",
        kernel_spec_manager=specs,
        transport="ipc",
        connection_file=f"{runtime}/kernel-{number}.json",
    )
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    reply = client.execute_interactive("found = 1 + 1", timeout=60, allow_stdin=False)
    took = time.perf_counter() - begun
    assert reply["content"]["status"] == "ok", reply["content"]
    client.stop_channels()
    manager.shutdown_kernel()
    return took


def settle() -> None:
    """Wait until nothing but this job is in the queue: a job that is completing still holds its place."""
    asked = ["squeue", "--noheader", "--me", "--format=%i"]
    own = [os.environ["SLURM_JOB_ID"]]
    while subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split() != own:
        time.sleep(0.2)


for number in range(int(rounds)):
    print(json.dumps({"what": "srun", "seconds": srun()}), flush=True)
    settle()
    print(json.dumps({"what": "kernel", "seconds": first_cell(number)}), flush=True)
    settle()
print(json.dumps({"what": "over"}), flush=True)
