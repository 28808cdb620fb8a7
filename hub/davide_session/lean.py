"""Importing the server without what a session never uses: that was two thirds of its start.

Most of it is the hub's own side (its database, its pages), which JupyterHub's single-user extension imports for the
sake of two names. While the server is being imported, stand-ins hold the places of such modules; afterwards they are
gone, and whoever imports one of them gets the real one. Versions are locked, and tests/unit/test_session_lean.py
notices when a name has moved.
"""

from __future__ import annotations

import importlib
import re
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import jupyterhub
from davide_hub.absent import absent

from davide_session.hub_client import fetch


def _without_counting(_handler: object) -> None:
    """Do what the hub's metrics do in a session: nothing that anybody reads."""


_STAND_INS: dict[str, dict[str, object]] = {
    # The package imports stock's other single-user application; of it, only the extension is needed.
    "jupyterhub.singleuser": {},
    # jupyterhub.log asks whether a handler is this one, so as to log health checks quietly.
    "jupyterhub.handlers": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": type("HealthCheckHandler", (), {})},
    "jupyterhub.metrics": {"prometheus_log_method": _without_counting},
    # jupyterhub.scopes compares scopes as a session needs it, and looks things up in the database as the hub does.
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "sqlalchemy": {},
    "sqlalchemy.exc": {"SQLAlchemyError": type("SQLAlchemyError", (Exception,), {})},
    "jupyterhub.httpclient": {"fetch": fetch},
    "aiohttp": {},  # for jupyterhub.utils, whose only use of it is the hub's waiting for a server
    # The manager that installs extensions from the internet; ours is "readonly".
    "jupyterlab.extensions.pypi": {"PyPIExtensionManager": None},
    "requests": {},  # for JupyterLab's lists of blocked and allowed extensions; there are none
    # A pattern of 17 ms for names in templates with letters that \w lacks; no template of Jupyter's has one.
    "jinja2._identifier": {"pattern": re.compile(r"\w+")},
}

# jsonschema tries these for formats of text that no schema here has. rfc3987_syntax alone compiles a grammar for 1 s.
_NOT_INSTALLED = ("fqdn", "isoduration", "rfc3986_validator", "rfc3987_syntax", "uri_template", "webcolors")


def lean_imports() -> AbstractContextManager[None]:
    """Hold the places of modules that a session never uses, for the time of the imports within."""
    places: dict[str, ModuleType | None] = dict.fromkeys(_NOT_INSTALLED)
    return absent(places | {name: _stand_in(name, names) for name, names in _STAND_INS.items()})


def import_jupyterlab() -> None:
    """Import JupyterLab without letting it ask node.js for its settings: 0.3 s where a node has node.js.

    It wants to know from where packages for a build would be downloaded. A session builds nothing.
    """
    commands: Any = importlib.import_module("jupyterlab.commands")
    commands._yarn_config = lambda _logger: {"yarn config": {}, "npm config": {}}
    importlib.import_module("jupyterlab.labapp")


def _stand_in(name: str, names: dict[str, object]) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(names)
    if name == "jupyterhub.singleuser":
        # Its modules are to be found, without running the package's own code.
        module.__path__ = [f"{folder}/singleuser" for folder in jupyterhub.__path__]
    return module
