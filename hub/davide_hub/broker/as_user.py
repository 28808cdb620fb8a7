"""Becoming a user, completely, to run one fixed program: `in_user.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_hub.broker import in_user
from davide_hub.broker.accounts import Account
from davide_hub.broker.bounded import finish
from davide_hub.questions import MOST_COMPLAINTS

# Where sites keep Slurm's commands. Fixed: the PATH of whoever started the broker is not asked.
PATH = "/usr/local/bin:/usr/bin:/bin:/opt/slurm/bin"
# A user's secrets and log are bounded already; all jobs of one user are in a list of this length.
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Outcome:
    """What the program left behind."""

    code: int
    out: str
    err: str


def run_as_user(account: Account, order: dict[str, Any], timeout: float) -> Outcome:
    """Run `in_user.py` as the user and return what came of it.

    Parameters
    ----------
    account
        The user; uid, gid and all groups are taken on before the program starts.
    order
        What to do, handed over on standard input: it holds secrets.
    timeout
        Seconds after which the program is killed, with everything it started.

    Raises
    ------
    OutOfBounds
        If that happened, or if it prints more than a user's jobs could make it.
    """
    with _given(order) as given:
        process = _started(account, given)
    out, err = finish(process, timeout, _MOST_BYTES, MOST_COMPLAINTS)
    return Outcome(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


@contextmanager
def _given(order: dict[str, Any]) -> Iterator[int]:
    """Yield an open file in memory, to be read once: a pipe would keep us waiting for whoever does not read."""
    descriptor = os.memfd_create("order")
    try:
        os.write(descriptor, json.dumps(order).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _started(account: Account, given: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", in_user.__file__],
        stdin=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(account),
        cwd="/",  # not the home: on a file system that squashes root, only the user can enter it
        umask=0o077,
        start_new_session=True,
        **identity(account),
    )


def identity(account: Account) -> dict[str, Any]:
    """Return what makes a child process the user: uid, gid and groups."""
    groups = os.getgrouplist(account.name, account.gid)
    return {"user": account.uid, "group": account.gid, "extra_groups": groups}


def session_log(account: Account, key: str) -> Path:
    """Return where the session's log is to be written."""
    return Path(in_user.session_folder(str(account.home), key), "session.log")


def _environment(account: Account) -> dict[str, str]:
    # sbatch hands its whole environment on to the job: so there is nothing here but the user's own basics.
    return {
        "PATH": PATH,
        "HOME": str(account.home),
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell or "/bin/sh",
        "LANG": "C.UTF-8",
    }
