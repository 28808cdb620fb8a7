"""Do in a kernel what a person does in a notebook: cell_driver.py KERNEL < STEPS; prints what came of each cell.

Runs in the session environment within a job. STEPS is JSON, a list of:
{"run": code}, {"start": code} (and go on at once), {"until": path} (a file with something in it), {"interrupt": true},
{"finish": true} (wait for the cell that was started), {"kill": true} (the kernel, as a node without memory does).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jupyter_client import KernelManager

PATIENCE = 240


class Person:
    """Somebody with one notebook."""

    def __init__(self, kernel: str, sockets: str) -> None:
        place = {"transport": "ipc", "ip": f"{sockets}/kernel", "connection_file": f"{sockets}/c.json"}
        self.manager = KernelManager(kernel_name=kernel, **place)
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self._started = ""
        self._began = 0.0

    def start(self, code: str) -> None:
        """Run a cell, without waiting for its end."""
        self._began = time.time()
        self._started = self.client.execute(code)

    def finish(self, _: Any = None) -> dict[str, Any]:
        """Wait for the end of the cell that was started, and return what came of it."""
        while (reply := self.client.get_shell_msg(timeout=PATIENCE))["parent_header"].get("msg_id") != self._started:
            pass
        shown, pictures = "", []
        while (message := self.client.get_iopub_msg(timeout=PATIENCE))["content"].get("execution_state") != "idle" or (
            message["parent_header"].get("msg_id") != self._started
        ):
            shown += message["content"].get("text", "")
            pictures.append(message["content"].get("data", {}).get("text/plain", ""))
        content = reply["content"]
        found = {"status": content["status"], "error": content.get("evalue", ""), "shown": shown}
        return found | {"states": [one for one in pictures if one], "began": self._began, "ended": time.time()}

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell and return what came of it."""
        self.start(code)
        return self.finish()

    def until(self, path: str) -> None:
        """Wait until somebody has written into a file."""
        deadline = time.monotonic() + PATIENCE
        while not Path(path).exists() or not Path(path).read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} did not come")
            time.sleep(0.1)

    def interrupt(self, _: Any) -> None:
        """Press the button."""
        self.manager.interrupt_kernel()

    def kill(self, _: Any) -> None:
        """Kill the kernel."""
        os.kill(self.manager.provisioner.pid, signal.SIGKILL)


def main() -> None:
    """Do all steps."""
    with tempfile.TemporaryDirectory(prefix="cell-driver-") as sockets:
        person = Person(sys.argv[1], sockets)
        try:
            done = [getattr(person, name)(what) for step in json.load(sys.stdin) for name, what in step.items()]
        finally:
            person.client.stop_channels()
            person.manager.shutdown_kernel(now=True)
    print(json.dumps([one for one in done if one]))


if __name__ == "__main__":
    main()
