"""What a row plays with: the hosts, Slurm, the hub, the people, and what is to become of each session."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests
from support.web import request

from faults.hosts import CONTROLLER, HUB, NODES, Hosts
from faults.people import Person
from faults.slurm import Job, Slurm
from faults.target import Target
from faults.waiting import wait_for

# How a session ended, in the words of its home page.
BY_ADMIN = r"administrator cancelled"
CANCELLED = r"cancelled"
BY_OWNER = r"You cancelled"
FAILED = r"job failed"
NODE_FAILED = r"node of the session failed"
TIME_LIMIT = r"time limit"
OUT_OF_MEMORY = r"memory"
# The user pressed Stop: there is nothing to tell.
STOPPED = r""

_ROUTES = """
import os, sys, urllib.request
proof = {"Authorization": "token " + os.environ["CONFIGPROXY_AUTH_TOKEN"]}
asked = urllib.request.Request(sys.argv[1] + "/api/routes", headers=proof)
print(urllib.request.urlopen(asked, timeout=10).read().decode())
"""


@dataclass
class Expectations:
    """What is to become of the sessions in a row; all others are to be kept."""

    dead: dict[str, str] = field(default_factory=dict)  # name -> the reason, a regular expression
    started: set[str] = field(default_factory=set)  # is to be ready, with one job
    settled: set[str] = field(default_factory=set)  # ready with one job, or not running with none
    strangers: set[str] = field(default_factory=set)  # jobs that are not the hub's


class Scene:
    """The stage of all rows, made once."""

    def __init__(self, target: Target, people: list[Person], account: str) -> None:
        self.target, self.account = target, account
        self.hosts = Hosts()
        self.slurm = Slurm(self.hosts)
        self.keepers, self.mortals, self.newcomer, self.stranger = people[:4], people[4:6], people[6], people[7]
        self.people = people[:7]
        self.expected, self.has_mortals = Expectations(), False
        # What is undone only after the row was judged.
        self.after = contextlib.ExitStack()
        self._clicks = ThreadPoolExecutor(8)

    # -- before a row

    def set_up(self, mortals: int) -> list[str]:
        """Have the sessions that a row needs, and no others; return whose session was lost since the last row."""
        self.expected, self.has_mortals = Expectations(), mortals > 0
        needed = [*self.keepers, *self.mortals[:mortals]]
        jobs = self.slurm.jobs()
        with ThreadPoolExecutor(8) as pool:
            fine = list(pool.map(lambda person: self._is_fine(person, jobs), needed))
            new = [one for one, good in zip(needed, fine, strict=True) if not good]
            lost = [one.name for one in new if one in self.keepers and one.job]
            idle = [one for one in (*self.people, self.stranger) if one not in needed]
            self._end_and_begin(pool, [*new, *idle], new)
        return lost

    def _end_and_begin(self, pool: ThreadPoolExecutor, ended: list[Person], begun: list[Person]) -> None:
        """End sessions, and begin some anew; who begins does not wait for who only ends."""

        def ends_and_begins(person: Person) -> bool:
            try:
                self._end(person)
            except AssertionError:
                return False
            if person in begun:
                self._begin(person)
            return True

        done = list(pool.map(ends_and_begins, ended))
        if stuck := [person for person, good in zip(ended, done, strict=True) if not good]:
            self._restart_for_the_next_row()
            for person in stuck:
                (self.begin_again if person in begun else self.clear)(person)

    def _is_fine(self, person: Person, jobs: list[Job]) -> bool:
        own = [job.number for job in jobs if job.user == person.name]
        return own == [person.job] and person.is_ready() and person.counts_on()

    def clear(self, person: Person) -> None:
        """Leave neither a session nor a job of a person."""
        try:
            self._end(person)
        except AssertionError:
            self._restart_for_the_next_row()
            self._end(person)

    def _end(self, person: Person) -> None:
        if not person.is_stopped():
            person.stop()
        self.slurm.cancel_all_of(person.name)
        wait_for(person.is_stopped, f"{person.name} to have no session", 75)
        person.counter, person.job = None, ""

    def _restart_for_the_next_row(self) -> None:
        # The row before has left a hub that can't end a session, and failed for that; the next is to have its chance.
        self.restart_hub()

    def clear_all(self) -> None:
        """End everybody's sessions."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.clear, [*self.people, self.stranger]))

    def begin_again(self, person: Person) -> None:
        """Give a person a fresh session with a counter, whatever there was."""
        self.clear(person)
        self._begin(person)

    def _begin(self, person: Person) -> None:
        person.start()
        person.wait_until_ready()
        self.take_note(person)

    def take_note(self, person: Person) -> None:
        """Note a session that has just become ready as one to be kept, and let it count."""
        job = self.slurm.jobs_of(person.name)[0]
        person.job, person.node = job.number, job.node
        person.begin_counting()

    # -- what happens to sessions in a row

    def dies(self, person: Person, how: str) -> None:
        """Expect a session to be ended, with its reason."""
        self.expected.dead[person.name] = how

    def cancel_by_admin(self, person: Person, reason: str = BY_ADMIN) -> None:
        """Let an administrator cancel a session's job."""
        self.dies(person, reason)
        self.slurm.cancel(person.job)

    def cancel_by_owner(self, person: Person) -> None:
        """Let the owner cancel a session's job, beside the hub."""
        self.dies(person, BY_OWNER)
        self.hosts.output(CONTROLLER, f"runuser -u {person.name} -- scancel {person.job}")
        self.slurm.wait_for_end(person.job)

    def kill_on_node(self, person: Person, reason: str = FAILED) -> None:
        """Kill what runs in a session's job; Slurm's controller need not be there."""
        self.dies(person, reason)
        self.slurm.kill_on_node(person.job, person.node)

    def reach_time_limit(self, person: Person) -> None:
        """Let a session's time be up."""
        self.dies(person, TIME_LIMIT)
        self.hosts.output(CONTROLLER, f"scontrol update JobId={person.job} EndTime=now")
        self.slurm.wait_for_end(person.job, 150)

    def lose_node(self, node: str) -> None:
        """Have the mortals on a node, and take its power away until Slurm has noticed."""
        other = next(name for name in NODES if name != node)
        self.slurm.node(other, "State=DRAIN Reason=fault-suite")
        try:
            for person in self.mortals:
                self.begin_again(person)
        finally:
            self.slurm.node(other, "State=RESUME")
        here = [person for person in self.people if person.job and person.node == node]
        for person in here:
            self.dies(person, NODE_FAILED)
        self.hosts.do("crash", node)
        try:
            for person in here:
                self.slurm.wait_for_end(person.job, 90)
        finally:
            self.hosts.do("boot", node)

    def press_start(self, person: Person) -> None:
        """Let a person press Start, and look elsewhere while the hub thinks about it."""
        self._clicks.submit(person.start)

    def press_stop(self, person: Person) -> None:
        """Let a person press Stop; it is to work, now or later."""
        self.dies(person, STOPPED)
        self._clicks.submit(person.stop)

    def wait_until_buried(self, person: Person) -> None:
        """Wait until the hub has ended a session."""
        wait_for(person.is_stopped, f"the session of {person.name} to be ended", 60)

    def wait_until_slurm_knows(self) -> None:
        """Wait until the controller answers, and has heard of the dead: their nodes tell it every 15 s."""
        self.slurm.wait_for_answer()
        for person in self.people:
            if person.name in self.expected.dead:
                self.slurm.wait_for_end(person.job)

    def add_stranger(self, like: Person | None = None) -> str:
        """Submit a job of somebody else, with the name and the mark of a session's job if it is to be like one."""
        words = ["--job-name=stranger"]
        if like is not None:
            shown = self.hosts.output(CONTROLLER, f"scontrol show job --oneliner {like.job}")
            facts = dict(word.split("=", 1) for word in shown.split() if "=" in word)
            words = [f"--job-name={facts['JobName']}", f"--comment={facts.get('Comment', '')}"]
        words += [f"--account={self.account}", "--output=/dev/null", "--chdir=/", "--wrap=sleep 900"]
        order = f"runuser -u {self.stranger.name} -- sbatch --parsable {shlex.join(words)}"
        number = self.hosts.output(CONTROLLER, order)
        self.expected.strangers.add(number)
        return number

    # -- the hub

    def hub_answers(self) -> bool:
        """Say whether the hub answers through the proxy."""
        try:
            return request("GET", f"{self.target.url}/hub/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def wait_for_hub(self, seconds: float = 60) -> None:
        """Wait until the hub answers through the proxy."""
        wait_for(self.hub_answers, "the hub to answer", seconds)

    def kill_hub(self) -> None:
        """End the hub by kill -9; systemd starts it again."""
        self.hosts.kill(HUB, self.target.hub_unit)
        self.wait_for_hub()

    def restart_hub(self) -> None:
        """Restart the hub in an orderly way."""
        self.hosts.output(HUB, f"systemctl restart {self.target.hub_unit}", 120)
        self.wait_for_hub()

    def routes(self) -> set[str]:
        """Return whose sessions the proxy has a route to; nobody's while it does not answer."""
        try:
            shown = self.hosts.output(
                HUB, f"set -a; . {self.target.proxy_token_file}; python3 -c '{_ROUTES}' {self.target.proxy_api}"
            )
        except AssertionError:
            return set()
        # With or without a host's name before it.
        return {path.partition("/user/")[2].split("/")[0] for path in json.loads(shown) if "/user/" in path}

    # -- disks and databases

    def python(self, code: str) -> str:
        """Return the shell command that runs some Python beside the hub, as whoever owns its database."""
        return f"runuser -u $(stat --format=%U {self.target.database}) -- python3 -c {shlex.quote(code)}"

    @contextlib.contextmanager
    def small_disk(self, folder: str, unit: str) -> Iterator[None]:
        """Move a folder onto a small disk of its own while its unit is stopped, and back again."""
        kept = "/root/davide-fault-disk"
        used = int(self.hosts.output(HUB, f"du --summarize --block-size=1K {folder}").split()[0])
        small = f"mount -t tmpfs -o size={used + 1024}k,mode=0700 tmpfs {folder}"
        back = f"rm -rf {kept} && cp --archive {folder} {kept} && umount {folder} && find {folder} -mindepth 1 -delete"
        moved = False
        try:
            with self.hosts.stopped(HUB, unit):
                self.hosts.output(HUB, f"rm -rf {kept} && cp --archive {folder} {kept} && {small}")
                self.hosts.output(HUB, f"cp --archive {kept}/. {folder}")
                moved = True
            yield
        finally:
            with self.hosts.stopped(HUB, unit):
                # A copy that broke off is thrown away: the folder lies below it as it was.
                undo = f"{back} && cp --archive {kept}/. {folder}" if moved else f"umount {folder}"
                self.hosts.output(HUB, f"! mountpoint -q {folder} || {{ {undo}; }}; rm -rf {kept}")
            self.wait_for_hub()

    @contextlib.contextmanager
    def full(self, folder: str) -> Iterator[None]:
        """Fill a small disk to its last byte."""
        try:
            self.hosts.output(HUB, f"head --bytes=1G /dev/zero > {folder}/davide-fault-filler || true")
            yield
        finally:
            self.hosts.output(HUB, f"rm -f {folder}/davide-fault-filler")
