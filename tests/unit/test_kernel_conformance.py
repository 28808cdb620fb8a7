"""The public conformance suite of kernels, against each way in which a session starts them."""

import json
import os
import shutil
import site
import sys
import tempfile
import time
import venv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from davide_session import local_kernels
from davide_session.jobkernel import provisioner
from davide_session.jobkernel.offers import Offer
from davide_session.leases import Leases
from davide_session.warm import Parents, WarmProcess
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from support.conformance import PythonKernel
from support.local_slurm import LocalSlurm
from traitlets.config import Config

TOP = Path(__file__).parents[2]
OFFER = Offer("one-gpu-1gpu-1h", "1 GPU, 1 h, own job", "p", "gpu:tesla:1", 1, 4, 6, 1)
# As ansible/roles/kernels/vars/main.yml has it.
ARGV = ["{resource_dir}/launch", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
OURS = {local_kernels.NAME: local_kernels.SessionProvisioner, "davide-job": provisioner.JobProvisioner}
NO_HISTORY_FILE = "--HistoryManager.hist_file=:memory:"


class OnThisMachine(PythonKernel):
    """A kernel that a manager without a server starts, from a kernelspec of our making."""

    metadata = {}  # noqa: RUF012 - of the kernelspec

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="davide-"))
        cls.monkeypatch = pytest.MonkeyPatch()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.addClassCleanup(cls.monkeypatch.undo)
        (cls.folder / "runtime").mkdir(mode=0o700)
        cls.monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(cls.folder / "runtime"))
        cls.prepare()
        super().setUpClass()

    @classmethod
    def prepare(cls):
        """Make what the provisioner needs."""

    @classmethod
    def begin(cls):
        kernel = cls.folder / "kernels/mine"
        kernel.mkdir(parents=True)
        spec = {"argv": [*ARGV, NO_HISTORY_FILE], "display_name": "mine", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec | {"metadata": cls.metadata}))
        (kernel / "launch").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        (kernel / "launch").chmod(0o755)
        shutil.copy(TOP / "kernels/warm.py", kernel)
        specs = KernelSpecManager()
        specs.kernel_dirs = [str(cls.folder / "kernels")]
        config = Config({"JobProvisioner": {"python": cls.python()}})
        manager = KernelManager(kernel_name="mine", kernel_spec_manager=specs, transport="ipc", config=config)
        manager.connection_file = str(cls.folder / "runtime/kernel-1.json")
        known = KernelProvisionerFactory.instance()
        for name, made_by in OURS.items():
            entry = EntryPoint(name, f"{made_by.__module__}:{made_by.__name__}", known.GROUP_NAME)
            cls.monkeypatch.setitem(known.provisioners, name, entry)
        cls.monkeypatch.setattr(known, "default_provisioner_name", local_kernels.NAME)
        cls.expect(specs.get_kernel_spec("mine"))
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        return manager, client

    @classmethod
    def python(cls):
        return sys.executable

    @classmethod
    def expect(cls, spec):
        """Get ready for the kernel."""


class TestLeased(OnThisMachine):
    """With a GPU of its own."""

    __test__ = True

    @classmethod
    def prepare(cls):
        leases = Leases(["0", "1"])
        cls.monkeypatch.setattr(local_kernels, "session_leases", lambda: leases)

    def test_it_has_a_gpu(self):
        assert self.printed_by("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])") == "0\n"


class TestWarm(TestLeased):
    """With a GPU of its own, forked from a parent that has imported what takes long."""

    metadata = {"davide": {"warm": "decimal"}}  # noqa: RUF012

    @classmethod
    def expect(cls, spec):
        parents = Parents(lambda: None)
        cls.monkeypatch.setattr(local_kernels, "session_parents", lambda: parents)
        parents.expect(spec)
        deadline = time.monotonic() + 60
        while not parents.are_ready:
            assert time.monotonic() < deadline, "there is no parent"
            time.sleep(0.02)

    def test_it_is_warm(self):
        assert isinstance(self.km.provisioner.process, WarmProcess)


class TestOwnJob(OnThisMachine):
    """As a job of its own, of a Slurm that runs it here."""

    __test__ = True
    metadata = {  # noqa: RUF012
        "kernel_provisioner": {"provisioner_name": "davide-job", "config": {"offer": OFFER.as_json()}}
    }

    @classmethod
    def prepare(cls):
        slurm = LocalSlurm(cls.folder)
        slurm.start()
        cls.addClassCleanup(slurm.stop)
        slurm.add_session("500")
        cls.slurm = slurm
        (cls.folder / "home").mkdir()
        cls.monkeypatch.setenv("HOME", str(cls.folder / "home"))
        cls.monkeypatch.setenv("PATH", f"{cls.folder}/bin:{os.environ['PATH']}")
        for name, value in {"ID": "500", "ACCOUNT": "tra26", "QOS": "normal", "RESERVATION": ""}.items():
            cls.monkeypatch.setenv(f"SLURM_JOB_{name}", value)
        cls.monkeypatch.setattr(provisioner, "_loop", None)

    @classmethod
    def python(cls):
        venv.create(cls.folder / "environment", symlinks=True, with_pip=False)
        packages = cls.folder / f"environment/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        (packages / "ours.pth").write_text("\n".join([str(TOP / "hub"), *site.getsitepackages()]))
        return str(cls.folder / "environment/bin/python")

    def test_it_runs_in_a_job(self):
        assert self.printed_by("import os; print(os.environ['SLURM_JOB_ID'])").strip() in self.slurm.queue[1:]
