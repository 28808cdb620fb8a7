"""Which accounts, QOS and reservations a user may use, as Slurm says. Parsing is pure: text in, values out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from davide_hub.hostlist import host_names
from davide_hub.limits import read_table
from davide_hub.questions import Outcome, SlurmSilent

_NONE = "No reservations in the system"
_TIME = "%Y-%m-%dT%H:%M:%S"

# user -> account -> the names of QOS
Associations = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Reservation:
    """A reservation of nodes.

    Attributes
    ----------
    start, end
        In seconds since 1970.
    nodes
        Their names.
    users, accounts
        Who may use it, as Slurm writes it: a name after "-" may not.
    """

    name: str
    start: float
    end: float
    nodes: frozenset[str]
    users: tuple[str, ...]
    accounts: tuple[str, ...]

    def is_for(self, user: str, accounts: Sequence[str]) -> bool:
        """Return whether somebody with these accounts may use it."""
        if f"-{user}" in self.users or any(f"-{account}" in self.accounts for account in accounts):
            return False
        return user in self.users or any(account in self.accounts for account in accounts)


@dataclass(frozen=True)
class Allowed:
    """What one user may choose from; the first account and QOS are no better than the others."""

    accounts: tuple[str, ...]
    qos: Mapping[str, tuple[str, ...]]
    reservations: tuple[Reservation, ...]


def read_associations(outcome: Outcome, cluster: str) -> Associations:
    """Return who may use which account with which QOS on a cluster; raises `SlurmSilent`."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in read_table(outcome):
        # A row without a user is the account's own.
        if row.get("Cluster") == cluster and (user := row.get("User", "")):
            names = tuple(name for name in row.get("QOS", "").split(",") if name)
            of_user = found.setdefault(user, {})
            # One row for each partition, where associations have them.
            of_user[row["Account"]] = tuple(dict.fromkeys(of_user.get(row["Account"], ()) + names))
    return found


def read_reservations(outcome: Outcome) -> list[Reservation]:
    """Return the reservations in the answer of `scontrol --oneliner show reservation`; raises `SlurmSilent`."""
    if outcome.code == 0 and _NONE in outcome.out + outcome.err:
        return []
    if outcome.code != 0 or not outcome.out.startswith("ReservationName="):
        raise SlurmSilent(f"scontrol: {(outcome.err or outcome.out).strip()[:200]}")
    return [_reservation(line) for line in outcome.out.splitlines() if line.startswith("ReservationName=")]


def _reservation(line: str) -> Reservation:
    values = dict(word.partition("=")[::2] for word in line.split())
    try:
        start, end = (time.mktime(time.strptime(values[name], _TIME)) for name in ("StartTime", "EndTime"))
    except (KeyError, ValueError):
        raise SlurmSilent(f"scontrol printed {line[:80]!r}") from None
    users, accounts = (_names(values.get(name, "")) for name in ("Users", "Accounts"))
    nodes = frozenset(host_names(values.get("Nodes", "")))
    return Reservation(values["ReservationName"], start, end, nodes, users, accounts)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "(null)" else tuple(name for name in text.split(",") if name)


def allowed(
    user: str, usual_account: str, associations: Associations, reservations: Sequence[Reservation], now: float
) -> Allowed:
    """Return what a user may choose from.

    Parameters
    ----------
    user
        Who.
    usual_account
        The site's or the course's: the first, and the only one where Slurm does not tell.
    associations, reservations
        What Slurm said.
    now
        Seconds since 1970: what is over is not offered.
    """
    mine = associations.get(user, {})
    accounts = tuple(sorted(mine, key=lambda name: (name != usual_account, name))) or (usual_account,)
    qos = {account: mine.get(account, ()) for account in accounts}
    return Allowed(accounts, qos, tuple(one for one in reservations if one.end > now and one.is_for(user, accounts)))
