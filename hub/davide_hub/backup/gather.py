"""Taking a backup while hub and broker run."""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from davide_hub.backup import snapshot
from davide_hub.backup.archive import About, Kept
from davide_hub.backup.places import COOKIE_SECRET, DATABASE, places
from davide_hub.facts import Site
from davide_hub.operate import OrderFailed
from davide_hub.versions import installed


def gather(site: Site, root: Path = Path("/")) -> tuple[About, dict[str, Kept]]:
    """Return all that this host can't make again; raises `OrderFailed`.

    Parameters
    ----------
    site
        The site's facts.
    root
        The top of the host.
    """
    where = places(site, root)
    here = _parts_here(site, where)
    members: dict[str, Kept] = {}
    schema = ""
    # The hub's memory before the broker's: what is in the ledger and not in the database is taken up, see reconcile.py.
    if "hub" in here:
        members["hub"] = _kept(where["hub"])
        if not site.database:
            schema, members[f"hub/{DATABASE}"] = _database(where["hub"] / DATABASE)
        # The folder is the hub's: a link planted there must not lead root anywhere.
        members |= dict(_found(f"hub/{COOKIE_SECRET}", where["hub"] / COOKIE_SECRET, os.O_NOFOLLOW))
    for name, path in where.items():
        if name != "hub":
            # A site's own certificate may be a link, to where it is renewed. Root's links lead where root wants.
            members |= dict(_found(name, path.resolve()))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    version = installed().get("jupyterhub", "") if "hub" in here else ""
    return About(site.public_url, socket.gethostname(), now, version, schema), members


def _parts_here(site: Site, where: dict[str, Path]) -> list[str]:
    needed = {"hub": COOKIE_SECRET if site.database else DATABASE, "broker": "mark.json"}
    here = [name for name, file in needed.items() if os.access(where[name] / file, os.R_OK)]
    wanted = 1 if site.broker else 2
    if len(here) < wanted:
        missing = " and ".join(str(where[name] / file) for name, file in needed.items() if name not in here)
        raise OrderFailed(
            f"{missing}: not there, or not to be seen; run this as root on the hub's host (or the broker's), "
            "where hub and broker have run"
        )
    return here


def _found(name: str, path: Path, flags: int = 0) -> Iterator[tuple[str, Kept]]:
    """Yield a file, or a folder with all that is in it, as far as it is there."""
    try:
        kept = _kept(path, flags)
        # What begins with a dot are drafts of files, see broker/keep.py.
        inside = sorted(path.glob("[!.]*")) if kept.content is None else []
    except FileNotFoundError:
        return  # not there, or just taken away by its owner
    except OSError as error:
        raise OrderFailed(f"{path}: {error.strerror}; run this as root on the hub's host") from None
    yield name, kept
    for one in inside:
        yield from _found(f"{name}/{one.name}", one)


def _kept(path: Path, flags: int = 0) -> Kept:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    try:
        about = os.fstat(descriptor)
        if stat.S_ISDIR(about.st_mode):
            return _described(about, None)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "neither a file nor a folder")
        with os.fdopen(descriptor, "rb", closefd=False) as source:
            return _described(about, source.read())
    finally:
        os.close(descriptor)


def _described(about: os.stat_result, content: bytes | None) -> Kept:
    mode = stat.S_IMODE(about.st_mode)
    return Kept(content, mode, _user(about.st_uid), _group(about.st_gid), int(about.st_mtime))


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _database(path: Path) -> tuple[str, Kept]:
    """Return the version of the database's tables, and a consistent copy made by the account that owns it."""
    about = path.parent.stat()
    as_owner: dict[str, Any] = {}
    if os.geteuid() != about.st_uid:
        as_owner = {"user": about.st_uid, "group": about.st_gid, "extra_groups": []}
    try:
        done = subprocess.run(
            [sys.executable, "-I", snapshot.__file__, str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            **as_owner,
        )
    except PermissionError:
        raise OrderFailed(f"{path} is another account's; run this as root on the hub's host") from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise OrderFailed(f"no copy of the database was made ({why}); see journalctl -u jupyterhub")
    told, _, content = done.stdout.partition(b"\n")
    kept = Kept(content, 0o600, _user(about.st_uid), _group(about.st_gid), int(time.time()))
    return str(json.loads(told)["schema"]), kept
