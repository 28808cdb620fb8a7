"""Kernels with jobs of their own, against a Slurm of our making that really runs what is submitted."""

import json
import os
import signal
import site
import sys
import time
import venv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from davide_session.jobkernel import provisioner
from davide_session.jobkernel.offers import Offer
from davide_session.jobkernel.slurm_job import Charge, JobRefused, batch_script
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


def run(client, code, seconds=20):
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


def test_kernel_runs_in_a_job_of_its_own(slurm, client):
    assert run(client, "import os; print(os.environ['SLURM_JOB_ID'], os.environ['FROM_SPEC'])") == ("ok", "1001 yes\n")
    assert slurm.queue == ["500", "1001"]
