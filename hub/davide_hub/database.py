"""The hub's one connection to its database, after writing has failed."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import SQLAlchemyError


def recover(database: Any) -> None:
    """Let a database session that broke off work again.

    JupyterHub shares one among everything it does. After a write that failed (a full disk, a lock) SQLAlchemy refuses
    all further work, also of those who only read, until somebody rolls back.
    """
    if not database.is_active:
        database.rollback()


def commit(database: Any) -> None:
    """Write down what has changed; where that fails, leave a database that others can go on with, and raise."""
    try:
        database.commit()
    except SQLAlchemyError:
        database.rollback()
        raise
