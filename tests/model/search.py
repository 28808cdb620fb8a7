"""All interleavings of events and mishaps, up to a depth: a search through worlds, nearest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from frozen import Frozen, freeze
from life import Event, Life
from world import World


@dataclass
class Found:
    """What a search came to.

    Attributes
    ----------
    worlds, steps
        How many different worlds there are within the depth, and how many steps lead to them.
    wrong
        What is wrong in the first world that is not right; empty if all are right.
    way
        The events that lead there.
    """

    worlds: int = 0
    steps: int = 0
    wrong: str = ""
    way: list[str] = field(default_factory=list)


def search(life: Life, depth: int, tell: Callable[[int, int], None] = lambda *_: None, go=False, bad=[]) -> Found:
    """Look at every world that at most `depth` events and mishaps lead to, and let each come to rest.

    Parameters
    ----------
    life
        What may happen.
    depth
        How far to go. An event counts one, and each mishap in it one more.
    tell
        Hears of each depth and the worlds that are new in it.
    """
    first = freeze(World())
    came_from: dict[Frozen, tuple[Frozen | None, Event, tuple[int, ...]]] = {first: (None, ("", ""), ())}
    layers: list[set[Frozen]] = [{first}, *(set() for _ in range(depth))]
    found = Found()
    done: set[Frozen] = set()
    for at, layer in enumerate(layers):
        new = layer - done
        tell(at, len(new))
        for state in new:
            done.add(state)
            found.worlds += 1
            if wrong := life.unrest(state):
                found.wrong, found.way = wrong, _way(came_from, state)
                if not go: return found
                bad.append((wrong, found.way))
            if at == depth:
                continue
            for event in life.events(state):
                for after, choices in life.outcomes(state, event, depth - at - 1):
                    found.steps += 1
                    if after not in came_from:
                        came_from[after] = (state, event, tuple(choices.made))
                    layers[at + 1 + choices.mishaps].add(after)
    return found


def _way(came_from: dict[Frozen, tuple[Frozen | None, Event, tuple[int, ...]]], state: Frozen | None) -> list[str]:
    way: list[str] = []
    while state is not None:
        state, (what, which), mishaps = came_from[state]
        way.insert(0, " ".join(filter(None, (what, which, f"({', '.join(map(str, mishaps))})" if mishaps else ""))))
    return way[1:]
