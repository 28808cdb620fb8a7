"""Writing into a folder that somebody else is working in: complete or not at all, and never over anything.

Only hard links and renames within one file system are used, which hold on NFS, Lustre and GPFS as on a local disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def read_plain(path: Path) -> bytes | None:
    """Return the content of the regular file `path`; None if nothing is there.

    Raises
    ------
    IsADirectoryError
        If something is there that is not a regular file, a link for example.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise IsADirectoryError(f"{path} is not a plain file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def put_new(path: Path, content: bytes, scratch: Path) -> None:
    """Create `path` with `content`: after a crash it is complete or not there.

    Parameters
    ----------
    path
        The file to be.
    content
        Its bytes.
    scratch
        A folder of the same file system, for the unfinished file.

    Raises
    ------
    FileExistsError
        If something is at `path`; it stays as it is.
    OSError
        If the disk is full or broken; nothing is left behind.
    """
    unfinished = _write(content, scratch)
    try:
        # A rename would replace what a student saved a moment ago; a link refuses.
        os.link(unfinished, path)
        _keep(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def move_new(path: Path, to: Path) -> None:
    """Give the file `path` the name `to`; FileExistsError if that is taken. After a crash it may have both names."""
    os.link(path, to, follow_symlinks=False)
    _keep(to.parent)
    path.unlink()
    _keep(path.parent)


def replace(path: Path, content: bytes, scratch: Path) -> None:
    """Write the file `path` anew, for files that are ours alone: after a crash it is the old one or the new one."""
    unfinished = _write(content, scratch)
    try:
        unfinished.replace(path)
        _keep(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path: Path, patience_seconds: float) -> Iterator[bool]:
    """Hold the lock file `path`; yields False on a file system that has no locks.

    Without a lock nothing is lost either, but two at once may leave a superfluous copy.

    Raises
    ------
    TimeoutError
        If somebody else held it for longer than `patience_seconds`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _locked(descriptor, time.monotonic() + patience_seconds)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another session is doing the same") from None
            time.sleep(0.05)
        except OSError:
            return False
        else:
            return True


def _write(content: bytes, scratch: Path) -> Path:
    descriptor, name = tempfile.mkstemp(suffix=".tmp", dir=scratch)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _keep(folder: Path) -> None:
    """Bring the names in `folder` to the disk, so that a power failure does not undo them in another order."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
