"""When the job of a kernel ends because nothing runs in it: a GPU that nobody uses is somebody else's turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from davide_session.activity import AT_WORK_CORES
from davide_session.jobkernel.messages import read

_WARN_SECONDS = 300
# A page asks these by itself, when it opens or finds its way back: no sign that somebody works with the kernel.
_NO_WORK = frozenset({"kernel_info_request", "comm_info_request"})


class Idleness:
    """How long a kernel has done nothing.

    Parameters
    ----------
    minutes
        After how many the job ends; None for never.
    clock
        Seconds that only grow.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutes = minutes
        self._clock = clock
        self._running: set[str] = set()
        self._keeping: set[str] = set()
        self._kept_lately = False
        self._last = clock()

    @property
    def left_seconds(self) -> float | None:
        """How long it may go on doing nothing; None if that has no end."""
        if self.minutes is None:
            return None
        return 60 * self.minutes - (0 if self._running else self._clock() - self._last)

    @property
    def is_near(self) -> bool:
        """Whether the end is so near that the user is warned."""
        left = self.left_seconds
        return left is not None and self.minutes is not None and left <= min(_WARN_SECONDS, 30 * self.minutes)

    def begin(self) -> None:
        """Note that there is a kernel, which has been asked nothing yet."""
        self._running.clear()
        self._keeping.clear()
        self.work()

    def work(self) -> None:
        """Note that something was done, or that somebody wants the kernel kept."""
        self._last = self._clock()

    def keeps(self, request: str) -> None:
        """Note a request for which the kernel writes its variables down."""
        self._keeping.add(request)
        self._kept_lately = True

    def kept(self, request: str) -> None:
        """Note that it has."""
        self._keeping.discard(request)

    def looked(self, *, gpu: bool, cores: float) -> None:
        """Note what was at work since the last look, whether or not the kernel told of it.

        Parameters
        ----------
        gpu
            Whether a GPU was.
        cores
            How many cores the job used. What writing variables down takes is nobody's work, and not counted: the end
            would be put off by its own warning.
        """
        if gpu or (cores >= AT_WORK_CORES and not self._kept_lately):
            self.work()
        self._kept_lately = bool(self._keeping)

    def asked(self, frames: Sequence[bytes]) -> None:
        """Note what a page asks of the kernel."""
        if (message := read(frames)) and message.kind not in _NO_WORK:
            self.work()

    def said(self, frames: Sequence[bytes]) -> None:
        """Note what the kernel says to all: it is busy with a request until it says that it is idle again."""
        message = read(frames)
        if message is None or message.parent.get("msg_type") in _NO_WORK:
            return
        self.work()
        if message.kind == "status":
            busy = message.content.get("execution_state") == "busy"
            (self._running.add if busy else self._running.discard)(message.parent_id)
