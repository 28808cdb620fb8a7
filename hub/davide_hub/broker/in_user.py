"""The part of the broker that runs as the user: files in the user's home, and Slurm's commands.

A program of its own, started by `as_user.py` with the user's identity, umask 077, and nothing of the broker's
environment. What it is to do comes as JSON on its standard input; Slurm's command takes its place, so that
the broker gets the exit code and the words of Slurm itself. Only the standard library: it runs with -I -S.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

_FOLDER = ".local/share/davide-hub"
_LOG_BYTES = 4096
# sysexits.h, EX_IOERR: not a code that Slurm's commands use.
CANNOT_WRITE = 74


def session_folder(home: Path, key: str) -> Path:
    """Return the folder of a session's files in the user's home."""
    return home / _FOLDER / key


def main() -> None:
    """Do the one thing that standard input asks for."""
    order = json.load(sys.stdin)
    folder = session_folder(Path.home(), order["session_key"])
    try:
        if order["verb"] == "submit":
            _submit(folder, order["environment"], order["script"])
        elif order["verb"] == "cancel":
            _discard(folder)
            _become("scancel", "--", order["job_id"])
        elif order["verb"] == "discard":
            _discard(folder)
        else:
            _print_log(folder)
    except OSError as error:
        print(f"can't use {error.filename or folder}: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_WRITE)


def _submit(folder: Path, environment: dict[str, str], script: str) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / ".environment.json"
    draft.unlink(missing_ok=True)
    with draft.open("x") as file:  # 0600 by the umask, from the first byte on
        json.dump(environment, file)
    draft.replace(folder / "environment.json")
    # Slurm hands the submitter's umask and limits on to the job. Ours are none of the user's business:
    # the umask is the usual one again, and --propagate=NONE leaves the limits to the compute node.
    os.umask(0o022)
    os.chdir(Path.home())  # the job starts where its submitter stands
    stdin = os.memfd_create("session.sbatch")
    os.write(stdin, script.encode())
    os.lseek(stdin, 0, os.SEEK_SET)
    os.dup2(stdin, 0)
    _become("sbatch", "--parsable", "--propagate=NONE")


def _discard(folder: Path) -> None:
    (folder / "environment.json").unlink(missing_ok=True)


def _print_log(folder: Path) -> None:
    with (folder / "session.log").open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
        sys.stdout.buffer.write(file.read(_LOG_BYTES))


def _become(program: str, *arguments: str) -> None:
    # Python ignores SIGPIPE, and an ignored signal stays ignored in the program that takes over.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(program, [program, *arguments])


if __name__ == "__main__":
    main()
