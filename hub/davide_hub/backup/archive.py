"""The file of a backup: an ordinary tar.gz, whose first member says what belongs in it, each with its checksum."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from davide_hub.operate import OrderFailed
from davide_hub.posted import sync_folder

_MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """A file or a folder as it lay on the host.

    Attributes
    ----------
    content
        None for a folder.
    mode, owner, group, modified
        By names, since numbers differ from host to host.
    """

    content: bytes | None
    mode: int
    owner: str
    group: str
    modified: int

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        what = [self.mode, self.owner, self.group, self.modified, self.content is None]
        return hashlib.sha256(json.dumps(what).encode() + b"\n" + (self.content or b"")).hexdigest()


@dataclass(frozen=True)
class About:
    """Where a backup comes from.

    Attributes
    ----------
    site, host, made
        The address that people type, the host, and when, as ISO has it.
    jupyterhub, schema
        The version of JupyterHub, and of its tables; empty without a hub on that host.
    """

    site: str
    host: str
    made: str
    jupyterhub: str
    schema: str


def write(file: Path, about: About, members: Mapping[str, Kept]) -> None:
    """Write a backup for root alone, whole or not at all, and on the disk; raises `OrderFailed`."""
    packed = _packed(about, members)
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # 0600
    except OSError as error:
        raise OrderFailed(f"{file.parent}: {error.strerror}; give a file in a folder that you may write to") from None
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(packed)
            out.flush()
            os.fsync(out.fileno())
        read(Path(draft))
        Path(draft).replace(file)
    except OSError as error:
        raise OrderFailed(f"{file}: {error.strerror}; make room, or give a file elsewhere") from None
    finally:
        Path(draft).unlink(missing_ok=True)
    sync_folder(file.parent)


def _packed(about: About, members: Mapping[str, Kept]) -> bytes:
    digests = {name: kept.digest for name, kept in members.items()}
    manifest = json.dumps({"format": _FORMAT, "about": asdict(about), "members": digests}, indent=1).encode()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _MANIFEST, Kept(manifest, 0o600, "root", "root", 0))
        for name, kept in members.items():
            _add(tar, name, kept)
    return whole.getvalue()


def _add(tar: tarfile.TarFile, name: str, kept: Kept) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uname, entry.gname, entry.mtime = kept.mode, kept.owner, kept.group, kept.modified
    entry.type = tarfile.DIRTYPE if kept.content is None else tarfile.REGTYPE
    entry.size = len(kept.content or b"")
    tar.addfile(entry, io.BytesIO(kept.content or b""))


def read(file: Path) -> tuple[About, dict[str, Kept]]:
    """Return what a backup holds, once all of it was checked.

    Raises
    ------
    OrderFailed
        If it can't be read, is torn or damaged, or is no backup.
    """
    try:
        members = _members(file)
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise OrderFailed(f"{file} is torn, or no backup ({error}); nothing was changed: take another one") from None
    except OSError as error:
        raise OrderFailed(f"{file}: {error.strerror}; run this as root, with the file of a backup") from None
    try:
        manifest = json.loads((members.pop(_MANIFEST).content or b"").decode())
        number, about, digests = manifest["format"], About(**manifest["about"]), manifest["members"]
    except (KeyError, ValueError, TypeError):
        raise OrderFailed(f"{file} is no backup of this program's; take one that davide-hub backup wrote") from None
    if number != _FORMAT:
        raise OrderFailed(f"{file} has format {number}, this program knows {_FORMAT}: use the release that wrote it")
    if {name: kept.digest for name, kept in members.items()} != digests or not all(map(_is_within, members)):
        raise OrderFailed(f"{file} is damaged, its checksums are not right; nothing was changed: take another one")
    return about, members


def _members(file: Path) -> dict[str, Kept]:
    # To the end first: gzip's own checksum stands there, and tar would stop reading before it.
    with gzip.open(file) as packed:
        whole = packed.read()
    found = {}
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as tar:
        for entry in tar:
            source = tar.extractfile(entry) if entry.isreg() else None
            if source is None and not entry.isdir():
                raise tarfile.TarError(f"{entry.name} is neither a file nor a folder")
            content = source.read() if source else None
            found[entry.name] = Kept(content, entry.mode, entry.uname, entry.gname, int(entry.mtime))
    return found


def _is_within(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
