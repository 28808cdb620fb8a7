"""The measurements: each leaves values in the rows of one hub."""

from __future__ import annotations

import asyncio
import re
import time
from statistics import median, quantiles

from davide_lab.say import Problem, step

from bench import load
from bench.client import Crowd, Start
from bench.counters import Cost, Meter
from bench.hosts import Lab, on
from bench.probe import probing
from bench.rows import Measured
from bench.sockets import Sockets
from bench.systems import System, newest_log

_PATIENCE_SECONDS = 40
_SETTLING_SECONDS = 20
_SCRIPT = re.compile(r"^bench: script ([0-9.]+)$", re.MULTILINE)
_LISTENS = re.compile(r"^\[I (\S+ \S+) \w+\] Jupyter Server \S+ is running at:$", re.MULTILINE)


def note(measured: Measured, system: System, **values: float) -> None:
    """Put values into the table."""
    for key, value in values.items():
        measured.setdefault(key, {})[system.name] = round(value, 4)


async def clicks(lab: Lab, systems: list[System], password: str, rounds: int, measured: Measured) -> None:
    """One user presses Start and gets a real JupyterLab, in turns on every hub; the first one is for the caches."""
    parts: dict[str, list[tuple[float, float, float]]] = {system.name: [] for system in systems}
    for turn in range(rounds + 1):
        for system in systems:
            async with Crowd(system, ["bench001"]) as crowd:
                await crowd.log_in(password)
                (start,) = good(system, await crowd.start(1))
                moments = [start.clicked, *moments_of(newest_log(lab, system, start.user)), start.ready]
                await crowd.stop()
            load.wait_for_end(lab)
            if turn:
                parts[system.name].append(split(moments))
    for system in systems:
        slurm, server, hub = zip(*parts[system.name], strict=True)
        note(measured, system, click=median(map(sum, parts[system.name])), click_slurm=median(slurm))
        note(measured, system, click_server=median(server), click_hub=median(hub))
        note(measured, system, knows=median(hub), knows_p95=p95(list(hub)))
        step(f"{system.name}: click to ready {measured['click'][system.name]:.2f} s")


def moments_of(log: str) -> tuple[float, float]:
    """Return when a session's script began and when its server listened, from the session's log."""
    script, listens = _SCRIPT.search(log), _LISTENS.search(log)
    if script is None or listens is None:
        raise Problem(f"a session's log does not say when it began and when its server listened:\n{log[-600:]}")
    date, _, milliseconds = listens[1].partition(".")
    return float(script[1]), time.mktime(time.strptime(date, "%Y-%m-%d %H:%M:%S")) + float(f"0.{milliseconds}")


def split(moments: list[float]) -> tuple[float, float, float]:
    """Return the three times between click, script, listening server and ready hub."""
    clicked, script, listens, ready = moments
    return script - clicked, listens - script, ready - listens


