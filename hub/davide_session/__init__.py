"""The launcher of a session: JupyterLab in a Slurm job, set up by nobody but the site."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    # Jupyter Server asks a package by this name for its extension. Imported late: reading the environment and
    # starting the hand-outs must not wait for Jupyter.
    from davide_session.server import Session

    return [{"module": "davide_session", "app": Session}]
