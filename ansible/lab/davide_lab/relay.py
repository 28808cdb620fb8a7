"""The way from this machine's browser to the hub: 127.0.0.1:8000 is passed on to the hub host.

The relay is systemd-socket-proxyd of the systemd package, which needs no systemd to be running here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess

from davide_lab.host import start_time, wait_for
from davide_lab.place import RUNTIME, read_json, write_atomically
from davide_lab.say import Problem

PORT = 8000
PROXYD = "/lib/systemd/systemd-socket-proxyd"
NOTE = RUNTIME / "relay.json"


def start(address: str, port: int) -> None:
    """Start the relay to a port of the hub host unless it runs.

    Raises
    ------
    Problem
        If another program listens on the port.
    """
    target = f"{address}:{port}"
    if is_running() and read_json(NOTE)["target"] == target:
        return
    stop()
    require_free_port()
    RUNTIME.mkdir(exist_ok=True)
    with (RUNTIME / "relay.log").open("ab") as log:
        relay = subprocess.Popen(
            [
                "systemd-socket-activate",
                f"--listen=127.0.0.1:{PORT}",
                PROXYD,
                "--connections-max=2000",
                target,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    write_atomically(NOTE, json.dumps({"pid": relay.pid, "started": start_time(relay.pid), "target": target}))
    wait_for(is_taken, f"the relay to listen on port {PORT}", 10)


def stop() -> None:
    """End the relay if it runs."""
    if is_running():
        os.kill(read_json(NOTE)["pid"], signal.SIGTERM)
        wait_for(lambda: not is_running(), "the relay to end", 10)
    NOTE.unlink(missing_ok=True)


def is_running() -> bool:
    """Say whether our relay lives."""
    noted = read_json(NOTE)
    return bool(noted) and start_time(noted["pid"]) == noted["started"]


def require_free_port() -> None:
    """Refuse to go on where somebody else has our port.

    Raises
    ------
    Problem
        If something that isn't our relay listens there.
    """
    if not is_running() and is_taken():
        raise Problem(
            f"port {PORT} of 127.0.0.1 is taken by another program; find it with "
            f"`ss -ltnp 'sport = :{PORT}'`, stop it, and run ./davide up again"
        )


def is_taken() -> bool:
    """Say whether something listens on our port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", PORT)) == 0
