"""All attacks of the suite: the rows of every `rows_*.py` beside this file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from attacks.attack import AREAS, Attack

_MODULES = sorted(path.stem for path in Path(__file__).parent.glob("rows_*.py"))
ROWS: tuple[Attack, ...] = tuple(
    sorted(
        (row for name in _MODULES for row in import_module(f"attacks.{name}").ROWS),
        key=lambda row: AREAS.index(row.area) if row.area in AREAS else len(AREAS),
    )
)
