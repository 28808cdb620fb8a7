"""Bring the hub's database to the schema that a JupyterHub wants: schema.py DATABASE KEPT [REVISION].

Run by the Python of an environment with JupyterHub, and with nothing of ours: it is also what brings a database back
when the release of that environment is broken. Without REVISION it is the newest that this JupyterHub knows, for an
upgrade; with one, it is that of an older release. The hub is stopped, the database copied to the folder KEPT, and what
changes is another copy, which takes its place when it is whole. It prints what it did; nothing, if nothing was to do.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from jupyterhub.dbutil import write_alembic_ini

_KEPT = 10


def main() -> int:
    """Do it; return the exit status."""
    database, kept = Path(sys.argv[1]), Path(sys.argv[2])
    if not database.exists():
        return 0  # the hub makes one as it wants it
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / database.name
        config = _config(Path(scratch), copy)
        known = ScriptDirectory.from_config(config)
        here, wanted = revision_of(database), sys.argv[3] if len(sys.argv) > 3 else known.get_current_head()
        if here == wanted:
            return 0
        if wrong := obstacle(known, here, wanted):
            print(f"{database}: {wrong}", file=sys.stderr)
            return 1
        subprocess.run(["systemctl", "stop", "jupyterhub"], check=True)
        saved = keep(database, kept, here)
        copy_of(database, copy)
        change = command.upgrade if len(sys.argv) <= 3 else command.downgrade
        change(config, wanted)
        replace(copy, database)
    print(f"the database's schema was {here} and is {wanted}; as it was: {saved}")
    return 0


def _config(scratch: Path, database: Path) -> Config:
    ini = scratch / "alembic.ini"
    write_alembic_ini(str(ini), f"sqlite:///{database}")
    return Config(str(ini))


def revision_of(database: Path) -> str:
    """Return the revision of a database's schema; nothing for one without."""
    with closing(sqlite3.connect(database)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return ""
    return str(row[0]) if row else ""


def obstacle(known: ScriptDirectory, here: str, wanted: str) -> str:
    """Return why there is no way from one schema to another, or nothing."""
    revisions = {script.revision for script in known.walk_revisions()}
    if not here:
        return "it has no schema that JupyterHub has noted; is it JupyterHub's?"
    if here not in revisions:
        return (
            f"its schema {here} is of a newer JupyterHub than this release's; ./davide rollback SITE goes back to an "
            "earlier release with its database"
        )
    return "" if wanted in revisions else f"this JupyterHub knows no schema {wanted}"


def keep(database: Path, folder: Path, revision: str) -> Path:
    """Keep the database as it is, and the latest ones that were kept before; return where it lies."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    to = folder / f"{database.name}.{revision}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    copy_of(database, to)
    for old in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        old.unlink()
    return to


def copy_of(database: Path, to: Path) -> None:
    """Copy a database with what stands in its write-ahead log, and make sure that the copy is whole."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        target.execute("PRAGMA synchronous = OFF")  # once at the end is enough
        source.backup(target)
        (told,) = target.execute("PRAGMA integrity_check").fetchone()
    if told != "ok":
        raise OSError(None, f"not whole ({told}); the hub's own is unchanged", str(database))
    to.chmod(0o600)
    _to_disk(to)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def replace(made: Path, database: Path) -> None:
    """Put a database in the place of another, with its owner and rights."""
    beside = database.with_name(f"{database.name}.new")
    shutil.copyfile(made, beside)
    before = database.stat()
    os.chown(beside, before.st_uid, before.st_gid)
    beside.chmod(before.st_mode & 0o777)
    _to_disk(beside)
    for log in ("-wal", "-shm"):
        database.with_name(database.name + log).unlink(missing_ok=True)
    beside.replace(database)


if __name__ == "__main__":
    sys.exit(main())