def p95(values: list[float]) -> float:
    """Return the value that 95 of 100 don't exceed."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def good(system: System, starts: list[Start]) -> list[Start]:
    """Return the starts where all went well.

    Raises
    ------
    Problem
        If one did not.
    """
    failed = [one for one in starts if one.failure]
    if failed:
        raise Problem(f"{len(failed)} of {len(starts)} starts failed on {system.name}: {failed[0].failure}")
    return starts


async def starts_at_once(lab: Lab, system: System, crowd: Crowd, count: int, prefix: str, measured: Measured) -> None:
    """Many press Start in one moment."""
    meter = Meter(lab, system)
    with probing(system, lab.hub.namespace) as silence:
        starts = await crowd.start(count)
    well = [one for one in starts if not one.failure]
    took = max((one.ready for one in starts), default=0.0) - min(one.clicked for one in starts)
    note(measured, system, **{f"{prefix}freeze": silence.worst, f"{prefix}all_ready": took})
    note(measured, system, **{f"{prefix}failed": len(starts) - len(well)})
    note(measured, system, **{f"{prefix}cpu_start": meter.read().cpu / count})
    step(f"{system.name}: {len(well)} of {count} ready in {took:.1f} s, worst freeze {silence.worst:.2f} s")
    for failure in sorted({one.failure for one in starts if one.failure}):
        step(f"{system.name}: {failure}")


async def steady(lab: Lab, system: System, seconds: float, measured: Measured, key: str) -> Cost:
    """Nothing happens for a while; count what the hub asks of Slurm."""
    # What the starts and stops before left to be done is no part of a steady state.
    await asyncio.sleep(min(_SETTLING_SECONDS, seconds))
    meter = Meter(lab, system)
    await asyncio.sleep(seconds)
    cost = meter.read()
    note(measured, system, **{f"rpc_{key}": cost.requests_per_minute})
    step(f"{system.name}: {cost.requests_per_minute:.1f} RPCs a minute, {key} {cost.kinds}")
    return cost


async def running_and_pending(
    lab: Lab, system: System, crowd: Crowd, sizes: dict[str, int], seconds: float, measured: Measured
) -> None:
    """Count what the hub asks of Slurm while many run, and while many wait, with and without strangers in the queue."""
    cost = await steady(lab, system, seconds, measured, "running")
    note(measured, system, cpu_idle=cost.cpu_per_minute, accounting_running=cost.accounting_per_minute)
    with load.foreign_jobs(lab, sizes["foreign"]):
        await steady(lab, system, seconds, measured, "running_foreign")
    await empty(lab, system, crowd)
    with load.stopped_queue(lab):
        await crowd.press(sizes["pending"])
        cost = await steady(lab, system, seconds, measured, "pending")
        note(measured, system, accounting_pending=cost.accounting_per_minute)
        with load.foreign_jobs(lab, sizes["foreign"]):
            await steady(lab, system, seconds, measured, "pending_foreign")
        await empty(lab, system, crowd)


async def few(lab: Lab, system: System, crowd: Crowd, count: int, seconds: float, measured: Measured) -> None:
    """Count the same at a small site."""
    good(system, await crowd.start(count))
    await steady(lab, system, seconds, measured, "few_running")
    await empty(lab, system, crowd)
    with load.stopped_queue(lab):
        await crowd.press(count)
        await steady(lab, system, seconds, measured, "few_pending")
        await empty(lab, system, crowd)


async def restart(lab: Lab, system: System, crowd: Crowd, measured: Measured) -> None:
    """Restart the hub while many sessions run, each with a websocket open."""
    began = await crowd.ready()
    async with Sockets(system, [person.name for person in crowd.people]) as sockets:
        with probing(system, lab.hub.namespace) as silence:
            await asyncio.to_thread(on, lab.hub, f"systemctl restart {system.unit}")
            await answers_again(system, crowd)
        drops = await sockets.dropped()
    note(measured, system, restart=silence.worst, restart_drops=drops, restart_lost=began - await crowd.ready())
    step(f"{system.name}: answers {silence.worst:.1f} s after a restart, {drops} websockets dropped")


async def answers_again(system: System, crowd: Crowd, seconds: float = 120) -> None:
    """Wait until the hub answers a user's page again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            await crowd.people[0].server()
        except Exception as error:
            if time.monotonic() > deadline:
                raise Problem(f"{system.name} does not answer {seconds:.0f} s after its restart: {error}") from error
            await asyncio.sleep(0.1)
        else:
            return


async def empty(lab: Lab, system: System, crowd: Crowd) -> None:
    """Let everybody press Stop, and wait until Slurm has no job of theirs; what a hub leaves behind is cancelled."""
    await crowd.stop()
    left = await asyncio.to_thread(load.left_after, lab, _PATIENCE_SECONDS)
    if left:
        step(f"{system.name}: {left} jobs are left although everybody has stopped; the bench cancels them")
        await asyncio.to_thread(load.clear, lab)
