"""Becoming a user, completely, to run one fixed program: `in_user.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_hub.broker import in_user
from davide_hub.broker.accounts import Account

# Where sites keep Slurm's commands. Fixed: the PATH of whoever started the broker is not asked.
PATH = "/usr/local/bin:/usr/bin:/bin:/opt/slurm/bin"


class TookTooLong(Exception):  # noqa: N818 - it is what it says
    """The program was killed after its time."""


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
    TookTooLong
        If that happened.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", in_user.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(account),
        cwd="/",  # not the home: on a file system that squashes root, only the user can enter it
        umask=0o077,
        start_new_session=True,
        **identity(account),
    )
    try:
        out, err = process.communicate(json.dumps(order).encode(), timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise TookTooLong from None
    return Outcome(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


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
