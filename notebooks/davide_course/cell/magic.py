"""`%%davide` and `%davide`: a cell, or a script, as a Slurm job."""

from __future__ import annotations

import ast
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from davide_course import machine
from davide_course.cell import options, queue, runs, script, values
from davide_course.cell.folder import OVER, Folder
from davide_course.cell.options import Refused, Request
from davide_course.cell.screen import Screen, State, clock
from davide_course.cell.verdict import CellFailed
from davide_course.cell.watch import Shows, Watch, beating

ROOT = "runs"
# After so long without a sign of the notebook a job ends itself. A GPU held a minute too long costs less than a
# training that was ended because a file system stood still.
PARENT_SECONDS = 60.0


class CellInterrupted(KeyboardInterrupt):
    """The cell was interrupted, and its job cancelled."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Magic:
    """The magic of one notebook.

    Parameters
    ----------
    shell
        IPython's; its variables are sent, and get the result.
    screen
        Where to show; made for each cell if None.
    """

    def __init__(self, shell: Any, screen: Shows | None = None) -> None:
        self._shell, self._screen = shell, screen
        self.__doc__ = options.HELP  # what `%davide?` shows
        self.__name__ = "davide"

    def __call__(self, line: str, cell: str | None = None) -> None:
        """Run the cell, or the script that the line names."""
        if "help" in options.words_of(line)[0]:
            print(options.HELP)
            return
        asked = options.request(line, machine.site())
        code = source(asked, line, cell)
        sent = self._variables(asked)
        if asked.show:
            show(asked)
            return
        if not shutil.which("sbatch"):
            raise Refused(
                "This host has no sbatch: %%davide works in a session on the cluster. --show shows the script."
            )
        screen = self._screen or Screen(changes=getattr(self._shell, "kernel", None) is not None)
        with runs.taken(Path.cwd() / ROOT, asked.run, fresh=asked.fresh) as run:
            job = Job(asked, run, code, sent)
            found = job.run(screen)
        if found is not None:
            self._shell.user_ns[asked.result] = found.value

    def _variables(self, asked: Request) -> dict[str, Any]:
        names = self._shell.user_ns
        if unknown := [name for name in asked.send if name not in names]:
            raise Refused(f"--send {','.join(asked.send)}: the notebook has no variable {unknown[0]}.")
        return {name: names[name] for name in asked.send}


class Found:
    """A result that came back."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Job:
    """One job: its folder, its way through Slurm, its result."""

    def __init__(self, asked: Request, run: Path, code: str, sent: dict[str, Any]) -> None:
        token = secrets.token_hex(4)
        self.asked, self.run_folder, self.number = asked, run, ""
        self.name = f"cell-{asked.run + '-' if asked.run else ''}{token}"
        self.folder = Folder(runs.job_folder(run, token))
        self.folder.make(asked.tasks, plan_of(asked, run), code)
        runs.note_name(self.folder.path, self.name)
        if sent:
            values.save(self.folder.path / "sent.npz", sent)
            if lost := values.missing(values.load(self.folder.path / "sent.npz")):
                raise Refused(
                    f"--send can't send {', '.join(lost)}: numbers, texts, lists, dictionaries and arrays can be sent. "
                    "Make or load the rest in the cell."
                )
        text = script.job_script(asked, self.name, self.folder.path, run, script.beginning())
        (self.folder.path / "job.sh").write_text(text, encoding="utf-8")

    def run(self, screen: Shows) -> Found | None:
        """Send the job, follow it, and return what it brought back; whatever happens, it is not left behind."""
        ended = False
        try:
            with beating(self.folder):
                self.number = self._submit()
                watch = self._watch(screen)
                watch.follow()
                # The processes end when they read this; the beat would write over it.
            self.folder.beat(OVER)
            ended = watch.leave()
            return self._bring(watch, screen)
        except KeyboardInterrupt:
            screen.state(State(f"Job {self.number} was cancelled: the cell was interrupted"), last=True)
            raise CellInterrupted(f"Interrupted: job {self.number or self.name} was cancelled.") from None
        finally:
            if not ended:
                self._end()
            runs.note_end(self.folder.path)

    def _submit(self) -> str:
        try:
            return queue.submit(self.folder.path / "job.sh", self.name)
        except queue.Refused as refusal:
            known = ", ".join(one["name"] for one in machine.site().partitions) if machine.site().known else ""
            hint = f" This site's partitions: {known}." if known else ""
            raise Refused(f"Slurm refused the job: {refusal}.{hint} --show shows what was asked for.") from None
        except queue.Silent as silence:
            raise CellFailed(f"{silence}; try again in a minute. Should the job come yet, it ends at once.") from None

    def _watch(self, screen: Shows) -> Watch:
        asked = self.asked
        return Watch(
            self.folder,
            self.run_folder,
            self.number,
            count=asked.tasks,
            minutes=asked.minutes,
            patience=asked.patience,
            screen=screen,
        )

    def _bring(self, watch: Watch, screen: Shows) -> Found | None:
        asked = self.asked
        brought = watch.members if asked.all_ranks else watch.members[:1]
        took = clock(time.monotonic() - (watch.began or time.monotonic()))
        if not all(one.assigned for one in brought):
            screen.state(State(f"Job {self.number} is done in {took}; it has not set {asked.result}", 1.0), last=True)
            return None
        got = [values.load(self.folder.result(one.rank)) for one in brought]
        screen.state(State(f"Job {self.number} is done in {took}; {asked.result} is here", 1.0), last=True)
        if lost := sorted(set(values.missing(got))):
            text = f"{', '.join(lost)} can't be brought back: save it in cell.here().folder, and load it from there."
            screen.lines([text], "")
        return Found(got if asked.all_ranks else got[0])

    def _end(self) -> None:
        with undisturbed():
            with suppress(OSError):  # Slurm is told all the same
                self.folder.beat(OVER)
            for pause in (0.0, 1.0, 3.0):
                time.sleep(pause)
                if queue.cancel(self.number, self.name):
                    return
            print(
                f"Slurm did not take the order to end job {self.number or self.name}. It ends by itself within about a "
                "minute, when it sees that this cell is over; `squeue --me` shows it."
            )


