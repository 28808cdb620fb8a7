"""The offline bundle: all that a site's hosts install from, since they reach no registry. `archive` packs it.

Parts are made beside their final place and renamed, each has a stamp of what it was made from, and the manifest
comes last: after a kill at any instant the next run goes on with the part that was not finished.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from davide_lab import npm
from davide_lab.base import base_dir
from davide_lab.place import RELEASES, bundle_dir, inventory, remove_tree, site_facts, write_atomically
from davide_lab.run import run
from davide_lab.say import Problem, minutes, step
from davide_lab.toolbox import cache_dir

PLATFORMS = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_26",
    "manylinux_2_24",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux_2_12",
    "manylinux2010",
    "manylinux_2_5",
    "manylinux1",
    "linux",
)
ARCHITECTURE = "x86_64"
# What a machine needs on which a bundle is made.
BUNDLE_PACKAGES = ["apt-utils", "debootstrap", "debian-archive-keyring"]
RETRY = "If a registry was out of reach, check the network and run the same command again, it goes on from here"
# They make the hosts of the local cluster; another site has its own.
ROLES_OF_THE_LOCAL_CLUSTER = {"accounts", "common", "slurm", "slurm_controller", "slurm_node"}
# What plays are made of, beside what a bundle carries: a bundle is installed by the plays that it was made with.
SOURCES = ("hub", "notebooks", "kernels", "spawner_templates", "ansible/roles")


def make_bundle(root: Path, release: str, site: Path | None = None) -> dict[str, Any]:
    """Make the bundle for a release, as far as it isn't up to date, and return its manifest.

    Parameters
    ----------
    root
        The checkout.
    release
        Debian release of the hosts.
    site
        Folder of the site's inventory; the local cluster's by default.

    Raises
    ------
    Problem
        If a registry is out of reach or a lock doesn't fit the release.
    """
    site = site or inventory(root)
    bundle = folder_for(root, release, site)
    bundle.mkdir(parents=True, exist_ok=True)
    locks = lock_files(root, RELEASES[release], site)
    packages = deb_packages(root, set() if is_local(root, site) else ROLES_OF_THE_LOCAL_CLUSTER)
    parts: list[tuple[str, str, Callable[[Path], None]]] = [
        (
            "debs",
            stamp_of(packages, release, base_identity(release)),
            lambda to: fetch_debs(packages, release, to),
        ),
        (
            "proxy",
            stamp_of(*(path.read_text() for path in proxy_lock(root))),
            lambda to: fetch_proxy(root, to),
        ),
        *(
            (f"wheels-{name}", stamp_of(lock.read_text()), wheel_fetcher(lock, RELEASES[release]))
            for name, lock in locks.items()
        ),
    ]
    with ThreadPoolExecutor(max_workers=3) as pool:
        list(pool.map(lambda part: make_part(bundle, *part), parts))
    for name, sources in own_packages(root).items():
        make_part(bundle, f"own-{name}", stamp_of(tree_digest(sources)), partial(build_wheel, sources))
    make_part(bundle, "tool-uv", stamp_of(uv_binary().stat().st_size), partial(copy_into, uv_binary()))
    wanted = {name for name, _, _ in parts} | {f"own-{name}" for name in own_packages(root)} | {"tool-uv"}
    for stale in (path for path in bundle.iterdir() if path.is_dir() and path.name not in wanted):
        remove_tree(stale)
    manifest = describe(bundle, root, release, locks)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    if not (bundle / "manifest.json").exists() or (bundle / "manifest.json").read_text() != text:
        write_atomically(bundle / "manifest.json", text)
    return manifest


def is_local(root: Path, site: Path) -> bool:
    """Say whether an inventory is the local cluster's."""
    return site.resolve() == inventory(root).resolve()


def folder_for(root: Path, release: str, site: Path) -> Path:
    """Return the folder of the bundle of a site, whose kernels differ from another's."""
    folder = bundle_dir(release)
    return folder if is_local(root, site) else folder.with_name(f"{folder.name}-{site.name}")


