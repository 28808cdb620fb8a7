"""The part of the broker that runs as the user: files in the user's home, and Slurm's commands.

A program of its own, started by `as_user.py` with the user's identity, umask 077, and nothing of the broker's
environment. What it is to do comes as JSON on its standard input; Slurm's command takes its place, so that
the broker gets the exit code and the words of Slurm itself. Only the standard library, and little of it: it runs
with -I -S, several times for each session, and importing pathlib and typing would double its time.
"""

from __future__ import annotations

import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FOLDER = ".local/share/davide-hub"
_ENVIRONMENT = "environment.json"
# Written by the session itself once its server listens (davide_session.callhome).
_LISTENING = "listening.json"
_READ_BYTES = 4096
_ENVIRONMENT_BYTES = 256 * 1024
# sysexits.h, EX_IOERR: not a code that Slurm's commands use.
CANNOT_WRITE = 74
# EX_NOINPUT: the session's folder is there, and its secrets are not.
SECRETS_GONE = 66

# --local: sessions are never another cluster's, and asking whether there are others is a question more. --all: jobs in
# hidden partitions too. One user: squeue then asks the controller for that user's jobs only. With
# their header lines, so that an honest "none" is not the same as no answer.
_QUEUE = ("squeue", "--local", "--all", "--states=all", "--format=%i|%T|%B|%r|%U|%V|%k")
_RECORD = ("sacct", "--parsable2", "--allocations", "--format=JobIDRaw,State,NodeList,UID")


def session_folder(home: str, key: str) -> str:
    """Return the folder of a session's files in the user's home."""
    return f"{home}/{_FOLDER}/{key}"


def main() -> None:
    """Do the one thing that standard input asks for."""
    order = json.load(sys.stdin)
    try:
        _do(order["verb"], order)
    except OSError as error:
        print(f"can't use {error.filename or 'the home'}: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_WRITE)


def _do(verb: str, order: dict[str, Any]) -> None:
    match verb:
        case "submit":
            _submit(_folder(order), order)
        case "estimate":
            _become_with(order["script"], "sbatch", "--test-only", "--propagate=NONE")
        case "queue":
            _become(*_QUEUE, f"--user={order['user']}" if "user" in order else f"--jobs={order['job']}")
        case "record":
            _become(*_RECORD, f"--jobs={order['job']}")
        case "cancel":
            _become("scancel", "--", *order["jobs"])
        case "discard":
            _remove(f"{_folder(order)}/{_ENVIRONMENT}")
        case "recall":
            _print_kept(_folder(order))
        case "log":
            _print_end(f"{_folder(order)}/session.log", _READ_BYTES)


def _folder(order: dict[str, Any]) -> str:
    return session_folder(os.environ["HOME"], order["session_key"])


def _submit(folder: str, order: dict[str, Any]) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    draft = f"{folder}/.{_ENVIRONMENT}"
    _remove(draft)
    with open(draft, "x") as file:  # 0600 by the umask, from the first byte on
        json.dump(order["environment"], file)
    os.replace(draft, f"{folder}/{_ENVIRONMENT}")
    # Slurm hands the submitter's umask and limits on to the job. Ours are none of the user's business:
    # the umask is the usual one again, and --propagate=NONE leaves the limits to the compute node.
    os.umask(0o022)
    os.chdir(os.environ["HOME"])  # the job starts where its submitter stands
    # The mark stands here and not in the script, which a site may rewrite.
    _become_with(order["script"], "sbatch", "--parsable", "--propagate=NONE", f"--comment={order['mark']}")


def _become_with(script: str, program: str, *arguments: str) -> None:
    stdin = os.memfd_create("session.sbatch")
    os.write(stdin, script.encode())
    os.lseek(stdin, 0, os.SEEK_SET)
    os.dup2(stdin, 0)
    _become(program, *arguments)


def _remove(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def _print_kept(path: str) -> None:
    """Print what a session was given, and where it listens, a line each: JSON that was written without line breaks."""
    # Opened before its files: so one that is missing is missing there. A home that is not mounted ends here.
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _print_end(_ENVIRONMENT, _ENVIRONMENT_BYTES, folder)
    except FileNotFoundError:
        sys.exit(SECRETS_GONE)
    print(flush=True)
    try:  # noqa: SIM105 - contextlib would have to be imported
        _print_end(_LISTENING, _ENVIRONMENT_BYTES, folder)
    except FileNotFoundError:
        pass  # it does not listen yet
    print(flush=True)


def _print_end(path: str, size: int, folder: int | None = None) -> None:
    # A link could lead anywhere the user may read, and a pipe would keep us waiting.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        sys.stdout.buffer.write(file.read(size))
        sys.stdout.buffer.flush()


def _become(program: str, *arguments: str) -> None:
    # Python ignores SIGPIPE, and an ignored signal stays ignored in the program that takes over.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(program, [program, *arguments])


if __name__ == "__main__":
    main()
