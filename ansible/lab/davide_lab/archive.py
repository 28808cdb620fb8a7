"""`./davide bundle SITE`: a site's offline bundle as one file, to be carried where there is no internet.

Its name ends in the first letters of its manifest's digest; the manifest holds every other file's. The hosts check
both when they unpack it (role `bundle`).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_lab.base import is_root, make_base
from davide_lab.bundle import ARCHITECTURE, BUNDLE_PACKAGES, folder_for, is_local, make_bundle, sources
from davide_lab.contents import as_json, contents
from davide_lab.place import RELEASES, site_facts
from davide_lab.place import release as release_of_hosts
from davide_lab.say import Problem, line, step
from davide_lab.toolbox import cache_dir, install_packages
from davide_lab.up import alone_where_local

USUAL_RELEASE = "bookworm"
MANIFEST, CONTENTS = "manifest.json", "contents.json"


@dataclass(frozen=True)
class Archive:
    """A bundle in one file.

    Attributes
    ----------
    file
        Where it lies.
    manifest
        What it holds: release, architecture and Python that it is for, environments, digests.
    identity
        The digest of the manifest as it stands in the file.
    text
        The manifest as it stands in the file.
    """

    file: Path
    manifest: dict[str, Any]
    identity: str
    text: str


def require_buildable(root: Path, site: Path) -> None:
    """Refuse a site for whose nodes nothing can be bundled here.

    Raises
    ------
    Problem
        With each partition that is the reason.
    """
    others = {
        one["name"]: one["architecture"]
        for one in site_facts(root, site)["slurm"]["partitions"]
        if one.get("architecture", ARCHITECTURE) != ARCHITECTURE
    }
    if others:
        named = ", ".join(f"{name} ({architecture})" for name, architecture in others.items())
        raise Problem(
            f"no bundle for {site.name}: partition {named} needs a session environment for another architecture than "
            f"{ARCHITECTURE}, and the locks in hub/locks name wheels for that alone; build the environments on a "
            "node of that architecture, see kernels/README.md"
        )


def usual_release(root: Path, site: Path) -> str:
    """Return the Debian release that a site's bundle is for, where nobody says: the local cluster's, or Debian 12."""
    return release_of_hosts() if is_local(root, site) else USUAL_RELEASE


def make_archive(root: Path, site: Path, release: str, out: Path | None = None) -> Archive:
    """Make a site's bundle, as far as it isn't up to date, and one file of it.

    Parameters
    ----------
    root
        The checkout.
    site
        Folder of the site's inventory.
    release
        Debian release of the site's hosts.
    out
        The file; by default one in the cache, where the same content has the same name.
    """
    require_buildable(root, site)
    if not is_root():
        raise Problem("packages are resolved against a fresh system, which takes root to make; run it as root")
    install_packages(BUNDLE_PACKAGES, {})
    make_base(release)
    manifest = make_bundle(root, release, site)
    folder = folder_for(root, release, site)
    pieces = as_json(contents(folder))
    manifest["files"][CONTENTS] = hashlib.sha256(pieces.encode()).hexdigest()
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    identity = hashlib.sha256(text.encode()).hexdigest()
    to = out or cache_dir() / "archives" / name_of(site, manifest, identity)
    if not (to.exists() and read_archive(to).identity == identity):
        to.parent.mkdir(parents=True, exist_ok=True)
        unfinished = to.with_name(f".{to.name}.unfinished")
        pack(folder, manifest, {MANIFEST: text, CONTENTS: pieces}, unfinished)
        unfinished.rename(to)
    return Archive(to, manifest, identity, text)


def name_of(site: Path, manifest: dict[str, Any], identity: str) -> str:
    """Return how the file is called: what it is for, and which one it is."""
    about = "-".join(manifest[key] for key in ("release", "architecture", "python"))
    return f"davide-{site.name}-{about}-{identity[:12]}.tar"


def pack(folder: Path, manifest: dict[str, Any], texts: dict[str, str], to: Path) -> None:
    """Write a tar file of what a manifest names; wheels and packages are compressed already."""
    with tarfile.open(to, "w") as file:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            file.addfile(member, io.BytesIO(text.encode()))
        for name in sorted(set(manifest["files"]) - set(texts)):
            file.add(folder / name, name, filter=plain)


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member of a tar file without whose it was and when."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def read_archive(file: Path) -> Archive:
    """Return what a file says of itself; what else is in it, the hosts check.

    Raises
    ------
    Problem
        If it is no bundle.
    """
    try:
        with tarfile.open(file, "r:") as opened:
            first = opened.next()
            content = opened.extractfile(first) if first and first.name == MANIFEST else None
            if content is None:
                raise Problem(f"{file} is no bundle of this project; make one with ./davide bundle SITE")
            text = content.read().decode()
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise Problem(f"{file} can't be read as a bundle ({error}); make one with ./davide bundle SITE") from None
    return Archive(file, json.loads(text), hashlib.sha256(text.encode()).hexdigest(), text)


def require_ours(root: Path, archive: Archive) -> None:
    """Refuse a bundle that these plays were not made for.

    Raises
    ------
    Problem
        If it was made from other sources.
    """
    if archive.manifest.get("sources") != sources(root):
        raise Problem(
            f"{archive.file} was made from another version of the project than this checkout; use the checkout that it "
            "was made from, or make another one with ./davide bundle SITE"
        )


def bundle(root: Path, site: Path, release: str | None, out: Path | None) -> int:
    """Make the file, and tell what is in it."""
    release = release or usual_release(root, site)
    with alone_where_local(root, site):
        made = make_archive(root, site, release, out)
    size = made.file.stat().st_size / 1e6
    with tarfile.open(made.file) as file:
        pieces = json.loads((file.extractfile(CONTENTS) or io.BytesIO(b"[]")).read())
    line(f"{made.file}: {size:.0f} MB, for Debian {release} on {ARCHITECTURE} with {RELEASES[release]}")
    for part in dict.fromkeys(one["part"] for one in pieces):
        step(f"{part}: {sum(one['part'] == part for one in pieces)} packages")
    step(f"names, versions and licences: {CONTENTS} in it; digest of its manifest: {made.identity}")
    line(f"Install it with: ./davide deploy {site.name} --bundle {made.file}")
    return 0
