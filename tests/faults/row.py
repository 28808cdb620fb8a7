"""A row of the suite: a fault, what it is called, and how many sessions die of it or beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faults.scene import Scene

Fault = Callable[["Scene"], None]


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes
    ----------
    subject
        What fails: hub, proxy, slurmctld, ...
    title
        How it fails.
    fault
        Makes it fail, and returns when it has been mended.
    mortals
        How many sessions run beside the four that are to be kept: they die, are stopped, or are kept as well.
    replayed
        What can't be made to happen here is told to the hub by recorded output.
    needs_broker
        Makes no sense for a hub without a broker.
    long
        Runs in the long form only: another row is much like it, and the suite has its limits.
    """

    subject: str
    title: str
    fault: Fault
    mortals: int = 0
    replayed: bool = False
    needs_broker: bool = False
    long: bool = False

    @property
    def name(self) -> str:
        """Return the row's name in pytest: that of its function."""
        return str(getattr(self.fault, "__name__", self.title)).replace("_", "-")

    @property
    def words(self) -> str:
        """Return the row's name in the table."""
        return f"{self.subject}: {self.title}{' (replayed)' if self.replayed else ''}"


ROWS: list[Row] = []


def row(subject: str, title: str, **more: Any) -> Callable[[Fault], Fault]:
    """Return a decorator that adds a fault to the suite; `more` is as in `Row`."""

    def add(fault: Fault) -> Fault:
        ROWS.append(Row(subject, title, fault, **more))
        return fault

    return add
