"""What tells whether a session's server listens while no call home is heard: its own note, and for how long it runs."""

from __future__ import annotations

import logging

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.states import SUSPENDED, Job, Phase

_log = logging.getLogger("jupyterhub.davide.listening")

# With "failed", the session's folder could not be read: most likely its file system hangs.
_UNCLEAR = ("busy", "failed")


def runs_since(job: Job, before: float | None, now: float) -> float | None:
    """Return since when a job runs without a break, as far as is known; None if it does not.

    Parameters
    ----------
    job
        What Slurm says now.
    before
        What this function returned the last time.
    now
        Seconds that only grow.
    """
    if job.phase is not Phase.RUNNING or job.state in SUSPENDED:
        return None
    return now if before is None else before


async def noted_port(broker: BrokerClient, user: str, key: str) -> int | None:
    """Return where a session listens, by its own note, which it writes before it calls home.

    Returns
    -------
    int or None
        0 if it has noted nothing; None if nobody can tell just now, which proves nothing.
    """
    try:
        return int((await broker.recall(user, key))["port"])
    except (BrokerRefused, BrokerUnreachable) as error:
        _log.warning("not known whether session %s of %s listens: %s", key, user, error)
        return 0 if isinstance(error, BrokerRefused) and error.kind not in _UNCLEAR else None
