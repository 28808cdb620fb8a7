"""Imports jsonschema without the grammar of one format of text, which takes longer than all else of the hub's start.

JupyterHub's event log needs jsonschema, and that compiles a grammar for IRIs (RFC 3987) while it is imported: 2.2 of
3.8 s, in which a hub that is restarted answers nobody. No schema here has such a format.
"""

import importlib
import sys

_GRAMMAR = "rfc3987_syntax"

if _GRAMMAR not in sys.modules:
    sys.modules[_GRAMMAR] = None  # type: ignore[assignment] # how Python notes "can't be imported"
    try:
        importlib.import_module("jsonschema")
    finally:
        del sys.modules[_GRAMMAR]
