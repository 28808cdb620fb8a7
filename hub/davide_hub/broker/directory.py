"""The directory of accounts, asked so that "there is none" and "it does not answer" differ.

Python's `pwd` and `grp` say KeyError to both. The C library does not: getpwnam_r(3) returns 0 and no entry where a
directory has said that there is none, and an error number where it was out of reach. But of the services that
nsswitch.conf lists (such as `files sss systemd`) only the last one's word counts there, and getgrouplist(3) leaves out
in silence what a service does not tell. So before an account or a group is held to be gone, or an account not to be in
a group, the module of each service is asked by itself, for nss(5)'s own status.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import time
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_uint, c_ulong, c_void_p
from pathlib import Path
from typing import Any

NSSWITCH = Path("/etc/nsswitch.conf")
# nss(5)'s statuses; those below are of a service that is out of reach.
_NOT_FOUND, _FOUND = 0, 1
SSSD = Path("/var/lib/sss/pipes/nss")
_SSSD_SECONDS = 2
_ROOM = 64 * 1024
_MOST_ROOM = 16 * 1024 * 1024
# How many groups of one account the first array holds, and that it may have more.
_GROUPS, _NO_LIMIT = 64, -1


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
        _require_no(lambda service: _status(service, "getpwnam_r", _User, name), "passwd")
        return None
    return int(user.gid)


def gid_of_group(name: str) -> int | None:
    """Return a group's number; None if there is no such group. Raises `Silent`."""
    group = _ask("getgrnam_r", _Group, name)
    if group is None:
        _require_no(lambda service: _status(service, "getgrnam_r", _Group, name), "group")
        return None
    return int(group.gid)


def belongs(name: str, first: int, group: str, number: int) -> bool:
    """Return whether an account is in a group. Raises `Silent`.

    Parameters
    ----------
    name, first
        The account, and the number of its first group.
    group, number
        The group.
    """
    if number in os.getgrouplist(name, first):
        return True
    for service in _services("initgroups", "group"):
        if (status := _membership_status(service, name, first, group)) not in (_NOT_FOUND, _FOUND):
            raise Silent(f"{service} says {status} to who is in which group")
        _require_running(service)
    # Whoever answers now may have been silent when the list was made.
    return number in os.getgrouplist(name, first)


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


def _require_no(ask: Callable[[str], int], line: str) -> None:
    """Raise `Silent` unless each service on a line of nsswitch.conf says that there is no such entry."""
    for service in _services(line):
        if (status := ask(service)) != _NOT_FOUND:
            raise Silent(f"{service} says {status} to a {line} entry that the others don't know")
        _require_running(service)


def _require_running(service: str) -> None:
    """Raise `Silent` if a service's "none" only means that nobody was there to be asked.

    As Red Hat builds sssd (--enable-sss-default-nss-plugin), its module says so where sssd is down, and for minutes
    still finds what sssd said before: so accounts and groups may be there, and memberships not. sssd leaves its socket
    behind; where there is none, it was never set up.
    """
    if service != "sss" or not SSSD.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_SSSD_SECONDS)
        try:
            probe.connect(str(SSSD))
        except OSError as error:
            raise Silent(f"sssd does not listen: {error}") from error


def _status(service: str, function: str, kind: type[ctypes.Structure], name: str) -> int:
    """Return the status with which a service's module answers for a name."""
    call = _function(service, function)
    if call is None:
        return _NOT_FOUND  # listed and not installed: it holds nobody's account
    room = _ROOM
    while True:
        entry, buffer, problem = kind(), ctypes.create_string_buffer(room), c_int()
        status = int(call(name.encode(), byref(entry), buffer, c_size_t(room), byref(problem)))
        if problem.value != errno.ERANGE or room >= _MOST_ROOM:
            return status
        room *= 4


def _membership_status(service: str, name: str, first: int, group: str) -> int:
    """Return the status with which a service's module answers for the groups of an account."""
    call = _function(service, "initgroups_dyn")
    if call is None:
        # Of such a module the C library reads all groups, one after the other: the one that counts must be told.
        return _status(service, "getgrnam_r", _Group, group)
    library = ctypes.CDLL(None)
    library.malloc.restype = c_void_p
    start, size, problem = c_long(1), c_long(_GROUPS), c_int()
    # The module may put a longer array in its place, by realloc(3): so it can be none of Python's.
    groups = ctypes.cast(library.malloc(c_size_t(_GROUPS * ctypes.sizeof(c_uint))), POINTER(c_uint))
    groups[0] = first
    try:
        into = byref(start), byref(size), byref(groups)
        return int(call(name.encode(), c_uint(first), *into, c_long(_NO_LIMIT), byref(problem)))
    finally:
        library.free(groups)


def _function(service: str, name: str) -> Any:
    """Return a function of a service's module; None if the module, or this one in it, is not there."""
    try:
        call = getattr(ctypes.CDLL(f"libnss_{service}.so.2"), f"_nss_{service}_{name}")
    except (OSError, AttributeError):
        return None
    call.restype = c_int
    return call


def _services(*lines: str) -> list[str]:
    """Return the services besides the host's own files, of the first of these lines that nsswitch.conf has."""
    rows = [row.split("#")[0].partition(":") for row in NSSWITCH.read_text().splitlines()]
    found = (rest for line in lines for key, _, rest in rows if key.strip() == line)
    # systemd's holds the system's own.
    named = re.sub(r"\[[^]]*\]", " ", next(found, "files")).split()
    return [name for name in named if name not in ("files", "systemd")]


def _ask(function: str, kind: type[ctypes.Structure], name: str) -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    entry, found, room = kind(), POINTER(kind)(), _ROOM
    while True:
        buffer = ctypes.create_string_buffer(room)
        call = getattr(library, function)
        call.restype = c_int
        number = call(name.encode(), byref(entry), buffer, c_size_t(room), byref(found))
        if number == errno.ERANGE and room < _MOST_ROOM:  # a group of thousands needs more room
            room *= 4
            continue
        if number:
            raise Silent(f"{function}: {os.strerror(number)}")
        # What it points to lies in the buffer, which must live as long.
        entry._buffer = buffer
        return entry if found else None
