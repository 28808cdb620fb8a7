"""Faults of what the hub and the broker keep, of homes, of the directory; and jobs that only look like ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faults.hosts import HUB
from faults.row import row
from faults.scene import STOPPED, Scene
from faults.waiting import last, wait_for

HANGING = "/root/davide-fault-hanging.py"
# A file system whose server never says a word: whoever touches it waits, as on a hung NFS or GPFS.
HANGING_SCRIPT = """
import ctypes, os, signal, sys
path, device = sys.argv[1], "/dev/davide-fault-fuse"
if not os.path.exists(device):
    os.mknod(device, 0o020600, os.makedev(10, 229))
channel = os.open(device, os.O_RDWR)
options = f"fd={channel},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hung", path.encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("hung", flush=True)
signal.pause()
"""


@row("disk", "the hub's own folder is full for 20 s, one session ends meanwhile", mortals=1)
def hub_disk_full(scene: Scene) -> None:
    scene.after.enter_context(scene.small_disk(scene.target.state, scene.target.hub_unit))
    scene.wait_for_hub()
    with scene.full(scene.target.state):
        scene.cancel_by_admin(scene.mortals[0])
        last(20)


@row("disk", "the broker's folder is full: one Start, one Stop", mortals=1, needs_broker=True)
def broker_disk_full(scene: Scene) -> None:
    scene.after.enter_context(scene.small_disk("/var/lib/davide-broker", scene.target.broker_unit))
    with scene.full("/var/lib/davide-broker"):
        scene.press_start(scene.newcomer)
        scene.press_stop(scene.mortals[0])
        last(5)
    scene.expected.settled.add(scene.newcomer.name)


@row("database", "locked by another program for 20 s, one session ends meanwhile", mortals=1, long=True)
def database_locked(scene: Scene) -> None:
    with _locked(scene):
        scene.cancel_by_admin(scene.mortals[0])


@row("database", "locked by another program for 20 s, one Stop meanwhile", mortals=1, long=True)
def database_locked_stop(scene: Scene) -> None:
    person = scene.mortals[0]
    with _locked(scene):
        scene.dies(person, STOPPED)
        # One that is refused is pressed again; one that is taken is to hold.
        wait_for(lambda: (reply := person.stop()) is not None and reply.ok, "Stop to be taken")


@contextmanager
def _locked(scene: Scene) -> Iterator[None]:
    lock = (
        f"import sqlite3, time; kept = sqlite3.connect({scene.target.database!r}, isolation_level=None, timeout=30); "
        'kept.execute("BEGIN EXCLUSIVE"); time.sleep(20)'
    )
    unit = "davide-fault-lock"
    scene.hosts.output(HUB, f"systemd-run --quiet --collect --unit={unit} {scene.python(lock)}")
    write = f"import sqlite3; sqlite3.connect({scene.target.database!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    wait_for(lambda: "is locked" in scene.hosts.run(HUB, scene.python(write)).stderr, "the lock")
    yield
    wait_for(lambda: scene.hosts.run(HUB, f"systemctl is-active {unit}").returncode != 0, "the lock to be given up")


@row("database", "an older copy restored: one session began after it, one ended", mortals=1)
def database_older(scene: Scene) -> None:
    kept = "/var/tmp/davide-fault-older.sqlite"
    copy = f"import sqlite3; sqlite3.connect({scene.target.database!r}).backup(sqlite3.connect({kept!r}))"
    scene.hosts.output(HUB, f"rm -f {kept}; {scene.python(copy)}")
    scene.begin_again(scene.newcomer)
    scene.press_stop(scene.mortals[0])
    wait_for(lambda: not scene.slurm.jobs_of(scene.mortals[0].name), "the stopped session's job to end")
    with scene.hosts.stopped(HUB, scene.target.hub_unit):
        database = scene.target.database
        scene.hosts.output(HUB, f"cat {kept} > {database} && rm -f {kept} {database}-wal {database}-shm")
    scene.wait_for_hub()


@row("database", "removed")
def database_removed(scene: Scene) -> None:
    with scene.hosts.stopped(HUB, scene.target.hub_unit):
        scene.hosts.output(HUB, f"rm {scene.target.database}*")
    scene.wait_for_hub()


@row(
    "home", "the shared file system hangs on the hub's host for 20 s: one Start, one Stop, one job cancelled", mortals=2
)
def homes_hang(scene: Scene) -> None:
    stopped, cancelled = scene.mortals
    scene.hosts.write(HUB, HANGING, HANGING_SCRIPT)
    scene.hosts.output(HUB, f"systemd-run --quiet --collect --unit=davide-fault-hanging python3 {HANGING} /home")
    try:
        wait_for(lambda: "hung /home" in scene.hosts.output(HUB, "cat /proc/mounts"), "the homes to hang")
        scene.press_start(scene.newcomer)
        scene.press_stop(stopped)
        scene.cancel_by_admin(cancelled)
        last(20)
    finally:
        scene.hosts.output(
            HUB, "systemctl stop davide-fault-hanging; umount --lazy /home; rm -f /dev/davide-fault-fuse"
        )
    scene.expected.settled.add(scene.newcomer.name)


@row("directory", "knows no user for 20 s: one Stop, one job cancelled", mortals=2)
def directory_away(scene: Scene) -> None:
    stopped, cancelled = scene.mortals
    with scene.hosts.edited(HUB, "/etc/nsswitch.conf", "s/extrausers//"):
        assert scene.hosts.run(HUB, f"getent passwd {stopped.name}").returncode != 0
        scene.press_stop(stopped)
        scene.cancel_by_admin(cancelled)
        last(20)


@row("job", "a stranger's job with a session's name and a copy of its mark, while the hub is killed", mortals=1)
def forged_mark(scene: Scene) -> None:
    scene.add_stranger(like=scene.mortals[0])
    scene.kill_hub()
    scene.press_stop(scene.mortals[0])


@row("job", "it ends, and its number is used again for a stranger's at once", mortals=1, replayed=True)
def number_used_again(scene: Scene) -> None:
    # Numbers come back when a controller has lost its state, which would end all sessions here. The list then shows the
    # number as running, with the stranger's uid; and the owner's own list does not show it.
    person, stranger = scene.mortals[0], scene.stranger.name
    # State, node, owner and reason are the stranger's; what is between stays, whatever the hub asks for.
    found, job = r"[^|]*\|[^|]*\|[^|]*\|(.*)\|[^|]*$", person.job
    theirs = f'$real "$@" | sed -E "s/^{job}\\|{found}/{job}|RUNNING|{person.node}|$(id -u {stranger})|\\1|None/"'
    script = f'case "$*" in *--user=*) $real "$@" | grep -v "^{job}|";; *) {theirs};; esac'
    with scene.hosts.shadowed("squeue", script):
        scene.cancel_by_admin(person)
        scene.wait_until_buried(person)
