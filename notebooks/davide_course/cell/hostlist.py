"""Slurm's short lists of nodes: `node[001-003,007],gpu1-[1-2]` are six hosts; and `2(x3),1` are four numbers.

The order is that of `scontrol show hostnames` (Slurm 22.05), which a job can't always ask: tests/cluster compares.
"""

from __future__ import annotations

import itertools
import re

# As many as Slurm allows in one range.
MOST = 65536

_COMMA = re.compile(r",(?![^\[]*\])")  # not within brackets
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_TIMES = re.compile(r"(\d+)(?:\(x(\d+)\))?")


class BadList(ValueError):  # noqa: N818 - what it is
    """A text that is no list of Slurm's."""


def expand(text: str) -> list[str]:
    """Return the hosts of a list, in Slurm's order; a host that is listed twice is there twice.

    Raises
    ------
    BadList
        If the text is no such list, or one of its ranges is longer than Slurm allows.
    """
    return [host for part in _COMMA.split(text) if part for host in _hosts(part)]


def repeat(text: str) -> list[int]:
    """Return the numbers of a list such as SLURM_TASKS_PER_NODE: one for each node."""
    numbers = []
    for part in text.split(","):
        found = _TIMES.fullmatch(part)
        if not found:
            raise BadList(f"{text!r} is no list of numbers such as 2(x3),1")
        numbers += [int(found[1])] * int(found[2] or 1)
    return numbers


def ranks(nodes: str, tasks: str) -> list[str]:
    """Return the host of each task of a job step whose tasks fill one node after the other (`--distribution=block`)."""
    hosts, counts = expand(nodes), repeat(tasks)
    if len(hosts) != len(counts):
        raise BadList(f"{nodes!r} are {len(hosts)} nodes, but {tasks!r} speaks of {len(counts)}")
    return [host for host, count in zip(hosts, counts, strict=True) for _ in range(count)]


def _hosts(part: str) -> list[str]:
    pieces = re.split(r"\[([^\[\]]*)\]", part)
    if any(sign in piece for piece in pieces for sign in "[]"):
        raise BadList(f"{part!r} has a bracket too many or too few")
    fixed, brackets = pieces[::2], [_numbers(part, inner) for inner in pieces[1::2]]
    if not brackets:
        return fixed
    # Slurm counts the last bracket fastest; among those before it the first.
    *slow, fast = brackets
    return [
        "".join(itertools.chain(*zip(fixed, (*reversed(turned), last), strict=False), fixed[-1:]))
        for turned in itertools.product(*reversed(slow))
        for last in fast
    ]


def _numbers(part: str, inner: str) -> list[str]:
    found: list[str] = []
    for one in inner.split(","):
        matched = _RANGE.fullmatch(one)
        if not matched:
            raise BadList(f"{part!r}: {one!r} is neither a number nor a range such as 01-12")
        first, last = int(matched[1]), int(matched[2] or matched[1])
        if not first <= last < first + MOST:
            raise BadList(f"{part!r}: the range {one} runs backwards, or has more than {MOST} hosts")
        found += [str(number).zfill(len(matched[1])) for number in range(first, last + 1)]
    return found
