"""The secrets of a session: a file that only its user can read."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

_MAX_BYTES = 256 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvironmentFileError(Exception):
    """The file can't be used. `str()` says why, and what to do."""


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables in a JSON file.

    Parameters
    ----------
    path
        A regular file of mode 0600 that belongs to whoever runs this. A link is refused, and so is a file of
        somebody else: either could hand a stranger's token to this session, or this session's to a stranger.

    Raises
    ------
    EnvironmentFileError
        If the file is missing, open to others, or not a mapping of strings.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise EnvironmentFileError(
            f"{path}: can't be opened ({error.strerror}); start a new session from the hub"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        _require_private(path, os.fstat(descriptor))
        content = file.read(_MAX_BYTES + 1)
    return _variables(path, content)


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise EnvironmentFileError(f"{path}: not a regular file; start a new session from the hub")
    if status.st_uid != os.geteuid():
        raise EnvironmentFileError(f"{path}: belongs to uid {status.st_uid}, not to you; tell an administrator")
    if (mode := stat.S_IMODE(status.st_mode)) != 0o600:
        raise EnvironmentFileError(f"{path}: has mode {mode:04o} instead of 0600; start a new session from the hub")


def _variables(path: Path, content: bytes) -> dict[str, str]:
    # No message quotes the content: it goes into the session's log, and the content is secret.
    try:
        variables = json.loads(content) if len(content) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        variables = None
    if not isinstance(variables, dict) or not all(_is_variable(*item) for item in variables.items()):
        raise EnvironmentFileError(f"{path}: not a JSON mapping of variables; start a new session from the hub")
    return variables


def _is_variable(name: str, value: object) -> bool:
    return bool(_VARIABLE.fullmatch(name)) and isinstance(value, str) and "\0" not in value
