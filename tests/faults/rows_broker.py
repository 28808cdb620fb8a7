"""Faults of the broker, and what is between a start and its job."""

from __future__ import annotations

from faults.hosts import CONTROLLER, HUB
from faults.row import row
from faults.scene import Scene
from faults.waiting import last, wait_for


@row("broker", "killed (kill -9) while nothing happens, then one Stop", mortals=1, needs_broker=True, long=True)
def broker_killed_idle(scene: Scene) -> None:
    scene.hosts.kill(HUB, scene.target.broker_unit)
    scene.press_stop(scene.mortals[0])


@row("broker", "killed between sbatch and its own note", needs_broker=True)
def broker_killed_after_sbatch(scene: Scene) -> None:
    with scene.hosts.held("sbatch"):
        scene.press_start(scene.newcomer)
        wait_for(lambda: scene.slurm.jobs_of(scene.newcomer.name), "the job to be queued")
        scene.hosts.kill(HUB, scene.target.broker_unit)
    scene.expected.settled.add(scene.newcomer.name)


@row("broker", "stopped for 15 s: one Start, one Stop, one job cancelled", mortals=2, needs_broker=True)
def broker_stopped(scene: Scene) -> None:
    stopped, cancelled = scene.mortals
    with scene.hosts.stopped(HUB, scene.target.broker_unit):
        scene.press_start(scene.newcomer)
        scene.press_stop(stopped)
        scene.cancel_by_admin(cancelled)
        last(15)
    scene.expected.settled.add(scene.newcomer.name)


@row("slurmctld", "frozen during a start: sbatch is given up and its job comes late")
def late_submit(scene: Scene) -> None:
    with scene.hosts.paused(CONTROLLER, "slurmctld"):
        scene.press_start(scene.newcomer)
        last(45)
    scene.slurm.wait_for_answer()
    scene.expected.settled.add(scene.newcomer.name)


@row("sbatch", "its answer is lost: it submits, and fails with a time-out")
def lost_reply(scene: Scene) -> None:
    script = (
        '$real "$@" > /dev/null\n'
        'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2\nexit 1'
    )
    with scene.hosts.shadowed("sbatch", script) as sbatch:
        seen = sbatch.calls()
        scene.press_start(scene.newcomer)
        wait_for(lambda: sbatch.calls() > seen, "sbatch to be called")
        wait_for(lambda: scene.slurm.jobs_of(scene.newcomer.name), "the job to be queued")
    scene.expected.settled.add(scene.newcomer.name)
