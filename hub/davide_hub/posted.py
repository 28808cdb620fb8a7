"""What root posts for the hub to show: a file that a crash leaves whole; the hub reads it when it is a new one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Posted(Generic[T]):
    """What is posted in a file, as pages ask for it: read anew only when the file is another one.

    Parameters
    ----------
    file
        Where it is written.
    kind
        What stands in it: a dataclass.
    broken
        What counts where the file can't be read.
    complaint
        Said in the log then; `{}` stands for the error.
    log
        Who is told.
    """

    def __init__(self, file: Path, kind: type[T], broken: T | None, complaint: str, log: Any) -> None:
        self.file, self.log = file, log
        self._kind, self._broken, self._complaint = kind, broken, complaint
        self._stamp: tuple[int, int] | None = None
        self._content: T | None = None

    def content(self) -> T | None:
        """Return what is posted now, or None."""
        try:
            found = self.file.stat()
        except OSError:
            self._stamp = self._content = None
            return None
        if (stamp := (found.st_mtime_ns, found.st_ino)) != self._stamp:
            self._stamp, self._content = stamp, self._read()
        return self._content

    def _read(self) -> T | None:
        try:
            return self._kind(**json.loads(self.file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            self.log.error(self._complaint.format(error))
            return self._broken


def post(file: Path, content: Any) -> None:
    """Put a dataclass in the place of what was posted last, whole or not at all, and on the disk."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as out:
        os.fchmod(out.fileno(), 0o644)  # whatever root's umask is: the hub reads it
        json.dump(asdict(content), out)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    sync_folder(file.parent)


def take_down(file: Path) -> None:
    """Take away what was posted."""
    file.unlink(missing_ok=True)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Return once what was named, renamed or removed in a folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
