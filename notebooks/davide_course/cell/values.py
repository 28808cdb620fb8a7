"""Values as files, without any format that runs code when it is read: numbers, texts, lists, dictionaries and arrays.

Not pickle: reading a pickle runs whatever it says, so a result that was copied, mailed or tampered with could act as
the user; and it ties a result to the classes of today. One `.npz` holds a tree in JSON and its arrays beside it. What
has no place there, a model for example, comes back as a text that says so: a training of hours must not be lost for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_DEEPEST = 50  # a list that holds itself has no end


class NotBroughtBack(str):
    """Stands where a value could not be brought: its text says what was there."""

    __slots__ = ()


def save(path: Path, value: Any) -> None:
    """Write a value so that readers see all of it or nothing."""
    import numpy as np

    arrays: list[Any] = []
    tree = np.frombuffer(json.dumps(_pack(value, arrays)).encode(), np.uint8)
    draft = path.with_name(f".unfinished-{path.name}")
    with draft.open("wb") as file:
        np.savez(file, allow_pickle=False, tree=tree, **{f"a{number}": array for number, array in enumerate(arrays)})
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path) -> Any:
    """Return the value that `save` wrote.

    Raises
    ------
    ValueError, OSError
        If the file is no such file.
    """
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        return _unpack(json.loads(file["tree"].tobytes()), file)


def missing(value: Any) -> list[str]:
    """Return the names of the types that could not be brought, in this value."""
    if isinstance(value, NotBroughtBack):
        return [str(value)]
    inner: Iterable[Any] = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    )
    return [one for part in inner for one in missing(part)]


def _pack(value: Any, arrays: list[Any], depth: int = 0) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if depth > _DEEPEST:
        return {"lost": "something nested too deeply"}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [_pack(one, arrays, depth + 1) for one in value]}
    # What Keras' fit returns; its model stays where it is.
    if type(value).__name__ == "History" and isinstance(getattr(value, "history", None), dict):
        value = value.history
    if isinstance(value, Mapping):
        return {"dict": [[_pack(one, arrays, depth + 1) for one in pair] for pair in value.items()]}
    return _pack_array(value, arrays)


def _pack_array(value: Any, arrays: list[Any]) -> Any:
    import numpy as np

    if not isinstance(value, np.ndarray | np.generic) and not hasattr(value, "__array__"):
        return {"lost": type(value).__name__}
    try:
        array = np.asarray(value)
        if array.dtype.kind == "V" and array.dtype.names is None:
            array = array.astype(np.float32)  # bfloat16 and its like, which numpy itself doesn't know
    except Exception:  # noqa: BLE001 - any library may stand behind __array__
        return {"lost": type(value).__name__}
    if array.dtype.hasobject:
        return {"lost": f"{type(value).__name__} of Python objects"}
    arrays.append(array)
    return {"scalar" if isinstance(value, np.generic) else "array": len(arrays) - 1}


def _unpack(tree: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, inner),) = tree.items()
    if kind == "list":
        return [_unpack(one, arrays) for one in inner]
    if kind == "tuple":
        return tuple(_unpack(one, arrays) for one in inner)
    if kind == "dict":
        return {_unpack(name, arrays): _unpack(one, arrays) for name, one in inner}
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "lost":
        return NotBroughtBack(f"<{inner}>")
    return arrays[f"a{inner}"][()] if kind == "scalar" else arrays[f"a{inner}"]
