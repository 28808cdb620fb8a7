"""What a kernel with a job of its own is to be, and what its job is told of it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from davide_session.jobkernel.keepsake import folder_for

if TYPE_CHECKING:
    from davide_session.jobkernel.keys import Pair
    from davide_session.jobkernel.offers import Offer
    from davide_session.jobkernel.slurm_job import Charge


@dataclass(frozen=True)
class Wanted:
    """What a kernel is to be.

    Attributes
    ----------
    folder
        Its own, in the home of the user; it is made and removed.
    private
        A folder of mode 0700 on this node's disk.
    lost_seconds
        After how long without its session the job ends.
    """

    kernel_id: str
    kernel_name: str
    language: str
    offer: Offer
    argv: list[str]
    env: dict[str, str]
    cwd: str
    key: str = field(repr=False)
    scheme: str
    folder: Path
    private: Path
    python: str
    charge: Charge
    lost_seconds: float

    def order(self, port: int, session: Pair, kernel: Pair) -> dict[str, Any]:
        """Return what the supervisor in the job reads.

        Parameters
        ----------
        port
            Where the session listens.
        session, kernel
            What the two ends of the line show each other.
        """
        return {
            "argv": self.argv,
            "env": self.env,
            "cwd": self.cwd,
            "key": self.key,
            "scheme": self.scheme,
            "kernel_name": self.kernel_name,
            "hosts": list(dict.fromkeys(_own_names())),
            "port": port,
            "certificate": kernel.certificate,
            "tls_key": kernel.key,
            "session_certificate": session.certificate,
            "session_job": self.charge.session_job,
            "folder": str(self.folder),
            "lost_seconds": self.lost_seconds,
            "idle_minutes": self.offer.idle_minutes,
            "keep_bytes": (self.offer.keep_mb or 0) * 10**6,
            "keep_folder": str(self.variables),
        }

    @property
    def variables(self) -> Path:
        """Where the kernel's variables are kept, should its job end while nobody uses it."""
        named = self.env.get("JPY_SESSION_NAME", "")
        return folder_for(named or self.kernel_id)


def _own_names() -> list[str]:
    return [name for name in (os.environ.get("SLURMD_NODENAME", ""), socket.gethostname()) if name]
