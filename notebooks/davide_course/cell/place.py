"""What a process of a job knows of itself: `cell.here()`. Outside of a job it is the only one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Of the environment that a process finds; `child` sets them, a script may read them.
RANK, RANKS, RUN_FOLDER, PIPE = "DAVIDE_RANK", "DAVIDE_RANKS", "DAVIDE_RUN_DIR", "DAVIDE_CELL_PIPE"
# The notebook draws no more often, and every report is a line of a file on a shared file system.
_BETWEEN_REPORTS = 0.3


@dataclass
class Here:
    """One process of a job.

    Attributes
    ----------
    rank, count
        Its number, from 0, and how many there are.
    folder
        Where to save what a rerun shall find: the same for all processes, and for all jobs with the same `--run`.
    """

    rank: int
    count: int
    folder: Path
    _reported: float = field(default=float("-inf"), repr=False)

    def progress(self, step: int, of: int, **numbers: float) -> None:
        """Tell the notebook how far the work is; rank 0 is enough.

        Parameters
        ----------
        step, of
            Steps that are done, and that there are.
        numbers
            What is worth seeing beside them, such as `loss=0.3`.
        """
        now = time.monotonic()
        if now - self._reported < _BETWEEN_REPORTS and step < of:
            return
        self._reported = now
        shown = {name: float(number) for name, number in numbers.items()}
        if PIPE in os.environ:
            tell(step=int(step), of=int(of), numbers=shown)
        else:
            print(f"step {step} of {of}", *(f"{name} {number:.4g}" for name, number in shown.items()), flush=True)

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Write a file of the run's folder so that a rerun finds all of it, or what was there before.

        Yields
        ------
        Path
            Where to write. It ends as `name` does, since numpy and Keras look at that.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".unfinished-{self.rank}-{name}"
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())  # a node that loses power must not leave the new name with half a file
        draft.replace(self.folder / name)


def here() -> Here:
    """Return which process this is."""
    environ = os.environ
    return Here(int(environ.get(RANK, "0")), int(environ.get(RANKS, "1")), Path(environ.get(RUN_FOLDER, ".")))


def tell(**facts: object) -> None:
    """Send a line to the process that watches this one."""
    # One write of less than a page is never mixed with another thread's.
    os.write(int(os.environ[PIPE]), json.dumps(facts).encode() + b"\n")
