"""What a job of the doctor's runs on a node: it lets the hub come in, calls it, and looks at the node.

It prints two lines of JSON: first where it listens, at once; then what it saw, when the hub has come or time is up.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import time
from typing import Any

from davide_hub.health import look

WAIT_SECONDS = 20


def main() -> None:
    """Visit."""
    plan = json.loads(base64.b64decode(sys.argv[1]))
    with socket.create_server(("", 0)) as server:
        node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        say({"node": node, "port": server.getsockname()[1], "time": time.time()})
        told = look.look(plan)
        say(told | {"visitor": visitor(server)})


def visitor(server: socket.socket) -> str:
    """Return the address of whoever comes first, after a word of welcome; nothing if nobody comes."""
    server.settimeout(WAIT_SECONDS)
    try:
        connection, address = server.accept()
    except TimeoutError:
        return ""
    with connection:
        connection.sendall(look.WORD)
    return str(address[0])


def say(told: dict[str, Any]) -> None:
    """Print something on a line of its own, at once."""
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
