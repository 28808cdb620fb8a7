"""Faults of Slurm: its controller, its accounting, munge, and what it keeps from those who ask."""

from __future__ import annotations

from faults.hosts import CONTROLLER, HUB, NODES
from faults.row import row
from faults.scene import CANCELLED, Scene
from faults.waiting import last, wait_for


@row("slurmctld", "stopped for 18 s, two sessions end meanwhile", mortals=2)
def slurmctld_stopped(scene: Scene) -> None:
    with scene.hosts.stopped(CONTROLLER, "slurmctld"):
        for person in scene.mortals:
            scene.kill_on_node(person)
        last(18)
    scene.wait_until_slurm_knows()


@row("slurmctld", "frozen for 18 s, one session ends meanwhile", mortals=1, long=True)
def slurmctld_frozen(scene: Scene) -> None:
    with scene.hosts.paused(CONTROLLER, "slurmctld"):
        scene.kill_on_node(scene.mortals[0])
        last(18)
    scene.wait_until_slurm_knows()


@row("slurmctld", "killed (kill -9) before it saved that a session ended: back, it says that the job runs", mortals=1)
def slurmctld_killed(scene: Scene) -> None:
    state, (person,) = "/var/lib/slurm/slurmctld/job_state", scene.mortals[:1]
    # It writes down every five seconds what has changed. A job that is younger it would not know afterwards.
    wait_for(lambda: _all_jobs_are_saved(scene), "slurmctld to save its jobs", 30)
    scene.hosts.output(CONTROLLER, f"cp --archive {state} {state}.before")
    scene.kill_on_node(person)
    scene.slurm.wait_for_end(person.job)
    scene.wait_until_buried(person)
    scene.hosts.output(CONTROLLER, f"systemctl kill --signal=KILL slurmctld; mv {state}.before {state}")
    # Not start: for a moment systemd still believes that it runs, and would do nothing.
    scene.hosts.output(CONTROLLER, "systemctl restart slurmctld")
    scene.slurm.wait_for_answer()


def _all_jobs_are_saved(scene: Scene) -> bool:
    starts = scene.hosts.output(CONTROLLER, "SLURM_TIME_FORMAT=%s squeue --noheader --states=running --format=%S")
    saved = scene.hosts.output(CONTROLLER, "stat --format=%Y /var/lib/slurm/slurmctld/job_state")
    # A job's start is followed by that of its step, which is saved too.
    return int(saved) > max(map(int, starts.split()))


@row("network", "slurmctld out of the hub's reach for 18 s, two sessions end meanwhile", mortals=2, long=True)
def controller_out_of_reach(scene: Scene) -> None:
    with scene.hosts.apart(HUB, CONTROLLER):
        for person in scene.mortals:
            scene.cancel_by_admin(person)
        last(18)


@row("slurmctld", "its whole host frozen for 12 s, one session ends meanwhile", mortals=1, long=True)
def controller_host_frozen(scene: Scene) -> None:
    scene.hosts.do("freeze", CONTROLLER)
    try:
        scene.kill_on_node(scene.mortals[0])
        last(12)
    finally:
        scene.hosts.do("thaw", CONTROLLER)
    scene.wait_until_slurm_knows()


@row("slurmdbd", "stopped for 20 s, one session ends meanwhile", mortals=1)
def slurmdbd_stopped(scene: Scene) -> None:
    with scene.hosts.stopped(CONTROLLER, "slurmdbd"):
        # By whom, only accounting knows; nobody is kept alive until it is back.
        scene.cancel_by_admin(scene.mortals[0], CANCELLED)
        last(20)


@row("slurmdbd", "its database (MariaDB) stopped for 20 s, one session ends meanwhile", mortals=1, long=True)
def mariadb_stopped(scene: Scene) -> None:
    with scene.hosts.stopped(CONTROLLER, "mariadb"):
        scene.kill_on_node(scene.mortals[0])
        last(20)


@row("munge", "stopped on the hub's host for 20 s, two sessions end meanwhile", mortals=2)
def munge_stopped(scene: Scene) -> None:
    cancelled, killed = scene.mortals
    with scene.hosts.stopped(HUB, "munge"):
        scene.cancel_by_admin(cancelled)
        scene.kill_on_node(killed)
        last(20)


@row("slurmctld", "PrivateData=jobs: others' jobs are left out of its list; one session ends", mortals=1, long=True)
def private_jobs(scene: Scene) -> None:
    with scene.hosts.edited(CONTROLLER, "/etc/slurm/slurm.conf", r"$ a PrivateData=jobs", "scontrol reconfigure"):
        scene.slurm.wait_for_answer()
        scene.cancel_by_admin(scene.mortals[0])
        last(18)


@row("slurmdbd", "PrivateData=jobs in list and accounting: only the owner sees a job; one session ends", mortals=1)
def private_everything(scene: Scene) -> None:
    accounting = scene.hosts.edited(
        CONTROLLER, "/etc/slurm/slurmdbd.conf", "$ a PrivateData=jobs", "systemctl restart slurmdbd"
    )
    listing = scene.hosts.edited(CONTROLLER, "/etc/slurm/slurm.conf", "$ a PrivateData=jobs", "scontrol reconfigure")
    with accounting, listing:
        scene.slurm.wait_for_answer()
        scene.cancel_by_owner(scene.mortals[0])
        last(18)


@row("slurmctld", "the sessions' partition hidden for 12 s, one session ends meanwhile", mortals=1, long=True)
def partition_hidden(scene: Scene) -> None:
    scene.slurm.partition("Hidden=YES")
    try:
        scene.cancel_by_admin(scene.mortals[0])
        last(12)
    finally:
        scene.slurm.partition("Hidden=NO")


@row("job", "an administrator tries to requeue four sessions")
def requeue_attempt(scene: Scene) -> None:
    for person in scene.keepers:
        done = scene.hosts.run(CONTROLLER, f"scontrol requeue {person.job}")
        assert done.returncode != 0, "Slurm should have refused: sessions are submitted with --no-requeue"


@row("job", "the owner cancels it with scancel", mortals=1, long=True)
def owner_cancels(scene: Scene) -> None:
    scene.cancel_by_owner(scene.mortals[0])


@row("job", "its time limit is reached", mortals=1, long=True)
def time_limit(scene: Scene) -> None:
    scene.reach_time_limit(scene.mortals[0])


@row("node", "one of two loses power, with two sessions on it", mortals=2)
def node_loses_power(scene: Scene) -> None:
    scene.lose_node(NODES[1])


@row("node", "both nodes cut off for 12 s", long=True)
def nodes_cut_off(scene: Scene) -> None:
    with scene.hosts.cut(*NODES):
        last(12)
    scene.slurm.wait_for_nodes()
