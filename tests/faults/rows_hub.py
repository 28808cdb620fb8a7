"""Faults of the hub, of its proxy, and of the host that both run on."""

from __future__ import annotations

from faults.hosts import CONTROLLER, HUB, NODES
from faults.row import row
from faults.scene import Scene
from faults.waiting import last, wait_for


@row("hub", "killed (kill -9) while nothing happens")
def hub_killed_idle(scene: Scene) -> None:
    scene.kill_hub()


@row("hub", "stopped for 10 s, two sessions end meanwhile", mortals=2)
def hub_stopped(scene: Scene) -> None:
    cancelled, killed = scene.mortals
    with scene.hosts.stopped(HUB, scene.target.hub_unit):
        scene.cancel_by_admin(cancelled)
        scene.kill_on_node(killed)
        last(10)
    scene.wait_for_hub()


@row("hub", "killed while a session waits in the queue")
def hub_killed_pending(scene: Scene) -> None:
    scene.slurm.partition("State=DOWN")
    try:
        scene.press_start(scene.newcomer)
        wait_for(lambda: scene.slurm.jobs_of(scene.newcomer.name), "the job to be queued")
        scene.kill_hub()
    finally:
        scene.slurm.partition("State=UP")
    scene.expected.started.add(scene.newcomer.name)
    scene.newcomer.wait_until_ready()
    # What Slurm said before it started ("waits") must not end it now.
    last(12)


@row("hub", "killed while sbatch is about to run", long=True)
def hub_killed_before_sbatch(scene: Scene) -> None:
    _kill_during_sbatch(scene, before=True)


@row("hub", "killed between sbatch and its answer")
def hub_killed_after_sbatch(scene: Scene) -> None:
    _kill_during_sbatch(scene, before=False)


def _kill_during_sbatch(scene: Scene, *, before: bool) -> None:
    with scene.hosts.held("sbatch", before=before) as sbatch:
        seen = sbatch.calls()
        scene.press_start(scene.newcomer)
        wait_for(lambda: sbatch.calls() > seen, "sbatch to be called")
        if not before:
            wait_for(lambda: scene.slurm.jobs_of(scene.newcomer.name), "the job to be queued")
        scene.hosts.kill(HUB, scene.target.hub_unit)
        sbatch.let_go()
        scene.wait_for_hub()
    scene.expected.settled.add(scene.newcomer.name)


@row("hub", "killed while two sessions are being stopped", mortals=2)
def hub_killed_stopping(scene: Scene) -> None:
    with scene.hosts.held("scancel", before=True) as scancel:
        for person in scene.mortals:
            seen = scancel.calls()
            scene.press_stop(person)
            wait_for(lambda seen=seen: scancel.calls() > seen, "scancel to be called")
        scene.hosts.kill(HUB, scene.target.hub_unit)
        scancel.let_go()
        scene.wait_for_hub()


@row("network", "nodes out of the hub's reach for 40 s, the hub restarted, one Stop, one job cancelled", mortals=2)
def network_out_restart(scene: Scene) -> None:
    stopped, cancelled = scene.mortals
    with scene.hosts.apart(HUB, *NODES):
        scene.restart_hub()
        scene.press_stop(stopped)
        wait_for(lambda: not scene.slurm.jobs_of(stopped.name), "Stop to work without the nodes")
        scene.cancel_by_admin(cancelled)
        last(35)


@row("hub", "frozen for 15 s, one session ends meanwhile", mortals=1, long=True)
def hub_frozen(scene: Scene) -> None:
    with scene.hosts.paused(HUB, scene.target.hub_unit):
        scene.cancel_by_admin(scene.mortals[0])
        last(15)


@row("network", "the hub's host cut off for 15 s, one session ends meanwhile", mortals=1, long=True)
def hub_cut_off(scene: Scene) -> None:
    with scene.hosts.cut(HUB):
        scene.cancel_by_admin(scene.mortals[0])
        last(15)


@row("hub", "its host loses power, one session ends meanwhile", mortals=1)
def hub_host_off(scene: Scene) -> None:
    scene.hosts.do("crash", HUB)
    try:
        scene.cancel_by_admin(scene.mortals[0])
    finally:
        scene.hosts.do("boot", HUB)
    scene.wait_for_hub()


@row("proxy", "killed (kill -9): it comes back without a route")
def proxy_killed(scene: Scene) -> None:
    scene.hosts.kill(HUB, scene.target.proxy_unit)


@row("proxy", "stopped for 15 s, one session ends meanwhile", mortals=1, long=True)
def proxy_stopped(scene: Scene) -> None:
    with scene.hosts.stopped(HUB, scene.target.proxy_unit):
        scene.cancel_by_admin(scene.mortals[0])
        last(15)


@row("proxy", "stopped for 45 s while a session that waited in the queue starts", long=True)
def proxy_stopped_start(scene: Scene) -> None:
    scene.slurm.partition("State=DOWN")
    try:
        scene.press_start(scene.newcomer)
        wait_for(lambda: scene.slurm.jobs_of(scene.newcomer.name), "the job to be queued")
        with scene.hosts.stopped(HUB, scene.target.proxy_unit):
            scene.slurm.partition("State=UP")
            last(45)
    finally:
        scene.slurm.partition("State=UP")
    scene.expected.started.add(scene.newcomer.name)


@row("proxy", "killed together with the hub", long=True)
def proxy_and_hub_killed(scene: Scene) -> None:
    scene.hosts.kill(HUB, scene.target.proxy_unit)
    scene.kill_hub()


@row("hub", "killed while slurmctld is stopped", mortals=1, long=True)
def hub_killed_without_slurm(scene: Scene) -> None:
    with scene.hosts.stopped(CONTROLLER, "slurmctld"):
        scene.kill_hub()
        scene.kill_on_node(scene.mortals[0])
        last(15)
    scene.wait_until_slurm_knows()
