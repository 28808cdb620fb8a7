"""The hub's one connection to its database: where it is, and mended when it breaks.

An embedded SQLite is tuned so that the hub never waits for the disk; a PostgreSQL (`site.database`) sees to that.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.exc import StaleDataError

from davide_hub.facts import Database, FactsError

_log = logging.getLogger("jupyterhub.davide.database")

_CHECKPOINT_SECONDS = 60
# Should checkpoints fail, the hub makes them itself before the log has this many pages (of 4 KiB).
_MOST_PAGES = 50_000


def postgresql(database: Database, passfile: Path) -> str:
    """Return where a PostgreSQL is, in SQLAlchemy's words. The password stays in libpq's file, out of every log.

    All of it stands in this address, since JupyterHub gives no more to alembic when it changes the schema. Nothing in
    it needs to be escaped: what facts may say is plain.

    Parameters
    ----------
    database
        The site's fact.
    passfile
        The file with the password (https://www.postgresql.org/docs/current/libpq-pgpass.html).
    """
    settings = {
        "application_name": "davide-hub",
        "passfile": str(passfile),
        # The hub has one thread: a database that is away, or that somebody has locked, must not freeze it for long.
        "connect_timeout": "5",
        "tcp_user_timeout": "10000",
        "options": "-cstatement_timeout=10s+-clock_timeout=1s",
        # Of a pair, the one that takes what is written.
        "target_session_attrs": "read-write",
    }
    if database.authority:
        settings |= {"sslmode": "verify-full", "sslrootcert": database.authority}
    words = "&".join(f"{name}={value}" for name, value in settings.items())
    return f"postgresql+psycopg://{database.user}@{database.host}:{database.port}/{database.name}?{words}"


def require_driver(passfile: Path) -> None:
    """Refuse a PostgreSQL for which something is missing on this host.

    Raises
    ------
    FactsError
        If its driver can't be loaded, or the file with the password can't be read.
    """
    try:
        import_module("psycopg")
    except ImportError as error:
        raise FactsError(
            [f"site.database: the driver of PostgreSQL can't be loaded ({error}); install the system's libpq5"]
        ) from None
    try:
        passfile.read_bytes()
    except OSError as error:
        problem = f"{passfile}: {error.strerror}; write jupyterhub_database_password into a vault, and run the plays"
        raise FactsError([problem]) from None


def recover(database: Any) -> None:
    """Let a database session that broke off work again.

    JupyterHub shares one among everything it does. After a write that failed (a full disk, a lock) SQLAlchemy refuses
    all further work, also of those who only read, until somebody rolls back.
    """
    if not database.is_active:
        database.rollback()


def keep(database: Any, row: Any, **values: Any) -> None:
    """Write values into a row of the database, and commit; where that fails, undo it and raise.

    In one statement. SQLAlchemy's search for what has changed takes three times as long as the write, which counts
    where a class starts a hundred sessions in one moment. And no object is left changed and not written: the end of
    any request would roll that back, and all that the hub holds would be read anew.

    Parameters
    ----------
    database
        The session that the row belongs to.
    row
        The object; it has the values afterwards.
    values
        What to write, by the names of columns.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If it can't be written, or if the database has no such row any more.
    """
    table = row.__table__
    # With the values beside it, it is the same statement each time, which SQLAlchemy compiles once.
    statement = update(table).where(table.c.id == bindparam("which"))
    try:
        done = database.execute(statement, {"which": row.id, **values})
        if done.rowcount != 1:
            raise StaleDataError(f"{type(row).__name__} {row.id} is not in the database any more")
        database.commit()
    except SQLAlchemyError:
        database.rollback()
        raise
    for name, value in values.items():
        set_committed_value(row, name, value)


def tune(connection: Any, _record: Any) -> None:
    """Use SQLite's write-ahead log (https://www.sqlite.org/wal.html).

    A hundred starts make a thousand commits, each of which would wait for the disk while nobody is served. A power
    loss may cost the last few of them; what they told stands in the broker's ledger too, which does wait.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_MOST_PAGES}")
    # A database that somebody else has locked must not freeze the hub for longer.
    connection.execute("PRAGMA busy_timeout = 1000")


def checkpoint(path: Path) -> None:
    """Bring what stands in the write-ahead log into the database itself.

    That waits for the disk, for a second where many write, and SQLite leaves it to whichever commit makes the log too
    long. From a connection of its own it keeps no commit waiting: "passive" takes no lock that a writer needs.

    Raises
    ------
    sqlite3.Error
        If the database can't be read or written.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


class Checkpointer:
    """Makes the checkpoints of the hub's database, in a thread.

    Parameters
    ----------
    url
        Where the database is, in SQLAlchemy's words.
    """

    def __init__(self, url: str) -> None:
        found = make_url(url)
        self._path = Path(found.database) if found.drivername == "sqlite" and found.database else None

    async def run(self) -> None:
        """Make one each minute, for as long as the hub runs; for other databases than SQLite there is nothing to do."""
        while self._path is not None:
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            await self.make(self._path)

    @staticmethod
    async def make(path: Path) -> None:
        """Make one now; one that fails is in the log, and the next one brings over what it left."""
        try:
            await asyncio.to_thread(checkpoint, path)
        except sqlite3.Error as error:
            _log.warning("No checkpoint of %s: %s", path, error)
