"""What is the same about the two hubs that are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.hosts import Lab, on


@dataclass(frozen=True)
class System:
    """One of the hubs: where it answers, and which processes it consists of.

    Attributes
    ----------
    name
        `ours` or `stock`.
    url
        Its address for browsers, through its proxy.
    hub_url
        The hub's own address, without a proxy between.
    form
        What a user's press on Start sends.
    unit
        The hub's unit.
    helpers
        Further units whose processor time counts as the hub's.
    log
        Where a session's log lies in its user's home, as a pattern of the shell.
    """

    name: str
    url: str
    hub_url: str
    form: dict[str, str]
    unit: str
    log: str
    helpers: tuple[str, ...] = field(default=())

    @property
    def units(self) -> tuple[str, ...]:
        """Return every unit that the processor time is summed over."""
        return (self.unit, *self.helpers)


def newest_log(lab: Lab, system: System, user: str) -> str:
    """Return the log of a user's last session."""
    return on(lab.hub, f"cat \"$(ls -t {Path('/home', user, system.log)} | head -n 1)\"")
