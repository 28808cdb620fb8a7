"""Which kernel holds which of the session's GPUs.

Slurm keeps users apart; this keeps one user's notebooks apart. A kernel is told its GPUs by CUDA_VISIBLE_DEVICES:
nobody is forced to obey, since everything in a session is the same user's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from davide_session.gpus import own_gpus
from davide_session.wishes import SHARE, Wish

# From the end of a process to that of the next one, at a restart; Jupyter waits 5 s for the first.
_RESTART_SECONDS = 30
# What may hold a GPU without a notebook: a console, or a program that asked the server for a kernel.
_NO_NOTEBOOK = "a kernel without a notebook"


class NoGpuFree(Exception):  # noqa: N818 - it is what it says
    """A kernel can't get what it asks for. `str()` says who holds the GPUs, and what to do."""


@dataclass(frozen=True)
class Lease:
    """What one kernel holds.

    Attributes
    ----------
    kernel, title
        Jupyter's number of the kernel; its name in the launcher.
    path
        Its notebook, below the home; empty if it has none.
    wish
        What was asked for. After a restart a kernel may hold less than that.
    gpus
        The GPUs, as CUDA_VISIBLE_DEVICES names them.
    """

    kernel: str
    title: str
    path: str
    wish: Wish
    gpus: tuple[str, ...] = ()


class Leases:
    """The leases of one session.

    Attributes
    ----------
    gpus
        The session's GPUs, as CUDA_VISIBLE_DEVICES names them.
    paths
        Tells the present notebook of each kernel that has one; a notebook may be renamed at any time.
    changed
        Called after each change.

    Parameters
    ----------
    now
        A clock.
    """

    def __init__(self, gpus: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        self.gpus = tuple(gpus)
        self.changed: Callable[[], None] = lambda: None
        self.paths: Callable[[], Awaitable[Mapping[str, str]]] = _no_paths
        self._now = now
        self._held: dict[str, Lease] = {}
        self._ended: dict[str, Callable[[], bool]] = {}
        self._restarts: dict[str, float] = {}

    @property
    def are_kept(self) -> bool:
        """Whether kernels are kept apart. One GPU is everybody's, else a second notebook could not be opened."""
        return len(self.gpus) > 1

    # -- by the kernels

    async def take(self, wanted: Lease, before: Sequence[str] = (), *, anyhow: bool = False) -> Lease:
        """Give a kernel GPUs, those that it had before if they are free.

        Parameters
        ----------
        wanted
            Who asks for what.
        before
            The GPUs that it had.
        anyhow
            Give less, or nothing, rather than refuse: an error of a restart would be shown to nobody.

        Raises
        ------
        NoGpuFree
            If there are not enough.
        """
        await self.held()  # who has ended, and where notebooks are now
        holders = {gpu: self._others(gpu, wanted) for gpu in self.gpus}
        free = sorted((gpu for gpu in self.gpus if not holders[gpu]), key=lambda gpu: gpu not in before)
        if wanted.wish.shared:
            # Where fewest are; and if equally many, with kernels that wanted to share.
            found = sorted(self.gpus, key=lambda gpu: (len(holders[gpu]), gpu not in before, _unwilling(holders[gpu])))
            given = found[:1]
        else:
            given = free[: wanted.wish.count]
            if len(given) < wanted.wish.count and not anyhow:
                raise NoGpuFree(self._refusal(wanted.wish, len(free)))
        lease = replace(wanted, gpus=tuple(gpu for gpu in self.gpus if gpu in given))
        self._held[wanted.kernel] = lease
        self._ended.pop(wanted.kernel, None)
        self._restarts.pop(wanted.kernel, None)
        self.changed()
        return lease

    def began(self, kernel: str, ended: Callable[[], bool]) -> None:
        """Note that a kernel's process runs; `ended` says whether it has ended since."""
        self._ended[kernel] = ended

    def restarts(self, kernel: str) -> None:
        """Keep a kernel's lease while its next process is on the way."""
        if kernel in self._held:
            self._restarts[kernel] = self._now() + _RESTART_SECONDS

    def give_back(self, kernel: str) -> None:
        """Take a kernel's GPUs back, if it has any."""
        self._ended.pop(kernel, None)
        self._restarts.pop(kernel, None)
        if self._held.pop(kernel, None):
            self.changed()

    # -- for people

    async def held(self) -> list[Lease]:
        """Return what is held now, by kernels that run."""
        # First the question, which may take its time; what follows is one step for everybody else.
        paths = await self.paths()
        for kernel in [one for one, ended in self._ended.items() if ended() and not self._is_expected(one)]:
            self.give_back(kernel)
        self._held = {one.kernel: replace(one, path=paths.get(one.kernel, one.path)) for one in self._held.values()}
        return list(self._held.values())

    async def facts(self) -> dict[str, Any]:
        """Return what pages show, as JSON has it."""
        if not self.are_kept:
            return {"gpus": [], "held": []}
        held = await self.held()
        return {
            "gpus": [self._named(gpu) for gpu in self.gpus],
            "held": [
                {
                    "kernel": one.kernel,
                    "title": one.title,
                    "path": one.path,
                    "gpus": [self._named(gpu) for gpu in one.gpus],
                    "asked": SHARE if one.wish.shared else one.wish.count,
                }
                for one in held
            ],
        }

    # -- details

    def _is_expected(self, kernel: str) -> bool:
        return self._now() < self._restarts.get(kernel, float("-inf"))

    def _others(self, gpu: str, wanted: Lease) -> list[Lease]:
        # A notebook that changes its kernel has two for a moment: the second one takes over from the first.
        same = [one.kernel for one in self._held.values() if one.path and one.path == wanted.path]
        return [one for one in self._held.values() if gpu in one.gpus and one.kernel not in (*same, wanted.kernel)]

    def _named(self, gpu: str) -> str:
        # Where Slurm names them by long numbers: their place, as nvidia-smi counts.
        return gpu if gpu.isdecimal() else str(self.gpus.index(gpu))

    def _refusal(self, wish: Wish, free: int) -> str:
        has = len(self.gpus)
        if wish.count > has:
            return f"This notebook asks for {wish.count} GPUs, and this session has {has}.\n{_CHOOSE_FEWER}"
        rows = [f"GPU {self._named(gpu)}: {self._names(gpu)}" for gpu in self.gpus]
        if wish.count == 1:
            first = f"All {has} GPUs of this session are in use by other notebooks."
        else:
            are_free = f"{free} are free" if free > 1 else "one is free" if free else "none is free"
            first = f"This notebook asks for {wish.count} of this session's {has} GPUs, and {are_free}."
        return "\n".join([first, *rows, _FREE_ONE])

    def _names(self, gpu: str) -> str:
        names = [one.path or _NO_NOTEBOOK for one in self._held.values() if gpu in one.gpus]
        return " and ".join(names) or "free"


_MENU = "Kernel menu, 'GPUs of This Notebook…'"
_CHOOSE_FEWER = f"Choose fewer: {_MENU}."
_FREE_ONE = (
    "To free one: shut down a kernel of these (tab 'Running Terminals and Kernels' on the left).\n"
    f"To share one, or to do without: {_MENU}."
)


def _unwilling(holders: Sequence[Lease]) -> int:
    return sum(not one.wish.shared for one in holders)


async def _no_paths() -> Mapping[str, str]:
    return {}


@cache
def session_leases() -> Leases:
    """Return the leases of this session: one table for the server and all its kernels."""
    return Leases(own_gpus(os.environ))
