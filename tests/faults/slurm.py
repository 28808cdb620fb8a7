"""What Slurm's controller itself says of the jobs, and what an administrator does to them there."""

from __future__ import annotations

from dataclasses import dataclass

from faults.hosts import CONTROLLER, Hosts
from faults.waiting import wait_for


@dataclass(frozen=True)
class Job:
    """One row of squeue."""

    number: str
    user: str
    state: str
    node: str
    name: str

    @property
    def is_live(self) -> bool:
        """Say whether it holds, or will hold, a place: not while it is being cleaned up."""
        return self.state not in ("COMPLETING", "CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL")


class Slurm:
    """The controller's host, as root."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def jobs(self) -> list[Job]:
        """Return the live jobs of all users."""
        rows = self._hosts.output(CONTROLLER, "squeue --all --noheader --format='%i|%u|%T|%N|%j'", 40).splitlines()
        return [job for job in (Job(*row.split("|", 4)) for row in rows) if job.is_live]

    def jobs_of(self, user: str) -> list[Job]:
        """Return the live jobs of one user."""
        return [job for job in self.jobs() if job.user == user]

    def cancel(self, number: str) -> None:
        """Cancel a job as an administrator, and see it end."""
        self._hosts.output(CONTROLLER, f"scancel {number}")
        self.wait_for_end(number)

    def cancel_all_of(self, user: str) -> None:
        """Cancel whatever jobs a user has, and see them end."""
        if self.jobs_of(user):
            self._hosts.output(CONTROLLER, f"scancel --user={user}")
            wait_for(lambda: not self.jobs_of(user), f"the jobs of {user} to end", 60)

    def wait_for_end(self, number: str, seconds: float = 60) -> None:
        """Wait until a job has left the queue, or is on its way out."""
        wait_for(lambda: number not in {job.number for job in self.jobs()}, f"job {number} to end", seconds)

    def kill_on_node(self, number: str, node: str) -> None:
        """Kill a job's processes where they run; the controller need not answer for that."""
        killed = f"scontrol listpids {number} | awk 'NR > 1 && $1 > 1 {{ print $1 }}' | xargs --no-run-if-empty kill -9"
        alive = f"scontrol listpids {number} 2>/dev/null | awk 'NR > 1 && $1 > 1' | grep -c . || true"

        def all_dead() -> bool:
            # A process may end between being listed and being killed, and then kill complains.
            self._hosts.run(node, killed)
            return bool(self._hosts.output(node, alive) == "0")

        wait_for(all_dead, f"the processes of job {number} to end", 20)

    def partition(self, change: str) -> None:
        """Change the partition of the sessions."""
        name = self._hosts.output(
            CONTROLLER, "scontrol show partition --oneliner | head -1 | grep -o '^PartitionName=[^ ]*'"
        )
        self._hosts.output(CONTROLLER, f"scontrol update {name} {change}")

    def node(self, name: str, change: str) -> None:
        """Change the state of a node."""
        self._hosts.output(CONTROLLER, f"scontrol update NodeName={name} {change}")

    def wait_for_answer(self) -> None:
        """Wait until the controller answers."""
        ping = "scontrol ping | grep -q 'is UP' && squeue --noheader > /dev/null"
        wait_for(lambda: self._hosts.run(CONTROLLER, ping, 40).returncode == 0, "slurmctld to answer", 60)

    def wait_for_nodes(self) -> None:
        """Wait until both nodes take jobs."""
        bad = "sinfo --noheader --Node --format=%T | grep -c -v -E '^(idle|mixed|allocated)$' || true"
        wait_for(lambda: self._hosts.output(CONTROLLER, bad, 40) == "0", "the nodes to be in service", 90)
