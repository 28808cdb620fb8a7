"""One session key, one server: the job that comes first takes the session, a second one ends."""

from __future__ import annotations

import os
from pathlib import Path


class AlreadyClaimed(Exception):  # noqa: N818 - it is what it says
    """Another job has this session. `str()` names it."""


def claim(folder: Path, job_id: str) -> None:
    """Take the session in `folder` for a job, once and for all.

    The broker may submit a session twice where Slurm took the first order and its answer was lost. Both jobs would
    call home with the same token, and the user's work would be in one of two servers.

    Parameters
    ----------
    folder
        The session's folder. It is on the file system that all nodes share, where making a hard link is atomic.
    job_id
        Slurm's number of this job. The job that has the session may claim it again: Slurm starts a job anew
        under its old number.

    Raises
    ------
    AlreadyClaimed
        If another job has it.
    OSError
        If the folder can't be written to.
    """
    claimed = folder / "claimed"
    # A link, since a file made with O_EXCL is empty for a moment: who reads it then can't tell whose it is.
    written = folder / f".claim-{job_id}"
    written.write_text(job_id)
    try:
        os.link(written, claimed)
    except FileExistsError:
        holder = claimed.read_text()
        if holder != job_id:
            raise AlreadyClaimed(f"this session already runs as job {holder}") from None
    finally:
        written.unlink()
