"""One session key, one server: the job that comes first takes the session, a second one ends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# Where a server notes its port; see `callhome.note_port`.
LISTENING = "listening.json"


class NotClaimed(Exception):  # noqa: N818 - it is what it says
    """This job does not have the session. `str()` says why."""


def claim(folder: Path, job_id: str) -> None:
    """Take the session in `folder` for a job, once and for all.

    The broker may submit a session twice where Slurm took the first order and its answer was lost. Both jobs would
    call home with the same token, and the user's work would be in one of two servers.

    Parameters
    ----------
    folder
        The session's folder, on the file system that all nodes share.
    job_id
        Slurm's number of this job. The job that has the session may claim it again: Slurm starts a job anew
        under its old number.

    Raises
    ------
    NotClaimed
        If another job has it, or the folder can't be written to.
    """
    claimed = folder / "claimed"
    try:
        # A link to nowhere: it gets its name and what it says in one step, which a file does not. Whoever read a
        # file made with O_EXCL before it was written could not tell whose the session is.
        claimed.symlink_to(job_id)
    except FileExistsError:
        try:
            holder = str(claimed.readlink())
        except OSError:
            raise NotClaimed(f"{claimed}: no session made this; remove it and start a new session") from None
        if holder != job_id:
            raise NotClaimed(f"this session already runs as job {holder}") from None
        # By a server that is gone: nobody is to believe that this one listens there.
        with suppress(OSError):
            (folder / LISTENING).unlink(missing_ok=True)
    except OSError as error:
        problem = f"{claimed}: can't be made ({error.strerror}); make room in your home and start a new session"
        raise NotClaimed(problem) from None
