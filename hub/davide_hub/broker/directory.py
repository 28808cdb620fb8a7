"""The directory of accounts, asked so that "there is none" and "it does not answer" differ.

Python's `pwd` and `grp` say KeyError to both. The C library does not: getpwnam_r(3) returns 0 and no entry where a
directory has said that there is none, and an error number where it was out of reach. But of the services that
nsswitch.conf lists (such as `files sss systemd`) only the last one's word counts there: so before an account is held
to be gone, the module of each service is asked by itself, for nss(5)'s own status.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_uint, c_ulong
from pathlib import Path
from typing import Any

NSSWITCH = Path("/etc/nsswitch.conf")
_NOT_FOUND = 0
_ROOM = 64 * 1024
_MOST_ROOM = 16 * 1024 * 1024


class Silent(Exception):  # noqa: N818 - it is what it says
    """The directory did not answer."""


class _User(ctypes.Structure):
    """struct passwd."""

    _fields_ = (
        ("name", c_char_p),
        ("password", c_char_p),
        ("uid", c_uint),
        ("gid", c_uint),
        ("gecos", c_char_p),
        ("home", c_char_p),
        ("shell", c_char_p),
    )


class _Group(ctypes.Structure):
    """struct group."""

    _fields_ = (("name", c_char_p), ("password", c_char_p), ("gid", c_uint), ("members", POINTER(c_char_p)))


class _Shadow(ctypes.Structure):
    """struct spwd."""

    _fields_ = (
        ("name", c_char_p),
        ("password", c_char_p),
        *((name, c_long) for name in ("changed", "minimum", "maximum", "warned", "inactive", "expires")),
        ("flag", c_ulong),
    )


def gid_of_user(name: str) -> int | None:
    """Return the first group of an account; None if there is no such account. Raises `Silent`."""
    user = _ask("getpwnam_r", _User, name)
    if user is None:
        _require_every_answer(name)
        return None
    return int(user.gid)


def gid_of_group(name: str) -> int | None:
    """Return a group's number; None if there is no such group. Raises `Silent`."""
    group = _ask("getgrnam_r", _Group, name)
    return None if group is None else int(group.gid)


def closed(name: str) -> str:
    """Return how an account was closed, by its shadow entry: "locked", "expired", or nothing. Raises `Silent`.

    PAM's own answer is too coarse for this: Debian's common-account turns "expired" and "can't tell" into the same
    number.
    """
    shadow = _ask("getspnam_r", _Shadow, name)
    if shadow is None:
        return ""
    password = shadow.password or b""
    # A lone "!" or "*" stands where there never was a password: such people log in by other means.
    if password.startswith(b"!") and password.strip(b"!*"):
        return "locked"
    return "expired" if 0 < shadow.expires <= time.time() / 86400 else ""


def _require_every_answer(name: str) -> None:
    for service in _services():
        if (status := _status(service, name)) != _NOT_FOUND:
            raise Silent(f"{service} says {status} to an account that the others don't know")


def _status(service: str, name: str) -> int:
    """Return what a service's module says: 1 found, 0 none, below that it is out of reach."""
    try:
        call = getattr(ctypes.CDLL(f"libnss_{service}.so.2"), f"_nss_{service}_getpwnam_r")
    except (OSError, AttributeError):
        return _NOT_FOUND  # listed and not installed: it holds nobody's account
    entry, buffer, problem = _User(), ctypes.create_string_buffer(_ROOM), c_int()
    call.restype = c_int
    return int(call(name.encode(), byref(entry), buffer, c_size_t(_ROOM), byref(problem)))


def _services() -> list[str]:
    """Return the services besides /etc/passwd that nsswitch.conf asks for accounts of people."""
    rows = (row.split("#")[0].partition(":") for row in NSSWITCH.read_text().splitlines())
    line = next((rest for key, _, rest in rows if key.strip() == "passwd"), "files")
    # systemd's holds the system's own.
    return [name for name in re.sub(r"\[[^]]*\]", " ", line).split() if name not in ("files", "systemd")]


def _ask(function: str, kind: type[ctypes.Structure], name: str) -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    entry, found, room = kind(), POINTER(kind)(), _ROOM
    while True:
        buffer = ctypes.create_string_buffer(room)
        call = getattr(library, function)
        call.restype = c_int
        number = call(name.encode(), byref(entry), buffer, c_size_t(room), byref(found))
        if number == 34 and room < _MOST_ROOM:  # ERANGE: a group of thousands needs more room
            room *= 4
            continue
        if number:
            raise Silent(f"{function}: {os.strerror(number)}")
        # What it points to lies in the buffer, which must live as long.
        entry._buffer = buffer
        return entry if found else None
