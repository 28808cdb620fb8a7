"""What a notebook does while its job waits and runs: look, show, and end with a sentence when something went wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from davide_course.cell import queue, verdict
from davide_course.cell.folder import Folder, Tail, event_of
from davide_course.cell.queue import Look
from davide_course.cell.screen import State, clock, together
from davide_course.cell.verdict import CellFailed, Member

BEAT_SECONDS = 2.0
# From the first word of a failure until it is judged: the last lines, and the words of others, are on their way.
SETTLE_SECONDS = 0.7
# A job that Slurm has ended may have left files which this node does not see yet.
LATE_FILES_SECONDS = 4.0
HOPELESS_SECONDS = 20.0
# A node that lost its power says nothing, and Slurm may take five minutes to notice. But so does a process on a node
# that is overloaded: half a minute was too short for one that several trainings shared.
SILENT_SECONDS = 120.0
UNEASY_SECONDS = 8.0  # then Slurm is asked more often
FORGOTTEN_SECONDS = 30.0  # of a job that neither squeue nor sacct knows
LAST_LINES = 12


class Shows(Protocol):
    """Where the course of a job is shown."""

    def state(self, state: State, *, last: bool = False) -> None:
        """Show how the job is."""

    def lines(self, lines: list[str], where: str) -> None:
        """Show lines of output."""


class Watch:
    """Follows one job to its end.

    Parameters
    ----------
    folder, run
        Where notebook and job talk; where the code saves.
    count, minutes, patience
        Processes, the job's time limit, and the seconds in which all of them have to start.
    """

    def __init__(
        self, folder: Folder, run: Path, number: str, *, count: int, minutes: int, patience: float, screen: Shows
    ) -> None:
        self.folder, self.run, self.number = folder, run, number
        self.minutes, self.patience, self.screen = minutes, patience, screen
        self.members = [Member(rank) for rank in range(count)]
        self.asker = queue.Asker(number)
        self.began: float | None = None  # when it was first seen to run
        self._sent = time.monotonic()
        self._met = False
        self._hopeless: float | None = None
        self._said: list[str] = []
        self._events = [Tail(folder.events(rank)) for rank in range(count)]
        self._logs = [Tail(folder.log(rank)) for rank in range(count)]
        self._own = Tail(folder.path / "job.txt")
        # Every look opens a few files for each process, on a file system that others use too.
        self._pause = 0.2 + 0.01 * count

    def follow(self) -> None:
        """Return when all processes are through; raise CellFailed if they will not be."""
        try:
            while not self._through():
                self._read()
                self._show()
                self._judge()
                time.sleep(self._pause)
            self._say_rest()
        except CellFailed as error:
            self.screen.state(State(f"Job {self.number} failed after {clock(self._passed())}", 0.0), last=True)
            raise error from None
        finally:
            self.asker.close()

    def leave(self) -> bool:
        """Wait for the processes to end by themselves, now that they know it is over, and return whether all did."""
        deadline = time.monotonic() + 5.0
        while not all(one.bye for one in self.members) and time.monotonic() < deadline:
            self._read()
            time.sleep(self._pause)
        return all(one.bye for one in self.members)

    def _through(self) -> bool:
        return all(one.done for one in self.members)

    def _passed(self) -> float:
        return time.monotonic() - (self._sent if self.began is None else self.began)

    def _read(self) -> None:
        for member, tail in zip(self.members, self._events, strict=True):
            for line in tail.lines():
                self._hear(member, event_of(line))
            self._feel(member)
        self._said += self._own.lines()
        self._print({member.rank: tail.lines() for member, tail in zip(self.members, self._logs, strict=True)})

    def _say_rest(self) -> None:
        self._print({member.rank: tail.lines(rest=True) for member, tail in zip(self.members, self._logs, strict=True)})

    def _print(self, said: dict[int, list[str]]) -> None:
        self.screen.lines(together(said, len(self.members)), f"{self.folder.path}/rank-*.txt")

    def _hear(self, member: Member, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "here":
            member.host, member.port = event["host"], event["port"]
            for other, host in zip(self.members, event["hosts"], strict=False):
                other.host = other.host or host
            self._run_began()
        elif kind == "step":
            member.step = event
        elif kind == "done":
            member.done, member.assigned = True, event.get("assigned")
        elif kind == "failed":
            member.failed = event
        elif kind == "alone":
            member.alone = True
        elif kind == "bye":
            member.bye = True
        member.heard = time.monotonic()

    def _feel(self, member: Member) -> None:
        try:
            beat = self.folder.pulse(member.rank).read_text()
        except OSError:
            return
        if beat != member.beat:
            member.beat, member.heard = beat, time.monotonic()

    def _run_began(self) -> None:
        if self.began is None:
            self.began = time.monotonic()
            for one in self.members:
                one.heard = self.began

    def _judge(self) -> None:
        if any(one.failed or one.alone for one in self.members) or verdict.complains(self._said):
            self._settle(SETTLE_SECONDS)
            raise self._death()
        found = self.asker.latest
        if found.phase == "running":
            self._run_began()
        self._meet()
        if found.phase == "ended" or (self.asker.gone and not self._heard_lately()):
            self._settle(LATE_FILES_SECONDS)
            if not self._through():
                raise self._death()
        self._despair(found)
        self._listen()

    def _settle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self.asker.hurry()
        while time.monotonic() < deadline and not self._through():
            self._read()
            time.sleep(self._pause)
        self._say_rest()

    def _meet(self) -> None:
        if self._met or self.began is None:
            return
        missing = [one for one in self.members if one.port is None]
        if not missing:
            self.folder.go([one.port for one in self.members if one.port is not None])
            self._met = True
        elif time.monotonic() - self.began > self.patience:
            raise CellFailed(
                f"{verdict.names(missing)} did not start within {self.patience:g} s, so the job was ended"
                f"{'' if len(missing) == len(self.members) else ', with those that had'}. "
                f"{self._own_words()}Is {self.folder.path} on a file system that every node sees? "
                "If the nodes are only slow, take a longer --patience."
            )

    def _despair(self, found: Look) -> None:
        if not found.hopeless:
            self._hopeless = None
            return
        self._hopeless = self._hopeless or time.monotonic()
        if time.monotonic() - self._hopeless > HOPELESS_SECONDS:
            raise CellFailed(
                f"Job {self.number} would never start: {found.why} ({found.reason}). It was "
                "cancelled; ask for something else."
            )

    def _heard_lately(self) -> bool:
        return any(time.monotonic() - one.heard < FORGOTTEN_SECONDS for one in self.members)

    def _listen(self) -> None:
        """Tell processes that fell silent from a job that is only slow."""
        # If nothing is heard of all of them at once, it is the file system, or Slurm holds the job: it tells.
        now = time.monotonic()
        self.asker.calm = self._met and all(now - one.heard < UNEASY_SECONDS for one in self.members)
        silent = [one for one in self.members if now - one.heard > SILENT_SECONDS]
        if self._met and silent and len(silent) < len(self.members):
            raise CellFailed(
                f"{verdict.names(silent)} has not been heard of for {SILENT_SECONDS:g} s, while others have: "
                f"the node may have failed. {self._again()}"
            )

    def _death(self) -> CellFailed:
        """Return what became of the job, from whoever was first."""
        if (one := verdict.first(self.members, self._said)) is not None:
            return self._failure(one)
        if any(one.alone for one in self.members):
            return CellFailed(
                f"Job {self.number} ended because it saw no sign of this notebook any more: its files in "
                f"{_near(self.folder.path)} did not change. The file system may have stood still. {self._again()}"
            )
        return self._ending()

    def _failure(self, member: Member) -> CellFailed:
        failed = member.failed or {}
        others = len(self.members) - 1
        how, hint = verdict.how(failed)
        parts = [
            f"rank {member.rank} on {member.host} {how}, "
            f"{clock(self._passed())} after the start"
            + (f"; the other {others} {'were' if others > 1 else 'was'} ended." if others else "."),
        ]
        if last := self._last_lines(member.rank):
            parts += ["Its last lines:", *(f"    {line}" for line in last)]
        elif words := self._own_words():
            parts.append(words.strip())
        return CellFailed("\n".join([*parts, *([hint] if hint else []), self._again()]))

    def _ending(self) -> CellFailed:
        """Return why Slurm ended the job, if it tells."""
        deadline = time.monotonic() + 8.0
        while self.asker.latest.phase != "ended" and not self.asker.gone and time.monotonic() < deadline:
            time.sleep(0.2)
        found = self.asker.latest
        if found.phase == "ended":
            what = verdict.ENDINGS.get(found.state, f"ended ({found.state.lower()}) before its processes were through")
        else:
            what = "ended, and Slurm does not tell why (its queue and its accounting do not know the job)"
        began = "" if self.began is not None else f" None of its processes has started: can nodes read {self.run}?"
        return CellFailed(
            f"Job {self.number} {what.format(minutes=self.minutes)}.{began} {self._own_words()}{self._again()}"
        )

    def _own_words(self) -> str:
        said = [line for line in self._said if line.strip()][-3:]
        return f"The job said: {' / '.join(said)}. " if said else ""

    def _last_lines(self, rank: int) -> list[str]:
        try:
            with self.folder.log(rank).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 20_000))
                return file.read().decode("utf-8", errors="replace").rstrip().splitlines()[-LAST_LINES:]
        except OSError:
            return []

    def _again(self) -> str:
        saved = [path for path in self.run.iterdir() if not path.name.startswith(".")]
        if saved:
            return f"Run it again with --run {self.run.name}: it finds what was saved in {_near(self.run)}."
        return f"All output is in {_near(self.folder.path)}."

    def _show(self) -> None:
        found, passed = self.asker.latest, clock(self._passed())
        if self.began is None:
            why = f": {found.why} ({found.reason})" if found.reason else ""
            plan = f", planned for {found.starts.replace('T', ' ')}" if found.starts else ""
            does = "was sent" if found.phase == "unknown" else "waits"
            self.screen.state(State(f"Job {self.number} {does}{why}{plan}; {passed}"))
        elif not self._met:
            here = sum(one.port is not None for one in self.members)
            self.screen.state(State(f"Job {self.number}: {here} of {len(self.members)} processes have started"))
        else:
            self.screen.state(self._running(passed))

    def _running(self, passed: str) -> State:
        hosts = list(dict.fromkeys(one.host for one in self.members))
        places = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4} more" if len(hosts) > 4 else "")
        text = f"Job {self.number} on {places}: {passed} of {clock(60 * self.minutes)}"
        share = self._passed() / (60 * self.minutes)
        step = next((one.step for one in self.members if one.step), None)
        if step:
            numbers = "".join(f", {name} {number:.4g}" for name, number in step["numbers"].items())
            text += f"; step {step['step']} of {step['of']}{numbers}"
            share = step["step"] / max(1, step["of"])
        return State(text, share)


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextmanager
def beating(folder: Folder) -> Iterator[None]:
    """Let the job see that its notebook is there, for the time of a `with` block, also while Slurm is slow."""
    end = Event()

    def beat() -> None:
        while not end.is_set():
            with suppress(OSError):  # the next one may get through
                folder.beat()
            end.wait(BEAT_SECONDS)

    thread = Thread(target=beat, daemon=True)
    folder.beat()
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
