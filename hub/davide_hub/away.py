"""The pages that proxy and front show where the hub can't: `python -m davide_hub.away FOLDER` writes the front's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader

from davide_hub.texts import text

_HERE = Path(__file__).parent
# templates/ lies in the wheel beside this file, and in a checkout one folder up.
_TEMPLATES = next(folder for folder in (_HERE / "templates", _HERE.parent / "templates") if folder.is_dir())

Kind = Literal["hub", "crowd"]


def page(kind: Kind) -> str:
    """Return the page for a hub, or a proxy, that is away; or for a crowd of which the front lets no more in."""
    pages = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
    return pages.get_template("away.html").render(text=text, kind=kind)


def write(folder: Path) -> None:
    """Write the front's pages where nginx looks for them: `davide-hub.html` and `davide-crowd.html`."""
    kinds: tuple[Kind, ...] = ("hub", "crowd")
    for kind in kinds:
        (folder / f"davide-{kind}.html").write_text(page(kind))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
