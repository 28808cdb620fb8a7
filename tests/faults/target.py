"""Which hub the rows are run against: ours, a mutant of ours, or the stock one beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """A hub on the hub's host.

    Attributes
    ----------
    name
        What the table and the result file are called after.
    url
        Where its users come in.
    hub_unit, proxy_unit
        The units of systemd.
    broker_unit
        Empty where it has no broker: rows about the broker are then left out.
    state, database
        The folder of what it must not lose, and the database in it.
    proxy_api, proxy_token_file
        The API of its proxy, and a file of environment variables with the token for it.
    start_options
        What a start sends.
    """

    name: str
    url: str
    hub_unit: str = "jupyterhub"
    proxy_unit: str = "jupyterhub-proxy"
    broker_unit: str = "davide-broker"
    state: str = "/var/lib/davide-hub"
    database: str = "/var/lib/davide-hub/jupyterhub.sqlite"
    proxy_api: str = "http://127.0.0.1:8001"
    proxy_token_file: str = "/etc/davide-hub/proxy.env"
    start_options: dict[str, Any] = field(default_factory=lambda: {"profile": "no-gpu"})

    @property
    def has_broker(self) -> bool:
        """Say whether rows about the broker make sense."""
        return bool(self.broker_unit)
