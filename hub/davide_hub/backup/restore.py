"""Putting a backup back: first all that may speak against it, then one folder or file after the other.

A restore that is broken off is begun again and goes on. What was there before lies beside it, as NAME.before-TIME.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from davide_hub.backup.archive import About, Kept
from davide_hub.backup.places import FRONT, places
from davide_hub.broker import keep
from davide_hub.facts import Site
from davide_hub.operate import OrderFailed
from davide_hub.posted import sync_folder

# Merged, compared, and weighed instead of put back.
_NOT_PUT = ("audit", "site.yml", *FRONT)


def check(site: Site, about: About, members: Mapping[str, Kept], root: Path = Path("/")) -> None:
    """Refuse a backup that does not belong here, or that would cost sessions; raises `OrderFailed`."""
    if about.site != site.public_url:
        raise OrderFailed(f"this is the backup of {about.site}, and the hub here is {site.public_url}: take its own")
    where = places(site, root)
    for name in ("hub", "broker"):
        if name in members and not where[name].is_dir():
            raise OrderFailed(f"there is no {where[name]} here yet: run the plays on this host first, then this again")
    for name in _tops(members, where):
        if os.path.ismount(where[name]):
            raise OrderFailed(
                f"{where[name]} is a file system of its own, and can't be exchanged: unmount it, restore, "
                f"and copy {where[name]} onto it"
            )
    _require_accounts(members)
    if about.schema:
        _require_schema(about)
    if "broker" in members:
        _require_no_strangers(where["broker"], members)


def _tops(members: Mapping[str, Kept], where: Mapping[str, Path]) -> list[str]:
    """Return what is exchanged: folders and files that the site still has a place for."""
    return [name for name in members if name in where and name not in _NOT_PUT]


def _require_accounts(members: Mapping[str, Kept]) -> None:
    for kept in members.values():
        try:
            pwd.getpwnam(kept.owner), grp.getgrnam(kept.group)
        except KeyError:
            raise OrderFailed(
                f"this host has no account {kept.owner} or no group {kept.group}, whose files are in the backup: "
                "run the plays on this host first, or make it, then this again"
            ) from None


def _require_schema(about: About) -> None:
    # Not at the top: it takes half a second.
    import jupyterhub
    from alembic.script import ScriptDirectory

    here = ScriptDirectory(str(Path(jupyterhub.__file__).parent / "alembic")).get_heads()
    if about.schema not in here:
        raise OrderFailed(
            f"the backup's database is JupyterHub {about.jupyterhub}'s (tables {about.schema}), and here is "
            f"{jupyterhub.__version__} (tables {', '.join(here)}): install that release, restore, then upgrade it"
        )


def _require_no_strangers(broker: Path, members: Mapping[str, Kept]) -> None:
    """Refuse if sessions run here under another mark: nobody would know them after a restore."""
    mark = keep.parsed(members["broker/mark.json"].content or b"")
    if keep.read(broker / "mark.json") == mark:
        return
    entries = [keep.read(path) for path in (broker / "ledger").glob("[!.]*")]
    if users := sorted({str(entry["user"]) for entry in entries if entry and entry["state"] != "closed"}):
        orders = "; ".join(f"davide-hub revoke {user}" for user in users)
        raise OrderFailed(
            f"this host's broker has sessions of its own, which nobody would know after a restore: {orders}; then again"
        )


def put_back(site: Site, members: Mapping[str, Kept], root: Path = Path("/")) -> list[str]:
    """Put back what was kept, while hub and broker are stopped; return what was done, in sentences.

    Parameters
    ----------
    site
        The site's facts.
    members
        What `archive.read` returned.
    root
        The top of the host.
    """
    where = places(site, root)
    stamp = f"before-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    chosen = _tops(members, where)
    told = []
    if "certificate" in members:
        if _keeps_certificate(where["certificate"], members):
            told.append(f"{where['certificate']} stays: it is valid for longer than the one of the backup")
        else:
            chosen += [name for name in FRONT if name in members]
    for name in chosen:
        tree = _tree(name, members)
        target = where[name].resolve()
        if not _is_there(target, tree):
            _exchange(target, tree, stamp)
            told.append(f"put back {target}")
    told += _merge_trail(where["audit"], _tree("audit", members))
    if not _same_facts(where["site.yml"], members.get("site.yml")):
        told.append(f"{where['site.yml']} stays, which the plays write; the backup's was another one: look into it")
    return told


def _tree(name: str, members: Mapping[str, Kept]) -> dict[str, Kept]:
    """Return a member with all that is in it, by their names within it; its own is empty."""
    inside = {path[len(name) + 1 :]: kept for path, kept in members.items() if path.startswith(f"{name}/")}
    return {"": members[name], **inside} if name in members else {}


def _is_there(target: Path, tree: Mapping[str, Kept]) -> bool:
    """Return whether a file has that content already; a folder is always exchanged, as more may lie in it."""
    kept = tree[""]
    return kept.content is not None and target.is_file() and target.read_bytes() == kept.content


def _exchange(target: Path, tree: Mapping[str, Kept], stamp: str) -> None:
    """Put a file or a folder in the place of what is there, which is kept beside it."""
    draft = target.with_name(f".{target.name}.restored")
    if draft.is_dir():
        shutil.rmtree(draft)
    draft.unlink(missing_ok=True)
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name, kept in sorted(tree.items()):
        _write(draft / name if name else draft, kept)
    # A folder's own time last, and not before what is written into it.
    for name, kept in sorted(tree.items(), reverse=True):
        os.utime(draft / name if name else draft, (kept.modified, kept.modified))
    with suppress(FileNotFoundError):
        target.rename(target.with_name(f"{target.name}.{stamp}"))
    draft.rename(target)
    sync_folder(target.parent)


def _write(path: Path, kept: Kept) -> None:
    if kept.content is None:
        path.mkdir(mode=0o700)
    else:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(kept.content)
            out.flush()
            os.fsync(out.fileno())
    shutil.chown(path, kept.owner, kept.group)
    path.chmod(kept.mode)


def _keeps_certificate(here: Path, members: Mapping[str, Kept]) -> bool:
    """Return whether the certificate that is here is the better one: not made for a trial, and valid for longer."""
    if here.with_name("authority.key").exists():
        return False
    try:
        now = x509.load_pem_x509_certificate(here.read_bytes()).not_valid_after_utc
        kept = x509.load_pem_x509_certificate(members["certificate"].content or b"").not_valid_after_utc
    except (OSError, ValueError):
        return False
    return now > kept


def _merge_trail(folder: Path, tree: Mapping[str, Kept]) -> list[str]:
    """Add the lines of the audit trail that are missing here; none is ever taken away."""
    told = []
    for name, kept in tree.items():
        if kept.content is None:
            continue
        path = folder / name
        here = path.read_bytes() if path.exists() else b""
        if not here.startswith(kept.content):
            draft = folder / f".{name}.restored"
            draft.unlink(missing_ok=True)
            _write(draft, replace(kept, content=kept.content + here))
            draft.replace(path)
            told.append(f"put back lines of {path}")
    return told


def _same_facts(here: Path, kept: Kept | None) -> bool:
    return kept is None or (kept.content or b"") == here.read_bytes()
