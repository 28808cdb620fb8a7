"""Writes down the variables of a kernel before its job ends, for the kernel that comes after it.

The kernel does it itself, asked by a cell that nobody sees. Only what a new kernel can read again is kept: data, arrays
and models, but no functions and classes of the notebook, whose cells make them again, and nothing that is open.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_FOLDER = ".local/share/davide-hub/variables"
_DATA, _SCRIPT, _LIST = "variables.pickle", "restore.py", "kept.json"

# Runs in the kernel, in a namespace of its own: the notebook's is only read.
_KEEP = """
import io, json, os, pickle, tempfile, types
from pathlib import Path

class Pickler(pickle.Pickler):
    def reducer_override(self, one):
        if isinstance(one, (type, types.FunctionType)) and one.__module__ == "__main__":
            raise pickle.PicklingError("made in this notebook")
        return NotImplemented

def replace(name, data):
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, Path(folder, name))

own = get_ipython()
hidden = set(own.user_ns_hidden) | {"In", "Out", "exit", "quit", "get_ipython"}
kept, left, size = {}, [], 0
for name, value in list(own.user_ns.items()):
    if name.startswith("_") or name in hidden or isinstance(value, (types.ModuleType, type, types.FunctionType)):
        continue
    memory = io.BytesIO()
    try:
        Pickler(memory, protocol=4).dump(value)
    except Exception:
        left.append(name)
        continue
    if size + memory.tell() > most:
        left.append(name)
        continue
    size += memory.tell()
    kept[name] = memory.getvalue()
if kept:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    replace(names[0], pickle.dumps(kept, protocol=4))
    replace(names[1], restore.encode())
    replace(names[2], json.dumps({"kept": sorted(kept), "left": sorted(left)}).encode())
"""
# What a notebook runs to have them back.
_RESTORE = """\
# Gives a notebook the variables back that its last kernel had: %run this file.
import pickle as _pickle
from pathlib import Path as _Path

for _name, _data in _pickle.loads(_Path({data!r}).read_bytes()).items():
    try:
        globals()[_name] = _pickle.loads(_data)
    except Exception as _error:
        print(f"{{_name}} can't be read here: {{_error}}")
"""


def folder_for(name: str) -> Path:
    """Return where the variables of a notebook are written, by a name that its kernels share."""
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in Path(name).name)
    return Path.home() / _FOLDER / f"{readable[-60:]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def code(folder: Path, most_bytes: int) -> str:
    """Return the cell that writes variables down, all together of at most so many bytes."""
    names = (_DATA, _SCRIPT, _LIST)
    given = {
        "folder": str(folder),
        "most": most_bytes,
        "names": names,
        "restore": _RESTORE.format(data=str(folder / _DATA)),
    }
    return f"exec({_KEEP!r}, {{'get_ipython': get_ipython, **{given!r}}})"


def told(folder: Path, since: float) -> Mapping[str, Any] | None:
    """Return what was kept there, and the line that brings it back; None if nothing was since then.

    Parameters
    ----------
    since
        Seconds since 1970.
    """
    with suppress(OSError, ValueError):
        file = folder / _LIST
        if file.stat().st_mtime >= since:
            listed: dict[str, Any] = json.loads(file.read_text())
            return listed | {"line": f"%run {shlex.quote(str(folder / _SCRIPT))}"}
    return None
