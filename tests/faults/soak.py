"""Twenty minutes in which something fails every 20 s, chosen by a seed, while sessions are started and stopped.

Not part of the suite: `./davide test --long soak`.
DAVIDE_SOAK_SEED repeats a run, DAVIDE_SOAK_MINUTES makes it shorter.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable

from faults.conftest import keep
from faults.hosts import CONTROLLER, HUB, NODES
from faults.judge import judge
from faults.people import REACHES_NOBODY, Person
from faults.scene import Scene
from faults.waiting import last, wait_for

MINUTES = float(os.environ.get("DAVIDE_SOAK_MINUTES", "20"))
EVERY_SECONDS = 20
# Outages that a soak can pack into its 20 s.
SHORT, LONGER = 5, 12

Blow = Callable[[Scene, random.Random], None]


def hub_killed(scene: Scene, chance: random.Random) -> None:
    scene.kill_hub()


def hub_restarted(scene: Scene, chance: random.Random) -> None:
    scene.restart_hub()


def hub_frozen(scene: Scene, chance: random.Random) -> None:
    with scene.hosts.paused(HUB, scene.target.hub_unit):
        last(chance.uniform(SHORT, LONGER))


def proxy_killed(scene: Scene, chance: random.Random) -> None:
    scene.hosts.kill(HUB, scene.target.proxy_unit)


def broker_killed(scene: Scene, chance: random.Random) -> None:
    scene.hosts.kill(HUB, scene.target.broker_unit)


def unit_stopped(scene: Scene, chance: random.Random) -> None:
    units = [(CONTROLLER, "slurmctld"), (CONTROLLER, "slurmdbd"), (HUB, "munge"), (HUB, scene.target.broker_unit)]
    with scene.hosts.stopped(*chance.choice(units)):
        last(chance.uniform(SHORT, LONGER))


def slurmctld_frozen(scene: Scene, chance: random.Random) -> None:
    with scene.hosts.paused(CONTROLLER, "slurmctld"):
        last(chance.uniform(SHORT, LONGER))


def network_parted(scene: Scene, chance: random.Random) -> None:
    with scene.hosts.apart(HUB, *chance.choice([NODES, (CONTROLLER,), (*NODES, CONTROLLER)])):
        last(chance.uniform(SHORT, LONGER))


def command_lies(scene: Scene, chance: random.Random) -> None:
    lie = chance.choice(["exit 0", "exit 1", "sleep 10", "echo 12; exit 0", '$real "$@" | head --bytes=20'])
    with scene.hosts.shadowed(chance.choice(["squeue", "sacct", "sbatch", "scancel"]), lie):
        last(chance.uniform(SHORT, LONGER))


def directory_away(scene: Scene, chance: random.Random) -> None:
    with scene.hosts.edited(HUB, "/etc/nsswitch.conf", "s/extrausers//"):
        last(chance.uniform(SHORT, LONGER))


BLOWS: tuple[Blow, ...] = (
    hub_killed,
    hub_restarted,
    hub_frozen,
    proxy_killed,
    broker_killed,
    unit_stopped,
    slurmctld_frozen,
    network_parted,
    command_lies,
    directory_away,
)


class Coming(threading.Thread):
    """A person who starts and stops sessions all the time, and is content with a refusal but not with silence."""

    def __init__(self, scene: Scene, person: Person, seed: str) -> None:
        super().__init__(daemon=True)
        self.scene, self.person, self.chance = scene, person, random.Random(seed)  # noqa: S311 - nothing secret
        self.complaints: list[str] = []
        self.rounds = 0
        self.leave = threading.Event()

    def run(self) -> None:
        """Come and go until told to leave."""
        while not self.leave.is_set():
            try:
                self._stop() if self.person.job else self._start()
                self.rounds += 1
            except AssertionError as error:
                self.complaints.append(f"{self.person.name}: {error}")
            except Exception as error:
                # Else the soak would go on with fewer people, and nobody would know.
                self.complaints.append(f"{self.person.name} stays away: {error!r}")
                raise
            self.leave.wait(self.chance.uniform(3, 20))

    def _start(self) -> None:
        self.person.start()
        # An sbatch that lies makes up a job: that there is none takes two words of its owner, 20 s apart and in turn
        # with others', while something fails every 20 s.
        wait_for(lambda: self.person.is_ready() or self.person.is_stopped(), "a start to come to something", 300)
        if self.person.is_ready():
            wait_for(self._noted, "Slurm to tell the test of the job", 150)

    def _noted(self) -> bool:
        try:
            self.scene.take_note(self.person)
        except (AssertionError, *REACHES_NOBODY):
            # Slurm is what fails just now, and answers the test no more than it answers the hub; or the proxy is.
            return False
        return True

    def _stop(self) -> None:
        self.person.job, self.person.counter = "", None
        wait_for(self._stop_is_taken, "the hub to take a Stop", 150)
        wait_for(self.person.is_stopped, "a Stop to come to something", 150)

    def _stop_is_taken(self) -> bool:
        # Anything else comes from a proxy without a hub, or from a hub that says why not now: press again.
        reply = self.person.stop()
        return reply is not None and reply.status_code in (202, 204)


def test_soak(scene: Scene) -> None:
    seed = os.environ.get("DAVIDE_SOAK_SEED") or str(random.SystemRandom().randrange(10**6))
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    print(f"\nseed {seed}, {MINUTES:g} minutes")
    scene.set_up(mortals=0)
    comers = [Coming(scene, person, f"{seed}-{person.name}") for person in (*scene.mortals, scene.newcomer)]
    for comer in comers:
        comer.start()
    end, blows = time.monotonic() + 60 * MINUTES, 0
    while time.monotonic() < end:
        begun = time.monotonic()
        blow = chance.choice(BLOWS)
        print(f"{time.strftime('%H:%M:%S')} {blow.__name__}", flush=True)
        blow(scene, chance)
        blows += 1
        last(max(0.0, begun + EVERY_SECONDS - time.monotonic()))
    scene.wait_for_hub()
    scene.slurm.wait_for_answer()
    for comer in comers:
        comer.leave.set()
    for comer in comers:
        comer.join(350)
    scene.expected.settled |= {comer.person.name for comer in comers if not comer.person.job}
    verdict = judge(scene, f"soak: {blows} faults in {MINUTES:g} minutes, seed {seed}")
    rounds = sum(comer.rounds for comer in comers)
    verdict.faults += [complaint for comer in comers for complaint in comer.complaints]
    print(f"{blows} faults, {rounds} starts and stops")
    keep(verdict)
    assert verdict.is_good, "\n".join(verdict.faults)
