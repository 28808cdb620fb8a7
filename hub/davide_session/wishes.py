"""What a notebook asks for: its metadata say it, so that it goes where the notebook goes.

    "metadata": {"davide": {"gpus": 2}}

A number of GPUs of its own (0 for none), or "share" for one that others may use as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SHARE = "share"


@dataclass(frozen=True)
class Wish:
    """How many GPUs of its own a kernel wants, or one that others may use as well."""

    count: int = 1
    shared: bool = False


def wish_of(notebook: Path) -> Wish:
    """Return what a notebook asks for: one GPU of its own, if it says nothing that can be understood.

    Nothing here is an error: whatever is wrong with a notebook, JupyterLab tells, and the GPUs are shown beside it.
    """
    if notebook.suffix != ".ipynb":
        return Wish()
    try:
        document = json.loads(notebook.read_bytes())
        said = document["metadata"]["davide"]["gpus"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return Wish()
    if said == SHARE:
        return Wish(shared=True)
    is_number = isinstance(said, int) and not isinstance(said, bool) and said >= 0
    return Wish(said) if is_number else Wish()