def make_part(bundle: Path, name: str, stamp: str, make: Callable[[Path], None]) -> None:
    """Make one folder of the bundle unless its stamp says that it is what we want."""
    final = bundle / name
    noted = final / ".stamp"
    if noted.exists() and noted.read_text() == stamp:
        return
    start = time.monotonic()
    unfinished = bundle / f".{name}.unfinished"
    remove_tree(unfinished)
    unfinished.mkdir()
    make(unfinished)
    files = {
        str(path.relative_to(unfinished)): digest(path) for path in sorted(unfinished.rglob("*")) if path.is_file()
    }
    write_atomically(unfinished / ".files.json", json.dumps(files))
    write_atomically(unfinished / ".stamp", stamp)
    remove_tree(final)
    unfinished.rename(final)
    size = sum(path.stat().st_size for path in final.rglob("*") if path.is_file()) / 1e6
    step(f"bundle: {name}, {len(files)} files, {size:.0f} MB, {minutes(time.monotonic() - start)}")


def lock_files(root: Path, python: str, site: Path | None = None) -> dict[str, Path]:
    """Return the lock of each environment for a Python: `{"hub": ..., "session": ..., "kernel-tf-cpu": ...}`."""
    found = {name: root / "hub" / "locks" / f"{name}.{python}.lock" for name in ("hub", "session")}
    for kernel in site_facts(root, site)["kernels"]:  # the other recipes' wheels are gigabytes
        lock = root / "kernels" / kernel / f"requirements.{python}.lock"
        if lock.exists():  # recipes from site modules or images need no wheels
            found[f"kernel-{kernel}"] = lock
    return found


def own_packages(root: Path) -> dict[str, Path]:
    """Return the folders of our own distributions."""
    return {"davide-hub": root / "hub", "davide-course": root / "notebooks"}


def own_of(environment: str) -> list[str]:
    """Return which of our distributions go into an environment."""
    if environment == "hub":
        return ["davide-hub"]
    if environment == "session":
        return ["davide-hub", "davide-course"]
    return ["davide-course"]


def deb_packages(root: Path, without: Set[str] = frozenset()) -> list[str]:
    """Return the packages that roles install, but for some: every list `<role>_packages` in their defaults."""
    names: set[str] = set()
    for defaults in (root / "ansible" / "roles").glob("*/defaults/main.yml"):
        if defaults.parts[-3] in without:
            continue
        facts = yaml.safe_load(defaults.read_text()) or {}
        for key, value in facts.items():
            if key.endswith("_packages"):
                names |= set(value)
    return sorted(names)


def fetch_debs(names: list[str], release: str, to: Path) -> None:
    """Download packages, and what the base system lacks of those they need, as an apt repository."""
    with tempfile.TemporaryDirectory(prefix="davide-apt-") as scratch:
        place = Path(scratch)
        for folder in ("lists/partial", "archives/partial", "empty"):
            (place / folder).mkdir(parents=True)
        (place / "sources.list").write_text(apt_sources(release))
        options = {
            "Dir::State::status": base_dir(release) / "var/lib/dpkg/status",
            "Dir::State::lists": place / "lists",
            "Dir::State::extended_states": place / "extended_states",
            "Dir::Cache": place,
            "Dir::Cache::archives": place / "archives",
            "Dir::Etc::sourcelist": place / "sources.list",
            "Dir::Etc::sourceparts": place / "empty",
            "Dir::Etc::preferencesparts": place / "empty",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "APT::Update::Post-Invoke-Success": "",
            "DPkg::Post-Invoke": "",
        }
        apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
        run([*apt, "update"], hint=RETRY)
        run([*apt, "install", "--download-only", "--yes", *names], hint=RETRY)
        for deb in (place / "archives").glob("*.deb"):
            shutil.move(deb, to / deb.name.replace("%3a", "_"))
    write_atomically(to / "Packages", run(["apt-ftparchive", "packages", "."], cwd=to))


def apt_sources(release: str) -> str:
    """Return apt's sources for a release, on the mirrors that this machine's apt uses."""
    texts = [path.read_text() for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))]
    if Path("/etc/apt/sources.list").exists():
        texts.append(Path("/etc/apt/sources.list").read_text())
    mirrors = dict.fromkeys(
        found for text in texts for found in re.findall(r"\S+://\S+?/debian(?:-security)?(?=/?\s)", text)
    )
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    rows = []
    for mirror in mirrors:
        suites = [f"{release}-security"] if mirror.endswith("-security") else [release, f"{release}-updates"]
        rows += [f"deb {signed} {mirror} {suite} main\n" for suite in suites]
    if not rows:
        raise Problem("found no Debian mirror in apt's sources on this machine; add one to /etc/apt/sources.list.d")
    return "".join(rows)


