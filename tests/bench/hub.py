"""`./davide bench hub`: sets the comparison up, measures both hubs, puts everything back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from davide_lab.place import release
from davide_lab.say import Problem, line, stage

from bench import load, measure, ours, report, stock, users
from bench.client import Crowd
from bench.hosts import Lab, on
from bench.rows import Measured, rows
from bench.systems import System

PARTS = ("click", "starts", "restart", "large")


@dataclass(frozen=True)
class Sizes:
    """How much load a run makes."""

    running: int = 100
    pending: int = 50
    foreign: int = 5000
    few: int = 5
    crowd: int = 100
    restart: int = 200
    large: int = 500
    rounds: int = 9
    window: float = 60


QUICK = Sizes(running=4, pending=3, foreign=50, few=2, crowd=4, restart=4, large=6, rounds=2, window=10)


def run(root: Path, sizes: Sizes, parts: tuple[str, ...]) -> Measured:
    """Measure both hubs and print, write and draw what was found.

    Parameters
    ----------
    root
        The checkout.
    sizes
        How much load.
    parts
        Which measurements: some of `PARTS`.
    """
    lab = Lab.of(root)
    require_idle(lab)
    measured: Measured = {}
    began = time.time()
    count = {"click": 1, "starts": sizes.crowd, "restart": sizes.restart, "large": sizes.large}
    most = max(count[part] for part in parts)
    try:
        with prepared(lab, most) as password:
            asyncio.run(measure_all(lab, sizes, parts, password, measured))
    finally:
        # What was measured before something went wrong is worth its time too.
        tell(lab, root, sizes, measured, began)
    return measured


def tell(lab: Lab, root: Path, sizes: Sizes, measured: Measured, began: float) -> None:
    """Print the table, and write the JSON file and the picture."""
    if not measured:
        return
    every = rows(sizes.running, sizes.pending, sizes.foreign, sizes.few, sizes.crowd, sizes.restart, sizes.large)
    facts = {
        "began": began,
        "seconds": time.time() - began,
        "release": release(),
        "sizes": asdict(sizes),
        "notes": NOTES,
    }
    line("\n" + report.table(every, measured) + "\n")
    line("\n".join(f"* {text}" for text in NOTES))
    report.write(lab, root / ".davide" / "bench", report.as_data(every, measured, facts))


NOTES = (
    "click: real JupyterLab with both, in turns. All other rows: stand-in servers that call home, answer and echo.",
    "stock: JupyterHub with batchspawner's SlurmSpawner, its own batch script and sudo rule; a dummy log-in, no PAM.",
    "500 at once: stock without JupyterHub's limit of 100 starts, and without srun: less work, fewer processes.",
)


@contextmanager
def prepared(lab: Lab, most: int) -> Iterator[str]:
    """Make the cluster ready for so many sessions; yields the load users' password, and puts everything back."""
    try:
        with stage(1, 3, "Prepare the cluster"):
            undo(lab)
            password = users.make(lab, most)
            ours.keep(lab)
            load.widen(lab, most)
            stock.install(lab, password)
        yield password
    finally:
        with stage(3, 3, "Put everything back"):
            undo(lab)


def undo(lab: Lab) -> None:
    """Put everything back, after this run or one that was killed."""
    on(lab.controller, f"scontrol update PartitionName={lab.partition['name']} State=UP")
    load.clear(lab)
    stock.remove(lab)
    ours.restore(lab)
    load.narrow(lab)
    users.remove(lab)


def require_idle(lab: Lab) -> None:
    """Refuse to disturb people at work.

    Raises
    ------
    Problem
        If there are jobs of others.
    """
    names = set(on(lab.controller, "squeue --noheader --format=%u").split())
    others = sorted(name for name in names if not name.startswith(users.PREFIX))
    if others:
        raise Problem(f"{', '.join(others)} have jobs in the queue; end them, the bench needs the cluster for itself")


async def measure_all(lab: Lab, sizes: Sizes, parts: tuple[str, ...], password: str, measured: Measured) -> None:
    """Do all measurements."""
    with stage(2, 3, "Measure"):
        both = [ours.system(lab), stock.system(lab)]
        if "click" in parts:
            ours.use_real_servers(lab)
            stock.use_real_servers(lab)
            await measure.clicks(lab, both, password, sizes.rounds, measured)
        ours.use_stand_ins(lab)
        for system in both:
            if system.name == "stock":
                stock.use_stand_ins(lab)
            await with_stand_ins(lab, system, sizes, parts, password, measured)


async def with_stand_ins(
    lab: Lab, system: System, sizes: Sizes, parts: tuple[str, ...], password: str, measured: Measured
) -> None:
    """Do the measurements of one hub that stand-in servers are good for."""
    if "starts" in parts:
        async with Crowd(system, users.names(sizes.crowd)) as crowd:
            await crowd.log_in(password)
            await measure.few(lab, system, crowd, sizes.few, sizes.window, measured)
            await measure.starts_at_once(lab, system, crowd, sizes.crowd, "", measured)
            await measure.running_and_pending(lab, system, crowd, asdict(sizes), sizes.window, measured)
    if "restart" in parts:
        async with Crowd(system, users.names(sizes.restart)) as crowd:
            await crowd.log_in(password)
            measure.good(system, await crowd.start_all())
            await measure.restart(lab, system, crowd, measured)
            await measure.empty(lab, system, crowd)
    if "large" in parts:
        if system.name == "stock":
            stock.use_stand_ins(lab, srun=False, limit=0)
        async with Crowd(system, users.names(sizes.large)) as crowd:
            await crowd.log_in(password)
            await measure.starts_at_once(lab, system, crowd, sizes.large, "large_", measured)
            await measure.empty(lab, system, crowd)
