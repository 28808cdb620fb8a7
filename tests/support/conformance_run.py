"""What runs in a job on the cluster: the conformance suite against the site's kernel, each way in a process of its own.

    conformance_run.py SOFTWARE WAY

It prints one line of JSON. Beside it lie conformance.py and the suite itself; all else is what a session has.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from conformance import PythonKernel  # type: ignore[import-not-found]

KERNELS = {"leased": "tf-cpu", "warm": "tf-cpu", "own job": "tf-cpu.one-gpu-1gpu-1h"}
TENSORFLOW = "import tensorflow as tf; print(float(tf.reduce_sum(tf.ones((3, 3)))))"


def begin(software: str, way: str) -> tuple[Any, Any]:
    """Return manager and client of the site's kernel, as a session starts it."""
    # Not at the top: Jupyter reads where it may write when it is imported.
    os.environ["JUPYTER_RUNTIME_DIR"] = runtime = tempfile.mkdtemp(dir="/tmp")
    from davide_session.jobkernel.specs import WithJobs
    from davide_session.local_kernels import NAME
    from davide_session.warm import session_parents
    from jupyter_client.manager import KernelManager
    from jupyter_client.provisioning import KernelProvisionerFactory

    KernelProvisionerFactory.instance().default_provisioner_name = NAME
    kernels = f"{software}/share/jupyter/kernels"
    specs = WithJobs(site_facts=f"{software}/handouts/site.json", site_kernels=kernels, ensure_native_kernel=False)
    specs.kernel_dirs = [kernels]
    if way == "warm":
        session_parents().expect(specs.get_kernel_spec(KERNELS[way]))
        while not session_parents().are_ready:
            time.sleep(0.1)
    manager = KernelManager(kernel_name=KERNELS[way], kernel_spec_manager=specs, transport="ipc")
    manager.connection_file = f"{runtime}/kernel.json"
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    return manager, client


def main() -> int:
    """Run the suite and tell what came of it."""
    software, way = sys.argv[1:]

    class Way(PythonKernel):  # type: ignore[misc]
        @classmethod
        def begin(cls) -> tuple[Any, Any]:
            return begin(software, way)

        def test_tensorflow(self) -> None:
            self.assertEqual(self.printed_by(TENSORFLOW), "9.0\n")

        def test_which(self) -> None:
            process = getattr(self.km.provisioner, "process", None)
            Way.found = f"{type(self.km.provisioner).__name__} {type(process).__name__}"

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Way)
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
    wrong = [f"{test}\n{text}" for test, text in result.failures + result.errors]
    skipped = [str(test) for test, _ in result.skipped]
    found = getattr(Way, "found", "")
    print(json.dumps({"ran": result.testsRun, "wrong": wrong, "skipped": skipped, "found": found}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
