"""Slurm's commands on the hub's host say something else than the truth, or nothing."""

from __future__ import annotations

from faults.row import row
from faults.scene import BY_ADMIN, CANCELLED, OUT_OF_MEMORY, Scene

# Recorded from a host whose clock went back by ten minutes (Slurm 22.05, munge 0.5.15); only squeue's words matter.
CLOCK_WENT_BACK = """slurm_load_jobs error: Protocol authentication error
squeue: error: Munge decode failed: Rewound credential
squeue: error: auth_g_verify: REQUEST_JOB_INFO_SINGLE has authentication error: Rewound credential
slurm_load_jobs error: Unspecified error
"""


def lies(scene: Scene, command: str, script: str, calls: int = 1, reason: str = BY_ADMIN) -> None:
    """Let a command lie until it was called so often; where the row has a mortal, an administrator cancels its job."""
    with scene.hosts.shadowed(command, script) as shadow:
        if scene.has_mortals:
            scene.cancel_by_admin(scene.mortals[0], reason)
        shadow.wait_for_calls(calls, 75)


@row("squeue", "prints nothing, and ends with 0: all jobs are gone at once; one session ends", mortals=1)
def squeue_empty(scene: Scene) -> None:
    lies(scene, "squeue", "exit 0", calls=2)


@row("squeue", "prints its header only: all jobs are gone at once", long=True)
def squeue_header_only(scene: Scene) -> None:
    lies(scene, "squeue", '$real "$@" | head --lines=1', calls=4)


@row("squeue", "its output is cut off in the middle of a word, and it ends with 0", long=True)
def squeue_truncated(scene: Scene) -> None:
    lies(scene, "squeue", '$real "$@" | head --bytes=-4')


@row("squeue", "prints other things, and shouts on stderr", long=True)
def squeue_noise(scene: Scene) -> None:
    lies(scene, "squeue", 'echo "slurm_load_jobs: <html>502</html>"; head --bytes=3000 /dev/urandom >&2')


@row("squeue", "prints without end", long=True)
def squeue_endless(scene: Scene) -> None:
    lies(scene, "squeue", "exec yes 'JOBID|STATE'", calls=2)


@row("squeue", "fails, in the words it has for a job that is gone")
def squeue_says_gone(scene: Scene) -> None:
    lies(scene, "squeue", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')


@row("squeue", "hangs, and one session ends", mortals=1, long=True)
def squeue_hangs(scene: Scene) -> None:
    lies(scene, "squeue", "exec sleep 40")


@row("sacct", "prints nothing, and ends with 0; one session ends", mortals=1, long=True)
def sacct_empty(scene: Scene) -> None:
    # By whom, only accounting knows.
    lies(scene, "sacct", "exit 0", reason=CANCELLED)


@row("scancel", "fails for 10 s with strange words; two Stops are pressed", mortals=2)
def scancel_fails(scene: Scene) -> None:
    with scene.hosts.shadowed("scancel", 'echo "scancel: error: Kill job error on job id: 0" >&2; exit 1') as scancel:
        for person in scene.mortals:
            scene.press_stop(person)
        scancel.wait_for_calls(1)


@row("clock", "the hub's clock is behind, and munge refuses every credential", replayed=True)
def clock_skew(scene: Scene) -> None:
    said = "".join(f"echo '{line}' >&2\n" for line in CLOCK_WENT_BACK.splitlines())
    lies(scene, "squeue", f"{said}exit 1")


@row("memory", "a session uses more than it has, and Slurm kills it", mortals=1, replayed=True)
def out_of_memory(scene: Scene) -> None:
    # What Slurm says then is "OUT_OF_MEMORY" where it says "FAILED" of this job; the rest of the line is the same.
    number = scene.mortals[0].job
    script = f'$real "$@" | sed "/{number}/ s/FAILED/OUT_OF_MEMORY/; /{number}/ s/NonZeroExitCode/OutOfMemory/"'
    with scene.hosts.shadowed("squeue", script), scene.hosts.shadowed("sacct", script):
        scene.kill_on_node(scene.mortals[0], OUT_OF_MEMORY)
        scene.wait_until_buried(scene.mortals[0])
