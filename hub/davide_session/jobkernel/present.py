"""The session's kernels with jobs of their own, for its pages: which there are, and which are about to end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from davide_session.jobkernel.front import Front


class Present:
    """The fronts of one session's kernels, by Jupyter's number of the kernel."""

    def __init__(self) -> None:
        self._fronts: dict[str, Front] = {}

    def add(self, front: Front) -> None:
        """Note a kernel."""
        self._fronts[front.wanted.kernel_id] = front

    def remove(self, front: Front) -> None:
        """Note that a kernel is no more."""
        self._fronts.pop(front.wanted.kernel_id, None)

    def get(self, kernel: str) -> Front | None:
        """Return a kernel's front."""
        return self._fronts.get(kernel)

    def facts(self, paths: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return what pages show, as JSON has it.

        Parameters
        ----------
        paths
            The notebook of each kernel that has one.
        """
        now = time.monotonic()
        return [
            {
                "kernel": name,
                "title": front.wanted.offer.title,
                "path": paths.get(name, ""),
                "job": front.job,
                "state": front.stage.name.lower(),
                "gpus": front.gpus,
                "idle_minutes": front.wanted.offer.idle_minutes,
                "idle_left_seconds": None if front.ends_idle is None else max(0, round(front.ends_idle - now)),
            }
            for name, front in list(self._fronts.items())
        ]


@cache
def session_kernels() -> Present:
    """Return those of this session: the server and the kernels' own thread share them."""
    return Present()
