"""How long a hub is deaf: a client that asks it for its health every 20 ms, as a process of its own.

It asks on the hub's own host. On the way from this machine, a relay and the bridge between the hosts share their
processors with all the load, and a plain redirect of the front was once 8 s late there, while the hub was not.

`python -m bench.probe SCHEME HOST PORT` asks until its standard input ends, then prints JSON.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from davide_lab.names import context, lead_localhost_here

from bench.systems import System

_EVERY_SECONDS = 0.02
_ANSWER_SECONDS = 120


@dataclass
class Silence:
    """What the probe found.

    Attributes
    ----------
    worst
        The longest time, in seconds, that an answer was late.
    failures
        How many times there was no answer at all.
    answers
        How many there were.
    """

    worst: float = 0.0
    failures: int = 0
    answers: int = 0


@contextmanager
def probing(system: System, namespace: str = "") -> Iterator[Silence]:
    """Probe a hub as long as the block runs; what was found stands in the yielded object after it.

    Parameters
    ----------
    system
        The hub.
    namespace
        Its host's network namespace; without one it is asked from here.
    """
    found = Silence()
    address = urlsplit(system.url)
    there = ["ip", "netns", "exec", namespace] if namespace else []
    command = [*there, sys.executable, "-m", "bench.probe", address.scheme, str(address.hostname), str(address.port)]
    places = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=places) as running:
        assert running.stdout is not None
        running.stdout.readline()  # it has had its first answer
        try:
            yield found
        finally:
            told, _ = running.communicate()
            for name, value in json.loads(told).items():
                setattr(found, name, value)


def longest(times: list[float], every: float) -> float:
    """Return the longest time between two answers beyond the pause that was meant."""
    return max((after - before - every for before, after in pairwise(times)), default=0.0)


def main(scheme: str, host: str, port: int) -> None:
    """Ask until standard input ends."""
    with contextlib.suppress(PermissionError):
        # Measuring must not wait for what is measured: the client of 500 people, in the same group of processes.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    times: list[float] = []
    failures = 0
    lead_localhost_here()
    connection = _connect(scheme, host, port)
    while not over.is_set():
        try:
            connection.request("GET", "/hub/health")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                times.append(time.monotonic())
                if len(times) == 1:
                    print("asking", flush=True)
        except (OSError, http.client.HTTPException):
            failures += 1
            connection.close()
            connection = _connect(scheme, host, port)
        over.wait(_EVERY_SECONDS)
    times.append(time.monotonic())
    found: dict[str, Any] = {
        "worst": round(longest(times, _EVERY_SECONDS), 3),
        "failures": failures,
        "answers": len(times) - 1,
    }
    print(json.dumps(found))


def _connect(scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_ANSWER_SECONDS, context=context())
    return http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
