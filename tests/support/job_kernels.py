"""A Python as sessions have it, with the entry points of our wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

from support.cluster import ROOT


def declare(packages: Path) -> None:
    """Make what pip makes of our wheel's entry points, in a folder of packages."""
    project = tomllib.loads((ROOT / "hub/pyproject.toml").read_text())["project"]
    folder = packages / f"davide_hub-{project['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: davide-hub\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (folder / "entry_points.txt").write_text("\n".join(groups))
