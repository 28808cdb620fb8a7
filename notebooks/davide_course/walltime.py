"""Saving before a session ends: a training is told some minutes before its time limit, and writes a checkpoint.

from davide_course import walltime

model.fit(x, y, epochs=100, callbacks=[walltime.checkpoint("run.keras")])

with walltime.watch() as end:      # or in a loop of one's own
    for step in range(steps):
        train(step)
        if end.is_near:
            save(step)
            break
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

# The folder in which the session looks for who wants to be told: an empty file by the number of the process.
_FOLDER = "DAVIDE_WALLTIME"
# There once everybody was told: for who begins after that.
_SOON = "soon"


class End:
    """The end of the session, as far as a program has to know.

    Attributes
    ----------
    is_near
        True from the moment in which it is time to save.
    """

    def __init__(self) -> None:
        self.is_near = False


_watching: list[End] = []


@contextmanager
def watch() -> Iterator[End]:
    """Ask to be told before the session ends, for the time of a `with` block.

    Outside a session nobody tells, unless a batch job of one's own asks Slurm for it: `#SBATCH --signal=USR1@120`.

    Yields
    ------
    End
        Its `is_near` is for the loop to look at. Nothing is interrupted: a half-made step can't be saved.

    Raises
    ------
    RuntimeError
        Outside the main thread, which alone gets signals. Cells of a notebook run there.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("walltime.watch() works in the main thread only: call it where the cell begins")
    end = End()
    _watching.append(end)
    before = signal.signal(signal.SIGUSR1, _tell)
    mark = _mark()
    if mark is not None:
        mark.touch()
        end.is_near = (mark.parent / _SOON).exists()
    try:
        yield end
    finally:
        _watching.remove(end)
        if not _watching:
            if mark is not None:
                mark.unlink(missing_ok=True)
            # A signal that is on its way already would end a process that has the default back.
            signal.signal(signal.SIGUSR1, signal.SIG_IGN if before in (signal.SIG_DFL, None) else before)


def checkpoint(path: str | Path, *, stop: bool = True) -> keras.callbacks.Callback:
    """Return a callback for `fit` that saves the model, with its optimizer, before the session ends.

    Parameters
    ----------
    path
        A file that ends in `.keras`. What was there is replaced once the new file is complete.
    stop
        Whether the training ends then, so that the cells after it still run.
    """
    # Not at the top: hand-outs are brought by a Python that has no Keras.
    import keras

    file = Path(path)
    if file.suffix != ".keras":
        raise ValueError(f"{file} must end in .keras: the file holds the model and its optimizer")

    # Keras passes `logs` by its name.
    class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._watch = ExitStack()
            self._epoch = 0

        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
            # A training that was interrupted never came to its end.
            self._watch.close()
            self._end = self._watch.enter_context(watch())
            self._saved = False

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            self._epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            if self._end.is_near and not self._saved:
                self._saved = True
                _save(self.model, file)
                print(f"The session ends soon: epoch {self._epoch + 1}, batch {batch + 1} is saved in {file}. ", end="")
                print(f"Go on later with keras.models.load_model({str(file)!r}).")
                self.model.stop_training = self.model.stop_training or stop

        def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
            self._watch.close()

    return Checkpoint()


def _tell(_number: int, _frame: object) -> None:
    for end in _watching:
        end.is_near = True


def _mark() -> Path | None:
    folder = os.environ.get(_FOLDER)
    return Path(folder, str(os.getpid())) if folder and Path(folder).is_dir() else None


def _save(model: Any, file: Path) -> None:
    # Keras knows the format by the suffix.
    unfinished = file.with_name(f".{file.stem}.unfinished.keras")
    model.save(unfinished)
    unfinished.replace(file)
