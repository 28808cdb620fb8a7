"""The hub's log: one line for each message, whatever users called their servers."""

from __future__ import annotations

import copy
import logging
from typing import Any

from jupyterhub.log import CoroutineLogFormatter

from davide_hub.visible import visible


class LineFormatter(CoroutineLogFormatter):  # type: ignore[misc]
    """JupyterHub's format of the log, in which no text of users can forge a second line.

    The lines of a traceback stay lines; they are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as it is written."""
        shown = copy.copy(record)
        shown.msg, shown.args = visible(record.getMessage()), ()
        return str(super().format(shown))

    def formatException(self, exc_info: Any) -> str:  # noqa: N802 - logging's name
        """Return a traceback."""
        return visible(super().formatException(exc_info), keep="\n")