def plan_of(asked: Request, run: Path) -> dict[str, Any]:
    """Return what the processes of the job have to know."""
    return {
        "count": asked.tasks,
        "gpus": asked.gpus,
        "patience": asked.patience,
        "parent_seconds": PARENT_SECONDS,
        "run_folder": str(run),
        "result": asked.result,
        "all_ranks": asked.all_ranks,
        "script": asked.script,
        "arguments": list(asked.arguments),
    }


def source(asked: Request, line: str, cell: str | None) -> str:
    """Return the code that the job runs, once it is sure that Python can read it.

    Raises
    ------
    Refused
        If it can't: before a job waits an hour to find that out.
    """
    if asked.script and cell is not None and cell.strip():
        raise Refused("Either a cell or --script FILE: write `%davide --script FILE` with one %, and nothing below.")
    if asked.script:
        text, place = Path(asked.script).read_text(encoding="utf-8"), f"{asked.script}, line"
    elif cell is None or not cell.strip():
        raise Refused("There is nothing to run: begin a cell with %%davide and write the code below, or --script FILE.")
    else:
        # The line above stays as a comment, so that a traceback counts lines as the notebook does.
        text, place = f"# %%davide {line}\n{cell}", "Line"
    try:
        ast.parse(text)
    except SyntaxError as error:
        wrong = (error.text or "").strip()
        magic = " A job knows no magics and no `!`." if wrong.startswith(("%", "!")) else ""
        raise Refused(f"{place} {error.lineno}: {error.msg}: {wrong}{magic} Nothing was submitted.") from None
    return text


def show(asked: Request) -> None:
    """Print the job script, and how one would send it."""
    run = Path.cwd() / ROOT / (asked.run or "TIME")
    name = f"cell-{asked.run + '-' if asked.run else ''}NUMBER"
    print(script.job_script(asked, name, run / ".job-TIME-NUMBER", run, script.beginning()), end="")
    print(
        "\n# Nothing was submitted. Sent with: sbatch job.sh; asked for with: squeue --me; ended with: scancel NUMBER"
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let the interrupt button wait, so that a second press does not leave a job behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
