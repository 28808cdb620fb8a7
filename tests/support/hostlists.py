"""Random lists of nodes as Slurm writes them, with the hosts that they stand for."""

from __future__ import annotations

import random

_NAMES = ("node", "gpu1-", "davide", "a", "r0n", "x-", "c7u2s")


def random_list(rng: random.Random) -> tuple[str, list[str]]:
    """Return a list, and its hosts in Slurm's order."""
    parts = [_part(rng) for _ in range(rng.randint(1, 4))]
    return ",".join(text for text, _ in parts), [host for _, hosts in parts for host in hosts]


def _part(rng: random.Random) -> tuple[str, list[str]]:
    name = rng.choice(_NAMES)
    kind = rng.random()
    if kind < 0.2:
        single = f"{name}{rng.randint(0, 120):0{rng.randint(1, 4)}d}"
        return single, [single]
    text, numbers = _bracket(rng, most=4)
    if kind < 0.8:
        return f"{name}{text}", [f"{name}{number}" for number in numbers]
    # Two brackets: the last one counts fastest.
    between = rng.choice(("b", "-", "n"))
    other, others = _bracket(rng, most=2)
    return f"{name}{text}{between}{other}", [f"{name}{one}{between}{two}" for one in numbers for two in others]


def _bracket(rng: random.Random, most: int) -> tuple[str, list[str]]:
    texts, numbers = [], []
    for _ in range(rng.randint(1, most)):
        width = rng.randint(1, 4)
        first = rng.randint(0, 120)
        last = first + rng.choice((0, 0, 1, 2, 5))
        begin = f"{first:0{width}d}"
        texts.append(begin if last == first else f"{begin}-{last:0{rng.choice((1, len(begin)))}d}")
        # As wide as it begins, and wider where it has to be: 08-11, but 8, 9, 10, 11.
        numbers += [f"{number:0{len(begin)}d}" for number in range(first, last + 1)]
    return f"[{','.join(texts)}]", numbers
