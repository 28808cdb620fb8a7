"""Seeing a program to its end, within bounds of time and of what it prints; nothing of it stays behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress


class OutOfBounds(Exception):  # noqa: N818 - it is what it says
    """The program was killed. `str()` says why, after its name: "took more than 15 s"."""


def finish(process: subprocess.Popen[bytes], seconds: float, most_out: int, most_err: int) -> tuple[bytes, bytes]:
    """Wait for a program that leads a session of its own, and return what it printed.

    Parameters
    ----------
    process
        Just started, with pipes for its output and its complaints.
    seconds
        After which it is killed, with everything it started.
    most_out, most_err
        How many bytes it may print; complaints beyond theirs are dropped.

    Raises
    ------
    OutOfBounds
        If it was killed.
    """
    deadline = time.monotonic() + seconds
    too_long = f"took more than {seconds:g} s"
    try:
        printed = _read(process, deadline, most_out, most_err)
        process.wait(max(0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        raise OutOfBounds(too_long) from None
    finally:
        _end(process)
    return printed


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        # One that hangs in the kernel can't be waited for.
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _read(process: subprocess.Popen[bytes], deadline: float, most_out: int, most_err: int) -> tuple[bytes, bytes]:
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as still_open:
        for pipe, text in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                still_open.register(pipe, selectors.EVENT_READ, text)
        while still_open.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError
            for key, _ in still_open.select(max(0, deadline - time.monotonic())):
                if part := os.read(key.fd, 65536):
                    key.data.extend(part)
                else:
                    still_open.unregister(key.fileobj)
            if len(out) > most_out:
                raise OutOfBounds(f"printed more than {most_out} bytes")
            del err[most_err:]
    return bytes(out), bytes(err)
