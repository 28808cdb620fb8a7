"""What a hub on another host has the broker ask Slurm: the hub's own fixed commands, as an account that may do nothing.

Nothing but job numbers comes from the hub. An answer is whole, with exit code and all, or it is none.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Collection
from contextlib import suppress

from davide_hub.broker.accounts import Account
from davide_hub.broker.as_user import PATH, identity
from davide_hub.questions import (
    ENVIRONMENT,
    MOST_BYTES,
    MOST_COMPLAINTS,
    SECONDS,
    Outcome,
    Question,
    SlurmSilent,
    command,
)

_TOO_LONG = f"took more than {SECONDS} s"


def ask(question: Question, jobs: Collection[str], account: Account) -> Outcome:
    """Run the command of a question and return what it left behind.

    Parameters
    ----------
    question, jobs
        What is asked, and about which jobs.
    account
        As whom. Never root.

    Raises
    ------
    SlurmSilent
        If the command can't be started, takes too long or prints too much.
    """
    argv = command(question, jobs)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT | {"PATH": PATH},
            cwd="/",
            umask=0o077,
            start_new_session=True,
            **identity(account),
        )
    except OSError as error:
        raise SlurmSilent(f"{argv[0]} can't be started: {error.strerror}") from error
    deadline = time.monotonic() + SECONDS
    try:
        out, err = _read(process, deadline)
        code = process.wait(max(0, deadline - time.monotonic()))
    except SlurmSilent as silence:
        raise SlurmSilent(f"{argv[0]} {silence}") from None
    except subprocess.TimeoutExpired:
        raise SlurmSilent(f"{argv[0]} {_TOO_LONG}") from None
    finally:
        _end(process)
    return Outcome(code, out.decode(errors="replace"), err.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a command behind, however it went."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        # One that hangs in the kernel can't be waited for.
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as still_open:
        for pipe, text in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                still_open.register(pipe, selectors.EVENT_READ, text)
        while still_open.get_map():
            if time.monotonic() > deadline:
                raise SlurmSilent(_TOO_LONG)
            for key, _ in still_open.select(max(0, deadline - time.monotonic())):
                if part := os.read(key.fd, 65536):
                    key.data.extend(part)
                else:
                    still_open.unregister(key.fileobj)
            if len(out) > MOST_BYTES:
                raise SlurmSilent(f"printed more than {MOST_BYTES} bytes")
            del err[MOST_COMPLAINTS:]
    return bytes(out), bytes(err)
