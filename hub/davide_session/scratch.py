"""A folder of the session's own, on the node's disk and gone with the session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder of mode 0700 with `runtime`, `tmp` and `walltime` in it; remove it at the end.

    Always under /tmp, whatever TMPDIR says: kernels talk through Unix sockets in `runtime`, and the path of a
    Unix socket has at most 107 characters. Not on the shared file system, where SQLite's locks are slow or
    missing.
    """
    folder = Path(tempfile.mkdtemp(prefix="davide-", dir="/tmp"))
    try:
        (folder / "runtime").mkdir()
        (folder / "tmp").mkdir()
        (folder / "walltime").mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
