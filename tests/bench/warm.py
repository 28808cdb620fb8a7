"""How long a new notebook waits for TensorFlow: our warm kernel beside a plain ipykernel of the same environment."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest.mock import patch

from davide_hub.facts import load_site
from davide_hub.review import kernel
from davide_lab.place import inventory
from davide_lab.say import Problem
from davide_session.warm import session_parents
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

ROUNDS = 7
OURS = EntryPoint(
    "davide-local", "davide_session.local_kernels:SessionProvisioner", KernelProvisionerFactory.GROUP_NAME
)
CODE = "import tensorflow"
READY_SECONDS = 120


def measure(root: Path, environment: Path, folder: Path) -> dict[str, Any]:
    """Start kernels of both kinds in turns.

    Parameters
    ----------
    root
        The checkout, whose kernel is measured as the local cluster gets it.
    environment
        An environment with TensorFlow.
    folder
        An empty folder.

    Returns
    -------
    dict
        The seconds from the order to the answer of `import tensorflow`, of each start and their medians; and how much
        memory of its own a warm kernel has then.
    """
    specs = KernelSpecManager()
    specs.kernel_dirs = [str(folder / "kernels")]
    _write_ours(root, environment, folder)
    argv = [str(environment / "bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    _write(folder / "kernels/plain", {"argv": argv, "display_name": "plain", "language": "python"})
    (folder / "runtime").mkdir(mode=0o700)
    with _places(folder):
        return asyncio.run(_rounds(specs))


def _write_ours(root: Path, environment: Path, folder: Path) -> None:
    site = load_site(inventory(root) / "group_vars/all/site.yml")
    name = site.session.default_kernel
    files = kernel(site, root, name)
    software = folder / "software"
    (software / "envs").mkdir(parents=True)
    (software / f"envs/kernel-{name}").symlink_to(environment)
    spec = json.loads(files["kernel.json"])
    spec["metadata"]["kernel_provisioner"] = {"provisioner_name": OURS.name}
    _write(folder / "kernels/ours", spec)
    launch = folder / "kernels/ours/launch"
    launch.write_text(files["launch"].replace(str(site.paths.software), str(software)))
    launch.chmod(0o755)
    shutil.copy(root / "kernels/warm.py", launch.parent)


def _write(kernel_folder: Path, spec: dict[str, Any]) -> None:
    kernel_folder.mkdir(parents=True)
    (kernel_folder / "kernel.json").write_text(json.dumps(spec))


@contextmanager
def _places(folder: Path) -> Iterator[None]:
    variables = {"JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "TMPDIR": str(folder), "PYTHONNOUSERSITE": "1"}
    known = KernelProvisionerFactory.instance().provisioners
    with patch.dict(os.environ, variables), patch.dict(known, {OURS.name: OURS}):
        # Whose modules this process imports is no matter of a plain kernel.
        os.environ.pop("PYTHONPATH", None)
        yield


async def _rounds(specs: KernelSpecManager) -> dict[str, Any]:
    parents = session_parents()
    parents.expect(specs.get_kernel_spec("ours"))
    deadline = time.monotonic() + READY_SECONDS
    while not parents.are_ready:
        if time.monotonic() > deadline:
            raise Problem("the parent of warm kernels did not get ready; what it says stands above")
        await asyncio.sleep(0.1)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    private: list[float] = []
    for _ in range(ROUNDS):
        for name, measured in seconds.items():
            took, megabytes = await _start(specs, name)
            measured.append(took)
            if name == "ours":
                private.append(megabytes)
    return {
        "what": f"kernel ready and {CODE} done",
        "plain": {"seconds": statistics.median(seconds["plain"]), "all": seconds["plain"]},
        "warm": {"seconds": statistics.median(seconds["ours"]), "all": seconds["ours"], "private_mb": max(private)},
    }


async def _start(specs: KernelSpecManager, name: str) -> tuple[float, float]:
    manager = AsyncKernelManager(kernel_name=name, kernel_spec_manager=specs, transport="ipc")
    begun = time.perf_counter()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=READY_SECONDS)
        reply = await client.execute_interactive(CODE, timeout=READY_SECONDS)
        took = time.perf_counter() - begun
        if reply["content"]["status"] != "ok":
            raise Problem(f"{CODE} failed in the kernel {name}: {reply['content'].get('evalue')}")
        return took, _private_megabytes(manager.provisioner.pid)
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


def _private_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def table(measured: dict[str, Any]) -> str:
    """Return the lines for a terminal."""
    plain, warm = measured["plain"]["seconds"], measured["warm"]["seconds"]
    return (
        f"{measured['what']}, median of {len(measured['plain']['all'])}: plain {plain:.2f} s, warm {warm:.2f} s"
        f" ({plain / warm:.1f} times as fast); a warm kernel has {measured['warm']['private_mb']:.0f} MB of its own"
    )
