"""The lessons: brought into the user's home while the server starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PATIENCE_SECONDS = 20


def start_sync(source: Path, target: Path) -> subprocess.Popen[bytes]:
    """Start to bring the hand-outs in `source` into `target`; importing Jupyter takes longer than this."""
    command = [sys.executable, "-I", "-m", "davide_course.handouts", "sync", str(source), str(target)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def finish_sync(sync: subprocess.Popen[bytes]) -> None:
    """Wait for the hand-outs, but not for ever: without them a session is still a session."""
    try:
        status = sync.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        sync.kill()
        sync.wait()
        print(f"The hand-outs took longer than {_PATIENCE_SECONDS} s; going on without the rest", flush=True)
    else:
        if status != 0:
            print(f"The hand-outs could not be brought (status {status}); see the lines above", flush=True)
