"""Prints a consistent copy of an SQLite database, while others write to it: a line of JSON, and the file.

Run as a program of its own, by the account that owns the database: root opens no file whose content, or whose place
in the hub's folder, somebody who took the hub could have chosen. Needs the standard library alone.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def main(path: str) -> None:
    """Print the copy."""
    source = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    with closing(source), closing(sqlite3.connect(":memory:")) as copy:
        # In one step: what is committed at that moment, and nothing half-done.
        source.backup(copy)
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            sys.exit(f"{path} is damaged: {found}")
        (schema,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
        sys.stdout.buffer.write(json.dumps({"schema": schema}).encode() + b"\n" + copy.serialize())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except sqlite3.Error as error:
        sys.exit(f"{sys.argv[1]}: {error}")
