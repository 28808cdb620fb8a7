"""Whether a session is at work: what counts for the hub's idle policy, and what Lab shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

# Of one core. An idle kernel uses a thousandth; a program that computes, nearly all of one.
AT_WORK_CORES = 0.1


class Activity:
    """When the session last did something.

    What counts: kernels and terminals, as Jupyter notes them; a kernel that is busy, however silent; processor time
    of the job without the server's own (a program in a quiet terminal, or in the background); a GPU at work; and
    the button "I am here". A page that is merely open asks the server all the time, and does not count.

    Parameters
    ----------
    kernels
        The kernels, as Jupyter's own REST API shows them.
    times
        When Jupyter saw kernels and terminals do something.
    now
        The clock.
    """

    def __init__(
        self,
        kernels: Callable[[], Iterable[Mapping[str, Any]]],
        times: Callable[[], Iterable[datetime]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kernels, self._times, self._now = kernels, times, now
        self._noted = now()

    def here(self) -> None:
        """Note that somebody is there."""
        self._noted = self._now()

    def look(self, *, cores: float | None, gpu_at_work: bool) -> list[str]:
        """Note what is at work just now, and return it.

        Parameters
        ----------
        cores
            How many cores the job used since the last look, without the server's own; None if nobody knows.
        gpu_at_work
            Whether a GPU is computing.
        """
        busy = {
            "kernel": any(kernel["execution_state"] == "busy" for kernel in self._kernels()),
            "processor": cores is not None and cores >= AT_WORK_CORES,
            "gpu": gpu_at_work,
        }
        if any(busy.values()):
            self.here()
        return [name for name, is_so in busy.items() if is_so]

    def last(self) -> datetime:
        """Return when the session last did something."""
        return max([self._noted, *self._times()])
