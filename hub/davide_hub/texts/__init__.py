"""Every text that people read in the hub's pages, by its name, from one folder: a language is a folder beside `en`.

`form.title` is the entry `title` of en/form.yml. An entry is a text, in which `{name}` stands for a value, or
two of them for numbers: `one` and `other`, of which `{n}` decides. Templates call it as `text(...)`; scripts are handed
the entries of a file that they need (`texts_of`), since they say some things by themselves.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

LANGUAGE = "en"
_HERE = Path(__file__).parent

Entry = str | dict[str, str]


def text(name: str, /, **values: object) -> str:
    """Return a text with its values filled in.

    Parameters
    ----------
    name
        FILE.ENTRY.
    values
        What stands for the names in braces; whatever they hold, it is only filled in. `n` chooses between `one` and
        `other`.

    Raises
    ------
    KeyError
        If there is no such text, or a value is missing.
    """
    file, _, entry = name.partition(".")
    found = texts_of(file)[entry]
    if isinstance(found, dict):
        found = found["one" if values["n"] == 1 else "other"]
    return found.format(**values)


@cache
def texts_of(file: str) -> dict[str, Entry]:
    """Return all entries of a file."""
    entries: dict[str, Entry] = yaml.safe_load((_HERE / LANGUAGE / f"{file}.yml").read_text())
    return entries
