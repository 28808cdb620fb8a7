"""Are the versions that are installed, or that a lock would install, new enough to hold the known security fixes?

The table is `minimum_versions.yml`, with a source for each row. What is not installed needs no minimum.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml
from packaging.version import InvalidVersion, Version

TABLE = Path(__file__).with_name("minimum_versions.yml")

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


class VersionsError(Exception):
    """A lock or an environment can't be read. `str()` says what to give instead."""


@dataclass(frozen=True)
class Minimum:
    """A row of the table."""

    package: str
    minimum: str
    why: str
    source: str


def minimums(table: Path = TABLE) -> list[Minimum]:
    """Return the table."""
    return [Minimum(**row) for row in yaml.safe_load(table.read_text())]


def too_old(found: dict[str, str], where: str, rows: list[Minimum] | None = None) -> Iterator[str]:
    """Yield a sentence, with its fix, for each package that is older than its minimum.

    Parameters
    ----------
    found
        Versions by package, as from `installed` or `locked`.
    where
        What was looked at, for the sentence.
    rows
        The table; the one in the repository if none is given.
    """
    for row in minimums() if rows is None else rows:
        version = found.get(row.package)
        if version is not None and _parsed(version) < Version(row.minimum):
            yield (
                f"{where}: {row.package} {version} is older than {row.minimum}, which has security fixes ({row.why}); "
                f"install {row.minimum} or newer, see {row.source}"
            )


def _parsed(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")  # what can't be compared is taken for old: somebody should look


def installed(environment: Path | None = None) -> dict[str, str]:
    """Return what is installed in an environment of Python or node.js, or in the one that runs this.

    Parameters
    ----------
    environment
        Its folder: with lib/python3.*/site-packages, or with node_modules.

    Raises
    ------
    VersionsError
        If it is neither.
    """
    if environment is None:
        return _of(metadata.distributions())
    site_packages = sorted(map(str, environment.glob("lib/python3*/site-packages")))
    node_modules = environment / "node_modules"
    if not site_packages and not node_modules.is_dir():
        raise VersionsError(f"{environment}: holds no environment; give a folder with lib/python3.* or node_modules")
    found = _of(metadata.distributions(path=site_packages)) if site_packages else {}
    for file in [*node_modules.glob("*/package.json"), *node_modules.glob("@*/*/package.json")]:
        package = json.loads(file.read_text())
        found |= {package["name"]: package["version"]}
    return found


def _of(distributions: object) -> dict[str, str]:
    return {_name(one.metadata["Name"]): one.version for one in distributions}  # type: ignore[attr-defined]


def locked(lock: Path) -> dict[str, str]:
    """Return what a lock would install: of pip (`name==version`), or npm's package-lock.json.

    Raises
    ------
    VersionsError
        If it is neither.
    """
    try:
        text = lock.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise VersionsError(f"{lock}: can't be read ({error}); give a file of pinned requirements") from None
    if lock.suffix == ".json":
        packages = json.loads(text).get("packages", {})
        found = {path.split("node_modules/")[-1]: row["version"] for path, row in packages.items() if path}
    else:
        found = {_name(name): version for name, version in _PINNED.findall(text)}
    if not found:
        raise VersionsError(f"{lock}: pins nothing; give a file of lines such as jupyterhub==6.1.1")
    return found


def _name(name: str) -> str:
    """Return a package's name as PyPI writes it: "Jupyter_Server" is "jupyter-server"."""
    return re.sub(r"[-_.]+", "-", name).lower()
