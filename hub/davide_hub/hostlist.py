"""Lists of hosts as Slurm writes them: `gpu[01-03],login1`."""

from __future__ import annotations

import re
from collections.abc import Iterator

# "gpu[01-03,07]" and "gpu01": a host list has no brackets within brackets.
_HOSTS = re.compile(r"([^,\[\]]+)(?:\[([0-9,-]+)\])?([^,\[\]]*)(?:,|$)")


def host_names(text: str) -> Iterator[str]:
    """Yield the hosts in a list as Slurm writes it: `gpu[01-03],login1`."""
    for before, ranges, after in _HOSTS.findall("" if text == "(null)" else text):
        for part in ranges.split(",") if ranges else ():
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield f"{before}{number:0{len(first)}}{after}"
        if not ranges:
            yield before + after
