"""The parent of warm kernels: `launch warm.py DESCRIPTOR MODULE`, started by a session (hub/davide_session/warm.py).

It imports the module and ipykernel once, which takes seconds, and forks for each kernel, which takes milliseconds. A
child goes on as if `launch ARGUMENTS...` had been run for it. The descriptor is a Unix socket: "ready" comes from here,
and orders come back, each with a socket of the child's own, on which it says that it runs. What can't be served closes
that socket without a word, and the session starts the kernel as ever. It needs nothing but the kernel's Python.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # The folder of this file, which `python FILE` puts first: its files are no modules.
    sys.path.pop(0)

import gc
import importlib
import json
import os
import re
import runpy
import signal
import socket
import threading
import warnings
from pathlib import Path
from typing import Any

READY = b"ready"
# What a library reads while it is imported, or once in a process: set later it counts for nothing, and nobody says so.
# Not among them: what TensorFlow reads when it first computes.
_COUNTS_AT_IMPORT = (
    r"\b(?:TF_(?!CONFIG\b|FORCE_GPU_ALLOW_GROWTH\b)|CUDA_(?!VISIBLE_DEVICES\b)"
    r"|(?:CUDNN|GOMP|KERAS|KMP|MKL|NUMEXPR|NVIDIA|OMP|OPENBLAS|XLA)_|MPL)\w+"
)
# A line of a notebook that sets a variable, in Python or as a magic.
_SETS = re.compile(rf"(?:environ|putenv|%env|%set_env).*?({_COUNTS_AT_IMPORT})")
_EXTENSION = "davide_warm"
# Larger than any order: the variables of a kernel that differ from its parent's, and its arguments.
_ORDER_BYTES = 1 << 16


class NotWarm(Exception):  # noqa: N818 - no fault: the session starts this one as ever
    """Why there can be no warm kernel, in words for the log."""


def prepare(module: str) -> None:
    """Import what takes long, and leave a process that may be forked at any time.

    The process that was started ends here, and a child goes on: numpy's and scipy's OpenBLAS keep threads, which do
    not come along, and which it makes anew where they are needed. Of what else has threads nobody knows that.
    """
    # Keras brings matplotlib, which reads it while it is imported. ipykernel would set it too, and too late.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in (module, "ipykernel.kernelapp"):
        importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        if os.fork():
            os._exit(0)
    if (threads := len(os.listdir("/proc/self/task"))) > 1:  # noqa: PTH208
        raise NotWarm(f"{threads} threads run after the imports; a fork would lose them")
    if any(file.startswith("/dev/nvidia") for file in _open_files()):
        raise NotWarm("the imports have opened a GPU; a fork can't use it")
    # What is there is shared by all children as long as nobody writes to it: not even the search for garbage does.
    gc.collect()
    gc.freeze()


def _open_files() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
        except OSError:
            continue  # the list's own
    return found


def serve(control: socket.socket) -> tuple[dict[str, Any], socket.socket]:
    """Fork for each order; return in the children, with the order and the child's socket.

    The parent itself ends when the session does, and its children do not end with it.
    """
    # Children that end are nobody's business here: the session sees for itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _ORDER_BYTES, 1)
        if not message:
            sys.exit(0)
        with socket.socket(fileno=descriptors[0]) as life:
            order = json.loads(message)
            try:
                check(order)
                if os.fork() == 0:
                    control.close()
                    return order, life.dup()
            except (NotWarm, OSError) as reason:
                print(f"{order['name']} starts without warmth: {reason}", file=sys.stderr, flush=True)


def check(order: dict[str, Any]) -> None:
    """Refuse a kernel for which variables count that came too late for the imports.

    Raises
    ------
    NotWarm
        With the reason.
    """
    if Path(order["cold"]).exists():
        raise NotWarm("a cell has set a variable that counts at import only")
    try:
        source = Path(order["notebook"]).read_text(errors="replace")
    except OSError:
        return  # none, or one that is not saved yet
    if found := _SETS.search(source):
        raise NotWarm(f"its notebook sets {found[1]}, which counts at import only")


def become(order: dict[str, Any], life: socket.socket) -> None:
    """Turn a child into what was ordered: a process of its own, with folder and variables as at a start."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name, value in order["variables"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.chdir(order["folder"])
    os.environ["PWD"] = order["folder"]  # as bash does
    # All children would draw the same numbers. Python's own generator sees to itself.
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
    life.send(str(os.getpid()).encode())
    threading.Thread(target=_end_with_session, args=(life,), daemon=True).start()


def _end_with_session(life: socket.socket) -> None:
    life.recv(1)
    os._exit(1)


def run(arguments: list[str], cold: str) -> None:
    """Do what `python ARGUMENTS...` does, with a file or `-m MODULE`."""
    if arguments[0] != "-m":
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        return

    def load(shell: Any) -> None:
        Watch(cold).follow(shell)
        sys.argv.pop()  # what follows is no argument of the user's

    extension: Any = type(sys)(_EXTENSION)
    extension.load_ipython_extension = load
    sys.modules[_EXTENSION] = extension
    sys.argv = [*arguments[1:], f"--IPKernelApp.extra_extensions={_EXTENSION}"]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


class Watch:
    """Tells the user of a variable that a cell has set too late; after a restart it will count.

    Parameters
    ----------
    cold
        The file that says so to the parent.
    """

    def __init__(self, cold: str) -> None:
        self._cold, self._known = Path(cold), _counting()

    def follow(self, shell: Any) -> None:
        """Look at the variables after each cell."""
        shell.events.register("post_run_cell", self._look)

    def _look(self, _result: object = None) -> None:
        now = _counting()
        changed = [name for name in now.keys() | self._known.keys() if now.get(name) != self._known.get(name)]
        self._known = now
        if changed:
            self._cold.touch()
            print(
                f"{', '.join(sorted(changed))}: counts only when libraries are imported, and this kernel began with"
                " TensorFlow imported. Restart the kernel: from then on it starts without.",
                file=sys.stderr,
            )


def _counting() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if re.fullmatch(_COUNTS_AT_IMPORT, name)}


def main() -> None:
    """Be the parent; and in each child, what it was forked for."""
    descriptor, module = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    try:
        prepare(module)
    except NotWarm as reason:
        sys.exit(f"kernels start without warmth: {reason}")
    order, life = serve(control)
    become(order, life)
    run(order["arguments"], order["cold"])


if __name__ == "__main__":
    main()
