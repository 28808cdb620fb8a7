"""The rows of the table: what is measured, in which unit, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Measured = dict[str, dict[str, float]]  # row -> system -> value


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes
    ----------
    key
        Its name in the JSON.
    what
        What is measured, as the table says it.
    unit
        The unit of its values.
    most
        What ours may be at most, in the row's unit; None if nothing is asked.
    ratio
        What ours may be at most, as a part of stock's; None if nothing is asked.
    """

    key: str
    what: str
    unit: str
    most: float | None = None
    ratio: float | None = None

    @property
    def asked(self) -> str:
        """Return what is asked, for a reader."""
        if self.ratio is not None:
            return f"<= {self.ratio:g} x stock"
        return "" if self.most is None else f"<= {self.most:g}"

    def reached(self, values: dict[str, float]) -> bool | None:
        """Return whether ours is as good as asked; None if nothing is asked, or it could not be measured."""
        ours, stock = values.get("ours"), values.get("stock")
        if ours is None or (self.most is None and self.ratio is None):
            return None
        if self.ratio is not None:
            return None if stock is None else ours <= self.ratio * stock
        return self.most is None or ours <= self.most


def ratio(values: dict[str, float]) -> float | None:
    """Return ours as a part of stock's, where there are both."""
    ours, stock = values.get("ours"), values.get("stock")
    return ours / stock if ours is not None and stock else None


def rows(running: int, pending: int, foreign: int, few: int, crowd: int, restart: int, large: int) -> list[Row]:
    """Return all rows, for a run of a given size.

    Parameters
    ----------
    running, pending
        How many sessions there are while requests to Slurm are counted.
    foreign
        How many jobs of strangers are held in the queue meanwhile.
    few
        How many sessions a small site has.
    crowd, large
        How many start at once.
    restart
        How many run while the hub is restarted.
    """
    requests: Callable[[str, str], Row] = lambda key, what: Row(  # noqa: E731 - a row's short form
        key, f"Slurm RPCs, {what}", "/min", most=10
    )
    held = f", {foreign} foreign held jobs"
    return [
        requests("rpc_running", f"{running} running"),
        requests("rpc_running_foreign", f"{running} running{held}"),
        requests("rpc_pending", f"{pending} pending"),
        requests("rpc_pending_foreign", f"{pending} pending{held}"),
        requests("rpc_few_running", f"{few} running"),
        requests("rpc_few_pending", f"{few} pending"),
        Row("accounting_running", f"accounting queries, {running} running", "/min"),
        Row("accounting_pending", f"accounting queries, {pending} pending", "/min"),
        Row("click", "click to ready, one user, JupyterLab (median)", "s", ratio=0.75),
        Row("click_slurm", "   of it: until the job's script runs", "s"),
        Row("click_server", "   of it: until the server listens", "s"),
        Row("click_hub", "   of it: until the hub says ready", "s"),
        Row("knows", "server listens to hub knows (median)", "s", most=0.1),
        Row("knows_p95", "server listens to hub knows (p95)", "s"),
        Row("freeze", f"{crowd} starts at once: worst freeze of the hub", "s", most=0.5),
        Row("all_ready", f"{crowd} starts at once: all ready", "s", ratio=0.5),
        Row("failed", f"{crowd} starts at once: failed", "", most=0),
        Row("cpu_start", "CPU of hub and broker per start", "s"),
        Row("cpu_idle", f"CPU of hub and broker, {running} running, idle", "s/min"),
        Row("restart", f"hub restart, {restart} running: until it answers", "s", most=10),
        Row("restart_lost", f"hub restart, {restart} running: sessions lost", "", most=0),
        Row("restart_drops", f"hub restart, {restart} running: websockets dropped", "", most=0),
        Row("large_freeze", f"{large} starts at once: worst freeze of the hub", "s", most=1),
        Row("large_all_ready", f"{large} starts at once: all ready", "s", ratio=0.35),
        Row("large_failed", f"{large} starts at once: failed", "", most=0),
    ]
