"""Modules that are left out while others are imported that would import them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def absent(places: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Hold the places of modules for the time of the imports within; whoever imports one afterwards gets the real one.

    Parameters
    ----------
    places
        What stands in for each module; None where it is to be as if it were not installed. What is there for real
        already is not touched: somebody uses it.
    """
    held = {name: module for name, module in places.items() if name not in sys.modules}
    sys.modules.update(held)  # type: ignore[arg-type] # None is how Python notes "can't be imported"
    try:
        yield
    finally:
        for name, module in held.items():
            if sys.modules[name] is module:
                del sys.modules[name]
