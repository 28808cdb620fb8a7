"""Imports jsonschema without the grammar of one format of text, which takes longer than all else of the hub's start.

JupyterHub's event log needs jsonschema, and that compiles a grammar for IRIs (RFC 3987) while it is imported: 2.2 of
3.8 s, in which a hub that is restarted answers nobody. No schema here has such a format.
"""

import importlib

from davide_hub.absent import absent

with absent({"rfc3987_syntax": None}):
    importlib.import_module("jsonschema")
