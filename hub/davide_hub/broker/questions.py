"""What a hub on another host has the broker ask Slurm: the hub's own fixed commands, as an account that may do nothing.

Nothing but job numbers comes from the hub. An answer is whole, with exit code and all, or it is none.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection

from davide_hub.broker.accounts import Account
from davide_hub.broker.as_user import PATH, identity
from davide_hub.broker.bounded import OutOfBounds, finish
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
    try:
        out, err = finish(process, SECONDS, MOST_BYTES, MOST_COMPLAINTS)
    except OutOfBounds as problem:
        raise SlurmSilent(f"{argv[0]} {problem}") from None
    return Outcome(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
