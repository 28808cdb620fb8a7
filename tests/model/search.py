"""All interleavings of events and mishaps up to a depth: a search through worlds, nearest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from frozen import Frozen, freeze
from life import Event, Life
from world import World

_Step = tuple[Frozen | None, Event, tuple[object, ...]]


@dataclass
class Found:
    """What a search came to.

    Attributes
    ----------
    worlds, steps
        How many different worlds there are within the bounds, and how many steps were made to find them.
    wrong
        What is wrong in the nearest world that is not right; empty if all are right.
    way
        The events that lead there.
    """

    worlds: int = 0
    steps: int = 0
    wrong: str = ""
    way: list[str] = field(default_factory=list)


def search(life: Life, depth: int, mishaps: int, tell: Callable[[int, int], None] = lambda *_: None) -> Found:
    """Look at every world within the bounds, and let each come to rest.

    Parameters
    ----------
    life
        What may happen.
    depth
        How far to go: an event counts one, and each mishap in it one more.
    mishaps
        How many mishaps there may be on the way to a world.
    tell
        Hears of each depth, and how many worlds are new in it.
    """
    found = Found()
    first = freeze(World())
    came_from: dict[Frozen, _Step] = {first: (None, ("", ""), ())}
    # The worlds of each depth, with the fewest mishaps that lead to them.
    layers: list[dict[Frozen, int]] = [{first: 0}, *({} for _ in range(depth))]
    fewest: dict[Frozen, int] = {}
    for at, layer in enumerate(layers):
        before = found.worlds
        for state, so_far in layer.items():
            if state not in fewest:
                found.worlds += 1
                if wrong := life.unrest(state):
                    found.wrong, found.way = wrong, _way(came_from, state)
                    return found
            elif fewest[state] <= so_far:
                continue
            fewest[state] = so_far
            for event in life.events(state) if at < depth else ():
                for after, choices in life.outcomes(state, event, min(depth - at - 1, mishaps - so_far)):
                    found.steps += 1
                    came_from.setdefault(after, (state, event, tuple(choices.made)))
                    total = so_far + choices.mishaps
                    there = layers[at + 1 + choices.mishaps]
                    if total < min(fewest.get(after, total + 1), there.get(after, total + 1)):
                        there[after] = total
        layer.clear()
        tell(at, found.worlds - before)
    return found


def _way(came_from: dict[Frozen, _Step], state: Frozen | None) -> list[str]:
    way: list[str] = []
    while state is not None:
        state, (what, which), mishaps = came_from[state]
        way.insert(0, " ".join(filter(None, (what, which, f"({', '.join(map(str, mishaps))})" if mishaps else ""))))
    return way[1:]
