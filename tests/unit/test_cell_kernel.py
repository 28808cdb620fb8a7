"""%%davide in a real kernel: an error is one sentence, the interrupt button cancels, a killed kernel leaves no job."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import davide_course
import pytest
from fake_jobs import FakeJobs
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

PREPARE = "%load_ext davide_course.cell\nfrom davide_course.cell import magic\nmagic.PARENT_SECONDS = 6.0"
WAITS = """%%davide --tasks 2
import os, time
open('pid-' + os.environ['DAVIDE_RANK'], 'w').write(str(os.getpid()))
time.sleep(100)
"""


class Kernel:
    """A kernel with the magic, beside a pretended Slurm."""

    def __init__(self, folder: Path) -> None:
        self.slurm, self.folder = FakeJobs(folder), folder
        self.manager = KernelManager(transport="ipc", ip=str(folder / "ipc"))
        self.manager._kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DAVIDE_"))}
        environ["PATH"] = f"{self.slurm.bin}:{environ['PATH']}"
        environ["PYTHONPATH"] = str(Path(davide_course.__file__).parent.parent)
        environ |= {"IPYTHONDIR": str(folder / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        self.manager.start_kernel(env=environ, cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.said: list[dict[str, Any]] = []

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell and return the kernel's reply; what it showed is in `said`."""
        reply: dict[str, Any] = self.client.execute_interactive(code, timeout=60, output_hook=self.said.append)[
            "content"
        ]
        return reply

    def shown(self) -> str:
        """Return all text that cells have printed or shown."""
        parts = [one["content"] for one in self.said]
        return "".join(one.get("text", "") or one.get("data", {}).get("text/plain", "") + "\n" for one in parts)

    def pids(self, count: int) -> list[int]:
        """Return the numbers of a job's processes, once they run."""
        paths = [self.folder / f"pid-{rank}" for rank in range(count)]
        soon(lambda: all(path.exists() and path.read_text() for path in paths))
        return [int(path.read_text()) for path in paths]


def soon(what: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    one = Kernel(tmp_path_factory.mktemp("kernel"))
    yield one
    one.client.stop_channels()
    one.manager.shutdown_kernel(now=True)


def test_cell_shows_its_job_and_sets_the_result(kernel: Kernel) -> None:
    assert kernel.run(PREPARE)["status"] == "ok"
    assert kernel.run("%%davide --tasks 2\nprint('hello')\nresult = [1, 2]")["status"] == "ok"
    kernel.run("print('it is', result)")
    assert "it is [1, 2]" in kernel.shown()
    assert "is done in 0:0" in kernel.shown()
    states = [one for one in kernel.said if one["msg_type"] in ("display_data", "update_display_data")]
    assert [one["msg_type"] for one in states].count("display_data") == 1  # all others change it in place
    assert "<progress" in states[0]["content"]["data"]["text/html"]


def test_error_is_the_sentence_alone(kernel: Kernel) -> None:
    reply = kernel.run("%%davide --gpu 1\nx = 1")
    assert reply["status"] == "error"
    assert reply["traceback"] == [reply["evalue"]]
    assert "did you mean --gpus?" in reply["evalue"]


def test_interrupt_button_cancels(kernel: Kernel) -> None:
    message = kernel.client.execute(WAITS)
    pids = kernel.pids(2)
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    while (reply := kernel.client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != message:
        pass
    assert time.monotonic() - began < 15
    assert reply["content"]["status"] == "error"
    assert "was cancelled" in reply["content"]["evalue"]
    assert kernel.slurm.states()[-1] == "CANCELLED"
    soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert kernel.run("1 + 1")["status"] == "ok"


def test_job_of_a_killed_kernel_ends(kernel: Kernel) -> None:
    for path in kernel.folder.glob("pid-*"):
        path.unlink()
    kernel.client.execute(WAITS)
    pids = kernel.pids(2)
    assert kernel.slurm.states()[-1] == "RUNNING"
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert soon(lambda: kernel.slurm.states()[-1] == "FAILED")
