"""What the versions of an environment take of the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Version:
    """One version of an environment: a folder, or an image."""

    path: Path
    bytes: int
    current: bool


def installed_versions(link: Path) -> list[Version]:
    """Return the versions behind a link, the one in use first.

    Parameters
    ----------
    link
        The name without a version. It leads to the version in use; the others lie beside it as NAME-VERSION.
    """
    current = link.resolve()
    found = [path for path in link.parent.glob(f"{link.name}-*") if _is_version(path.name, link.name)]
    every = {path.resolve() for path in found} | ({current} if current.exists() else set())
    return sorted(
        (Version(path, _bytes(path), path == current) for path in every),
        key=lambda one: (not one.current, one.path.name),
    )


def _is_version(name: str, environment: str) -> bool:
    # "kernel-tf-cuda-pascal-volta" begins like a version of "kernel-tf-cuda".
    return "-" not in name.removeprefix(f"{environment}-") and not name.endswith(".cache")


def _bytes(path: Path) -> int:
    # As `du` counts: blocks, and a file with two names once.
    seen = {(one.st_dev, one.st_ino): one.st_blocks * 512 for one in _entries(path)}
    return sum(seen.values())


def _entries(path: Path) -> Iterator[os.stat_result]:
    yield path.lstat()
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            yield from (os.lstat(f"{folder}/{name}") for name in (*folders, *files))
