"""The files through which a notebook and the processes of its job talk. Both see them on the shared file system.

Every file is there before the job is, and is written in place, a line at a time: a file that appears, or takes
another's place, is seen by other nodes up to a minute late on NFS; the contents of one that is opened anew are fresh.
One process writes each file, so nothing is locked.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OVER = "over"


class Tail:
    """What was added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def lines(self, *, rest: bool = False) -> list[str]:
        """Return the complete new lines; with `rest` also the last one that has no end yet."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                found = file.read()
        except OSError:
            return []  # a server of files that hiccups is asked again
        if not rest:
            found = found[: found.rfind(b"\n") + 1]
        self._read += len(found)
        return found.decode("utf-8", errors="replace").splitlines() if found else []


class Folder:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, count: int, plan: Mapping[str, Any], code: str) -> None:
        """Make the folder for a job of `count` processes, readable by its user alone."""
        self.path.mkdir(mode=0o700)
        (self.path / "cell.py").write_text(code, encoding="utf-8")
        (self.path / "plan.json").write_text(json.dumps(dict(plan)), encoding="utf-8")
        for rank in range(count):
            for path in (self.events(rank), self.log(rank), self.pulse(rank)):
                path.touch()
        for name in ("go.json", "notebook.beat", "job.txt"):
            (self.path / name).touch()

    def plan(self) -> dict[str, Any]:
        """Return what is to be done."""
        found: dict[str, Any] = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        return found

    def events(self, rank: int) -> Path:
        """Return the file in which a process tells what happens to it."""
        return self.path / f"rank-{rank}.jsonl"

    def log(self, rank: int) -> Path:
        """Return the file with a process's output."""
        return self.path / f"rank-{rank}.txt"

    def pulse(self, rank: int) -> Path:
        """Return the file by which the notebook sees that a process is there."""
        return self.path / f"rank-{rank}.beat"

    def result(self, rank: int) -> Path:
        """Return the file with what a process brings back."""
        return self.path / f"result-{rank}.npz"

    def tell(self, rank: int, event: str, **facts: Any) -> None:
        """Write down what happened to a process."""
        with self.events(rank).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "time": time.time(), **facts}) + "\n")

    def beat(self, word: str = "") -> None:
        """Let the processes see that the notebook is there, or that it is over."""
        write_in_place(self.path / "notebook.beat", word or f"{time.time():.3f}")

    def notebook(self) -> str:
        """Return the notebook's last beat."""
        return (self.path / "notebook.beat").read_text(encoding="utf-8")

    def go(self, ports: list[int]) -> None:
        """Let the processes begin, who now know where all of them listen."""
        write_in_place(self.path / "go.json", json.dumps(ports))

    def ports(self) -> list[int] | None:
        """Return the ports on which the processes listen, once all have told."""
        try:
            found: list[int] = json.loads((self.path / "go.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # not there, or not all of it
        return found


def write_in_place(path: Path, text: str) -> None:
    """Replace the contents of a file that is there, with one call."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        content = text.encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def event_of(line: str) -> dict[str, Any]:
    """Return the event of a line; an empty one if a node that failed left half of it."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
