"""What else the cluster is made to be for the bench: many small places, a stopped queue, strangers' jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from davide_lab.say import Problem

from bench import users
from bench.hosts import Lab, on, wait_until

_CONF = "/etc/slurm/slurm.conf"
_KEPT = f"{_CONF}.before-bench"
_ARRAY = 1000  # MaxArraySize is 1001 where a site sets nothing
_FOREIGN = "bench-foreign"


def widen(lab: Lab, jobs: int) -> None:
    """Let the nodes claim a core for each of so many jobs: they are stand-ins and need next to none.

    The controller remembers jobs for five minutes after their end, strangers' thousands too: its table gets room.
    And it waits longer for the nodes to take a job, which here share their processors with everything else: after the
    usual ten seconds it hangs up, and a node then gives up a job that it was just about to start.
    """
    cores = max(lab.partition["cores"], -(-jobs // len(lab.nodes)))
    change = f"sed -i -E '/^NodeName=/s/CPUs=[0-9]+/CPUs={cores}/; $ a MaxJobCount=100000\\nMessageTimeout=60' {_CONF}"
    for host in lab.all:
        on(host, f"cp -a {_CONF} {_KEPT}; {change}")
    _restart(lab)


def narrow(lab: Lab) -> None:
    """Undo `widen`, of this run or of one that was killed."""
    changed = [on(host, f"! test -e {_KEPT} || {{ mv {_KEPT} {_CONF}; echo changed; }}").strip() for host in lab.all]
    if any(changed):
        _restart(lab)


def jobs_of_the_bench(lab: Lab) -> int:
    """Return how many jobs of load users Slurm still has."""
    listed = on(lab.controller, "squeue --noheader --format=%u").split()
    return sum(name.startswith(users.PREFIX) for name in listed)


def clear(lab: Lab) -> None:
    """Cancel what load users have in the queue, and wait until it is gone."""
    names = {name for name in on(lab.controller, "squeue --noheader --format=%u").split() if name[:5] == users.PREFIX}
    if names:
        on(lab.controller, " ; ".join(f"scancel --user={name}" for name in sorted(names)))
    wait_for_end(lab)


def wait_for_end(lab: Lab) -> None:
    """Wait until no job of a load user is left."""
    wait_until(lambda: jobs_of_the_bench(lab) == 0, "the load's jobs to end", 180, every=1)


def left_after(lab: Lab, seconds: float) -> int:
    """Return how many jobs of load users are left once there is none, or after a time."""
    with suppress(Problem):
        wait_until(lambda: jobs_of_the_bench(lab) == 0, "the load's jobs to end", seconds, every=1)
    return jobs_of_the_bench(lab)


@contextmanager
def stopped_queue(lab: Lab) -> Iterator[None]:
    """Let no job start as long as the block runs: what is submitted stays pending."""
    name = lab.partition["name"]
    on(lab.controller, f"scontrol update PartitionName={name} State=DOWN")
    try:
        yield
    finally:
        on(lab.controller, f"scontrol update PartitionName={name} State=UP")


@contextmanager
def foreign_jobs(lab: Lab, count: int) -> Iterator[None]:
    """Keep a stranger's held jobs in the queue as long as the block runs, each a record of its own for Slurm."""
    user, account = users.names(1)[0], lab.site["slurm"]["account"]
    options = f"--job-name={_FOREIGN} --account={account} --hold --parsable --wrap=true --output=/dev/null"
    for begin in range(0, count, _ARRAY):
        size = min(_ARRAY, count - begin)
        identity = f"setpriv --reuid {user} --regid {lab.site['group']} --init-groups --reset-env"
        array = on(lab.hub, f"cd /tmp; {identity} sbatch --array=1-{size} {options}").strip()
        # An array is one record until its tasks differ.
        changes = "".join(f"update JobId={array}_{task} Comment={task}\n" for task in range(1, size + 1))
        on(lab.controller, "scontrol > /dev/null", stdin=changes, seconds=300)
    try:
        yield
    finally:
        on(lab.controller, f"scancel --name={_FOREIGN}", seconds=300)


def _restart(lab: Lab) -> None:
    on(lab.controller, "systemctl restart slurmctld")
    for node in lab.nodes:
        on(node, "systemctl restart slurmd")
    names = ",".join(node.name for node in lab.nodes)
    ready = f"sinfo --noheader --nodes={names} --Node --format=%T"
    wait_until(
        lambda: (shown := on(lab.controller, f"{ready} || true").split()) != [] and set(shown) == {"idle"},
        "the nodes to be idle",
        90,
    )
