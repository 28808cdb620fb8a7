"""What may happen next in a world, and what must be true of it once everything has come to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from broker_process import Broker, BrokerDied
from choices import Choices
from davide_hub.broker.sessions import Refused
from frozen import Frozen, freeze, thaw
from hub_process import Hub, HubDied, run
from world import SlurmJob, World

Event = tuple[str, str]

# Rounds in which a world without mishaps has to come to rest.
_ROUNDS = 12
_BY_THEMSELVES = ("late order comes", "broker reads on", "hub starts", "job calls home", "hub goes on", "hub compares")


class Life:
    """A world with its hub and broker, in which one event at a time happens.

    Parameters
    ----------
    patch
        pytest's monkeypatch: the real modules meet this world instead of Slurm and disks until it is undone.
    """

    def __init__(self, patch: Any) -> None:
        self.broker = Broker(patch)
        self.hub = Hub(patch, self.broker)
        self.world = World()
        self._at_rest: set[Frozen] = set()

    # -- events

    @staticmethod
    def events(state: Frozen) -> list[Event]:
        """Return what may happen in a world."""
        jobs, late, _, _, _, queued, _, hub, *_ = state
        found = [("late order comes", key) for key in dict.fromkeys(late)]
        for number, _, is_, serves, heard in jobs:
            if is_ != "ended":
                found.append(("job starts" if is_ == "waits" else "job ends", number))
            if hub is not None and serves and not heard:
                found.append(("job calls home", number))
        if queued:
            found.append(("broker reads on", ""))
        if hub is None:
            return [*found, ("hub starts", ""), ("old database", "")]
        if hub[0] != "idle":
            found.append(("hub goes on", ""))
        if hub[0] != "stopping":
            found.append(("user presses Start" if hub[0] == "idle" else "user presses Stop", ""))
        return [*found, ("hub compares", ""), ("hub is killed", "")]

    def outcomes(self, state: Frozen, event: Event, mishaps: int) -> Iterator[tuple[Frozen, Choices]]:
        """Yield every world that an event may lead to, with no more mishaps on the way than are allowed."""
        scripts: list[tuple[int, ...]] = [()]
        while scripts:
            choices = Choices(scripts.pop())
            after = self.happen(state, event, choices)
            if choices.mishaps <= mishaps:
                yield after, choices
            if choices.mishaps < mishaps:
                scripts += choices.rest()

    def happen(self, state: Frozen, event: Event, choices: Choices) -> Frozen:
        """Return the world after an event."""
        world = self.world = thaw(state)
        self.broker.world = self.hub.world = world
        self.broker.choices = self.hub.choices = choices
        self.hub.commits.clear()  # a step may have been broken off by whoever makes the choices
        if world.hub is not None:
            self.hub.wake()
        try:
            self._do(*event)
        except HubDied:
            world.hub = None
        self.hub.commit()
        if world.hub is not None:
            self.hub.sleep()
        return freeze(world)

    def _do(self, what: str, which: str) -> None:
        world, hub = self.world, self.hub
        match what:
            case "late order comes":
                world.late.remove(which)
                world.jobs[world.new_number()] = SlurmJob(which)
            case "job starts":
                self._job_starts(which)
            case "job ends":
                world.jobs[which].state, world.jobs[which].serves = "ended", False
            case "Slurm forgets":
                world.jobs = {number: job for number, job in world.jobs.items() if job.alive}
            case "job calls home":
                run(hub.hear(which))
            case "broker reads on":
                self._broker_reads_on()
            case "hub starts":
                hub.boot()
            case "old database":
                world.database = (False, ())
            case "hub is killed":
                world.hub = None
            case _:
                doing: dict[str, Callable[[], Any]] = {
                    "user presses Start": hub.spawn,
                    "user presses Stop": hub.press_stop,
                    "hub goes on": hub.go_on,
                    "hub compares": hub.compare,
                }
                run(doing[what]())

    def _job_starts(self, number: str) -> None:
        """Do what `davide_session` does: read the secrets, take the session, listen; or end at once."""
        world, job = self.world, self.world.jobs[number]
        holder = world.claims.setdefault(job.key, number) if job.key in world.secrets else ""
        job.serves = holder == number
        job.state = "runs" if job.serves else "ended"

    def _broker_reads_on(self) -> None:
        request = self.world.queued.pop(0)
        try:
            self.broker.serve(request)
        except (BrokerDied, Refused):
            return

    # -- rest

    def unrest(self, state: Frozen) -> str:
        """Return what is wrong once everything has come to rest without further mishaps; nothing if all is well.

        It comes to rest twice: with a Slurm that knows of the jobs that have ended, and with one that has forgotten
        them. The queue is full meanwhile: a job that waits goes on waiting, and who counts on its start is found out.
        """
        serving = [key for _, key, _, serves, _ in state[0] if serves]
        if len(serving) > len(set(serving)):
            return "two servers of one session"
        if wrong := self._unrest(state):
            return wrong
        all_alive = all(is_ != "ended" for _, _, is_, *_ in state[0])
        return "" if all_alive else self._unrest(self.happen(state, ("Slurm forgets", ""), Choices()))

    def _unrest(self, state: Frozen) -> str:
        passed: list[Frozen] = []
        for _ in range(_ROUNDS):
            before = state
            for state in self._one_round(before):
                if state in self._at_rest:
                    self._at_rest.update(passed)
                    return ""
                passed.append(state)
            if state == before:
                wrong = self.wrong(state)
                self._at_rest.update(() if wrong else passed)
                return wrong
        return "it never comes to rest"

    def _one_round(self, state: Frozen) -> Iterator[Frozen]:
        """Yield the worlds through which one goes if all that can happen by itself happens once, without mishaps."""
        yield state
        for what in _BY_THEMSELVES:
            for event in self.events(state):
                if event[0] == what:
                    state = self.happen(state, event, Choices())
                    yield state

    def wrong(self, state: Frozen) -> str:
        """Return what is wrong with a world at rest."""
        world = thaw(state)
        hub = world.hub
        assert hub is not None
        if world.lost:
            return "a session was ended that its user wanted"
        alive = world.alive()
        kept = dict(hub.spawner)
        owned = kept.get("job_id", "") if hub.phase != "idle" else ""
        if len(alive) > 1:
            return f"two live jobs of one server: {', '.join(alive)}"
        if alive and alive != [owned]:
            return f"live job {alive[0]} has no owner: the hub has {owned or 'none'}"
        if owned and not alive:
            return f"job {owned} is dead and believed alive"
        if hub.phase not in ("idle", "up", "starting", "resuming", "adopting"):
            return f"the hub is {hub.phase} for ever"
        if alive and world.jobs[owned].serves and hub.phase != "up":
            return f"nobody is let into the server of job {owned}"
        # An entry that is open for no session would be asked about for ever.
        opened = [key for key, entry in world.disk.items() if entry["state"] != "closed"]
        if opened != ([kept["session_key"]] if alive else []):
            return f"the ledger has {opened} open"
        return ""
