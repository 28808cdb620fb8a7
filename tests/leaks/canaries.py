"""Words planted in every kind of place that is searched: a search that misses one of them proves nothing."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from support.cluster import ROOT, Cluster

from leaks.allowed import PARENT
from leaks.crowd import WaitFor
from leaks.search import Find

# A file for each kind of folder: Slurm's, the hub's, the broker's, homes, software, temporary ones, of every host.
FILES = (
    ("ctl01", "/var/lib/slurm/slurmctld/canary"),
    ("gpu01", "/var/lib/slurm/slurmd/canary"),
    ("gpu02", "/tmp/canary"),
    ("gpu02", "/dev/shm/canary"),
    ("hub01", "/var/lib/davide-hub/canary"),
    ("hub01", "/var/lib/davide-broker/canary"),
    ("hub01", "/var/log/davide-hub/canary"),
    ("hub01", "/home/student01/canary with a line\nbreak"),
    ("hub01", "/software/canary"),
)
JOURNALS = ("hub01", "ctl01", "gpu01", "gpu02")
_SLEEP = "python3 -c 'import time; time.sleep(600)'"


@dataclass(frozen=True)
class Canary:
    """A word, and where it has to be found: a host, and a pattern of a place."""

    word: str
    host: str
    place: str

    @property
    def name(self) -> str:
        """What it is called where it is found."""
        return f"{self.word} ({self.host}:{self.place})"

    def is_found(self, host: str, found: Find) -> bool:
        """Return whether this is it."""
        return found["name"] == self.name and host == self.host and bool(re.fullmatch(self.place, found["place"]))


def canary(host: str, place: str) -> Canary:
    """Return a new one."""
    return Canary(f"canary{secrets.token_hex(16)}", host, place)


@contextmanager
def planted(cluster: Cluster, wait_for: WaitFor) -> Iterator[list[Canary]]:
    """Plant one in every kind of place; take away what can be taken away."""
    with ExitStack() as stack:
        found = [stack.enter_context(_file(cluster, host, path)) for host, path in FILES]
        found += [_journal(cluster, host) for host in JOURNALS]
        found.append(stack.enter_context(_parent_file()))
        found.append(stack.enter_context(_compressed(cluster)))
        found += stack.enter_context(_job(cluster, wait_for))
        found += stack.enter_context(_process(cluster))
        yield found


@contextmanager
def _file(cluster: Cluster, host: str, path: str) -> Iterator[Canary]:
    made = canary(host, re.escape(path))
    quoted = shlex.quote(path)
    cluster.output(host, f"cat > {quoted}", given=made.word)
    try:
        yield made
    finally:
        cluster.output(host, f"rm -f {quoted}")


@contextmanager
def _parent_file() -> Iterator[Canary]:
    path = ROOT / ".davide/canary"
    made = canary(PARENT, re.escape(str(path)))
    path.parent.mkdir(exist_ok=True)
    path.write_text(made.word)
    try:
        yield made
    finally:
        path.unlink()


@contextmanager
def _compressed(cluster: Cluster) -> Iterator[Canary]:
    made = canary("ctl01", "compressed logs")
    path = "/var/log/canary.log.1.gz"
    cluster.output("ctl01", f"gzip > {path}", given=made.word)
    try:
        yield made
    finally:
        cluster.output("ctl01", f"rm -f {path}")


def _journal(cluster: Cluster, host: str) -> Canary:
    made = canary(host, "journal")
    # So long that the journal compresses it: its file alone would not show the word.
    cluster.output(host, "logger --size 8KiB --tag canary", given=f"{'0123456789' * 400} {made.word}\n")
    return made


@contextmanager
def _job(cluster: Cluster, wait_for: WaitFor) -> Iterator[list[Canary]]:
    """Run a job whose name goes into the accounting database, with a comment and a variable for Slurm's controller."""
    made = [canary("ctl01", place) for place in ("accounting database", "jobs", "/var/lib/slurm/slurmctld/hash.*")]
    name, comment, variable = (one.word for one in made)
    sbatch = f"sbatch --parsable --account={_account(cluster)} --job-name={name} --comment={comment} --output=/dev/null"
    order = f"CANARY={variable} {sbatch} --wrap='sleep 600'"
    number = cluster.as_user("student08", order, host="ctl01").stdout.strip()
    assert number.isdigit(), "sbatch takes the canary's job"
    try:
        # By its name: a number may be in there since before the controller lost its power.
        record = f"sacct --noheader --allocations --name={name} --format=JobIDRaw"
        wait_for(lambda: number in cluster.output("ctl01", record).split(), "the canary's job to be in the database")
        yield made
    finally:
        cluster.output("ctl01", f"scancel {number}")


def _account(cluster: Cluster) -> str:
    return cluster.output("ctl01", "sacctmgr --noheader --parsable2 show associations user=student08 format=account")


@contextmanager
def _process(cluster: Cluster) -> Iterator[list[Canary]]:
    """Run a process with one in its environment and one in its argv."""
    made = [canary("gpu02", f"{what} of python3.*") for what in ("environ", "cmdline")]
    variable, argument = (one.word for one in made)
    unit = "davide-canary"
    start = f"systemd-run --quiet --collect --unit={unit} --uid=student08 --setenv=CANARY={variable}"
    cluster.output("gpu02", f"{start} {_SLEEP} {argument}")
    try:
        yield made
    finally:
        cluster.output("gpu02", f"systemctl stop {unit}")