def wheel_fetcher(lock: Path, python: str) -> Callable[[Path], None]:
    """Return the function that downloads the wheels of a lock, each checked against its hash."""

    def fetch(to: Path) -> None:
        version = f"{python[2]}.{python[3:]}"
        abis = [option for abi in (f"cp{python[2:]}", "abi3", "none") for option in ("--abi", abi)]
        platforms = [option for tag in PLATFORMS for option in ("--platform", f"{tag}_{ARCHITECTURE}")]
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "--quiet",
                "--disable-pip-version-check",
                "download",
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
                "--implementation=cp",
                f"--python-version={version}",
                *abis,
                *platforms,
                f"--cache-dir={cache_dir() / 'pip'}",
                "-d",
                to,
                "-r",
                lock,
            ],
            hint=RETRY,
        )
        shutil.copy(lock, to / "requirements.lock")

    return fetch


def proxy_lock(root: Path) -> tuple[Path, Path]:
    """Return the package.json and package-lock.json of configurable-http-proxy."""
    return (
        root / "hub" / "locks" / "proxy" / "package.json",
        root / "hub" / "locks" / "proxy" / "package-lock.json",
    )


def fetch_proxy(root: Path, to: Path) -> None:
    """Install configurable-http-proxy with what it needs, checked against its lock, as one archive."""
    with tempfile.TemporaryDirectory(prefix="davide-npm-") as scratch:
        npm.install(proxy_lock(root)[0].parent, Path(scratch))
        run(
            [
                "tar",
                "--create",
                "--gzip",
                "--sort=name",
                "--owner=0",
                "--group=0",
                "--mtime=@0",
                f"--file={to / 'configurable-http-proxy.tar.gz'}",
                f"--directory={scratch}",
                "node_modules",
            ]
        )


def build_wheel(source: Path, to: Path) -> None:
    """Build one of our own distributions."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", to], cwd=source)


def uv_binary() -> Path:
    """Return uv's program in the tool environment."""
    return Path(sys.executable).parent / "uv"


def copy_into(source: Path, to: Path) -> None:
    """Copy a program into a part."""
    shutil.copy2(source, to / source.name)


def describe(bundle: Path, root: Path, release: str, locks: dict[str, Path]) -> dict[str, Any]:
    """Return the manifest: per environment its version and what it is installed from, and every file's sha256."""
    own = {name: next((bundle / f"own-{name}").glob("*.whl")) for name in own_packages(root)}
    environments = {}
    for name, lock in locks.items():
        wheels = [own[distribution] for distribution in own_of(name)]
        environments[name] = {
            "version": stamp_of(RELEASES[release], lock.read_text(), *(digest(wheel) for wheel in wheels))[:12],
            "folder": f"wheels-{name}",
            "own": [str(wheel.relative_to(bundle)) for wheel in wheels],
        }
    files = {
        f"{part.parent.name}/{name}": value
        for part in sorted(bundle.glob("*/.files.json"))
        for name, value in json.loads(part.read_text()).items()
    }
    return {
        "release": release,
        "architecture": ARCHITECTURE,
        "python": RELEASES[release],
        "sources": sources(root),
        "environments": environments,
        "files": files,
    }


def base_identity(release: str) -> str:
    """Return what tells one base system from another: packages are resolved against exactly this one."""
    return (base_dir(release) / "etc/davide-base-id").read_text()


def stamp_of(*content: object) -> str:
    """Return a digest of what a part is made from."""
    return hashlib.sha256(repr(content).encode()).hexdigest()


def tree_digest(folder: Path) -> list[tuple[str, str]]:
    """Return name and digest of each source file of one of our distributions."""
    return [
        (str(path.relative_to(folder)), digest(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"__pycache__", "locks", "lessons", "dist"} & set(path.parts)
    ]


def sources(root: Path) -> str:
    """Return a digest of what the plays of this checkout are made of."""
    return stamp_of(*(tree_digest(root / folder) for folder in SOURCES))[:12]


def digest(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
