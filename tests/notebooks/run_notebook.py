"""Run a notebook from top to bottom in a fresh kernel, as "Restart and Run All" does: run_notebook.py SOURCE TARGET.

Runs in the session environment on a node, or wherever nbclient is. A cell that fails does not stop it.
"""

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient


def main(source: Path, target: Path) -> None:
    """Run the notebook `source` in its own folder and write it with its outputs to `target`."""
    book = nbformat.read(source, as_version=4)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="run-notebook-") as sockets:
        kernel = AsyncKernelManager(
            kernel_name=book.metadata.kernelspec.name,
            transport="ipc",
            ip=f"{sockets}/kernel",
            connection_file=f"{sockets}/c.json",
        )
        resources = {"metadata": {"path": str(source.parent)}}
        NotebookClient(book, km=kernel, timeout=300, allow_errors=True, resources=resources).execute()
    book.metadata["seconds"] = time.monotonic() - start
    nbformat.write(book, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
