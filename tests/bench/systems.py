"""What is the same about the two hubs that are compared."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from davide_lab.names import context

from bench.hosts import Lab, on, wait_until


@dataclass(frozen=True)
class System:
    """One of the hubs: where it answers, and which processes it consists of.

    Attributes
    ----------
    name
        `ours` or `stock`.
    url
        Its address for browsers, through its proxy.
    form
        What a user's press on Start sends.
    unit
        The hub's unit.
    helpers
        Further units whose processor time counts as the hub's.
    own_names
        Whether each user's server has a name of its own.
    keeps_connections
        For how many seconds without a request its front keeps a browser's connection, less a margin.
    log
        Where a session's log lies in its user's home, as a pattern of the shell.
    """

    name: str
    url: str
    form: dict[str, str]
    unit: str
    log: str
    keeps_connections: float
    helpers: tuple[str, ...] = field(default=())
    own_names: bool = False

    def user_url(self, user: str) -> str:
        """Return where a user's server is, for browsers."""
        host = self.url.replace("://", f"://{user}.") if self.own_names else self.url
        return f"{host}/user/{user}"

    @property
    def units(self) -> tuple[str, ...]:
        """Return every unit that the processor time is summed over."""
        return (self.unit, *self.helpers)


def newest_log(lab: Lab, system: System, user: str) -> str:
    """Return the log of a user's last session."""
    return on(lab.hub, f'cat "$(ls -t {Path("/home", user, system.log)} | head -n 1)"')


def wait_until_it_answers(system: System) -> None:
    """Wait until a hub answers through its proxy: one that was just started takes a few seconds."""
    wait_until(lambda: _answers(system), f"the hub ({system.name}) to answer", 120)


def _answers(system: System) -> bool:
    try:
        asked = urllib.request.urlopen(f"{system.url}/hub/health", timeout=5, context=context())  # noqa: S310 - ours
        with asked as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
