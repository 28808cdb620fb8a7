"""Who somebody is, as the directory tells. It is asked in a thread, so no page waits for it; and nobody waits long."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_DIRECTORY_SECONDS = 2
# Its own: while it hangs, those who ask hold no thread that others need.
_ASKING = ThreadPoolExecutor(4, "directory")

_Asked = TypeVar("_Asked")
_Told = TypeVar("_Told")


async def uid_of(user: str) -> int | None:
    """Return a user's uid; None if the directory does not tell it."""
    return await _soon(_uid, user)


async def name_of(uid: int) -> str:
    """Return a user's name; empty if the directory does not tell it."""
    return await _soon(_name, uid) or ""


async def _soon(question: Callable[[_Asked], _Told], about: _Asked) -> _Told | None:
    looking = asyncio.get_running_loop().run_in_executor(_ASKING, question, about)
    try:
        return await asyncio.wait_for(asyncio.shield(looking), _DIRECTORY_SECONDS)
    except TimeoutError:
        return None


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, OSError):
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return ""
