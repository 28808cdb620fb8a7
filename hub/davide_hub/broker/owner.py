"""What the broker has Slurm's commands do in a user's name, and what their answers mean.

Three answers matter: yes, no, and "whether it happened is not known". The last is the common one when a
controller restarts, and taking it for a no is how jobs get doubled or orphaned.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

from davide_hub.broker import in_user
from davide_hub.broker.accounts import Account
from davide_hub.broker.as_user import Outcome, run_as_user
from davide_hub.broker.bounded import OutOfBounds
from davide_hub.states import Phase, phase_of, word

_log = logging.getLogger("davide-broker")

# A frozen controller answers after 18-20 s; beyond this nobody waits.
_ORDER_SECONDS = 40
_QUERY_SECONDS = 25
_HOME_SECONDS = 10

# How Slurm's commands say that they did not get through, or don't know whether they did (slurm_errno.c, munge).
_UNCLEAR = re.compile(
    r"unable to contact|unable to connect|timed out|timeout|zero bytes|transport endpoint|connection|communication"
    r"|authentic|credential|munge|standby|temporarily|unexpected message|header lengths|message length"
    r"|incompatible version|resource temporarily|persist|name or service|resolve|in recovery|try again",
    re.IGNORECASE,
)
# What scancel says of a job that has ended, or that Slurm has forgotten since: what was asked for.
_ENDED_ALREADY = ("already completing or completed", "Invalid job id specified")

_NO_SUCH_USER = "Invalid user"

_QUEUE_LINE = re.compile(r"([0-9]{1,18})\|([A-Z_]+)\|([^|]*)\|([^|]*)\|([0-9]{1,18})\|([0-9T:-]+|N/A)\|(.*)")
_STARTS = re.compile(r"Job [0-9]+ to start at ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}) ")
_RECORD = re.compile(r"([0-9]{1,18})\|([A-Z_]+)(?: by ([0-9]{1,18}))?\|([^|]*)\|([0-9]{1,18})")


class SlurmSilent(Exception):  # noqa: N818 - it is what it says
    """Slurm did not answer, or whether it did what was asked is not known."""


class UserUnknown(SlurmSilent):
    """The host's directory does not know the owner, so squeue lists nothing under that name."""


class SlurmRefused(Exception):  # noqa: N818
    """Slurm said no. `str()` is what it said, on one line."""

    kind: Literal["slurm", "home"] = "slurm"


class HomeUnusable(SlurmRefused):
    """The session's files could not be written: Slurm was not asked."""

    kind = "home"


class HomeSilent(Exception):  # noqa: N818
    """A session's folder could not be read: what lies in it is not known."""


class SecretsGone(Exception):  # noqa: N818
    """A session's folder was read, and its secrets are not there any more."""


@dataclass(frozen=True)
class OwnersJob:
    """One of a user's jobs, as Slurm shows it to the user.

    Attributes
    ----------
    number
        The job's number.
    state, node, reason
        Slurm's words; see `davide_hub.states.Job`.
    uid
        The owner's.
    submitted
        When Slurm took it, in local time as squeue prints it; empty in accounting.
    comment
        Where our mark stands. The owner may have changed it.
    cancelled_by
        The uid of whoever cancelled it, where accounting tells.
    """

    number: str
    state: str
    node: str
    reason: str
    uid: int
    submitted: str = ""
    comment: str = ""
    cancelled_by: int | None = None

    @property
    def alive(self) -> bool:
        """Whether it waits or runs, or may: in a state that we don't know, it is nothing to forget."""
        return phase_of(self.state) in (Phase.WAITING, Phase.RUNNING, Phase.UNKNOWN)


def submit(account: Account, order: dict[str, Any]) -> str:
    """Run sbatch and return the job's number.

    Raises
    ------
    SlurmRefused, SlurmSilent
        In the second case a job may exist all the same, now or in a while.
    """
    outcome = _run(account, {"verb": "submit", **order}, _ORDER_SECONDS)
    # --parsable prints "1234", or "1234;cluster" in a federation.
    number = outcome.out.strip().split(";")[0]
    if outcome.code == 0 and number.isascii() and number.isdigit():
        return number
    if outcome.code == in_user.CANNOT_WRITE:
        raise HomeUnusable(f"Your home folder could not be used: {outcome.err.strip()}.")
    # Success without a number, or death by a signal: it may have happened.
    if outcome.code <= 0 or _UNCLEAR.search(outcome.err):
        raise SlurmSilent(_said(outcome))
    raise SlurmRefused(f"Slurm refused the session: {_said(outcome)}")


def estimate(account: Account, script: str) -> float:
    """Return when Slurm would start a script, in seconds since 1970; nothing is submitted.

    Raises
    ------
    SlurmRefused, SlurmSilent
        The first if it would never start, with what Slurm says to that.
    """
    outcome = _run(account, {"verb": "estimate", "script": script}, _QUERY_SECONDS)
    # sbatch tells it among its complaints, also where all is well.
    if outcome.code == 0 and (found := _STARTS.search(outcome.err)):
        return time.mktime(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    if outcome.code <= 0 or _UNCLEAR.search(outcome.err):
        raise SlurmSilent(_said(outcome))
    raise SlurmRefused(_said(outcome))


def jobs(account: Account) -> list[OwnersJob]:
    """Return all jobs of a user that Slurm knows, running, waiting and ended; raises `SlurmSilent`, `UserUnknown`."""
    return _listed(account, {"user": account.name})


def one_job(account: Account, number: str) -> list[OwnersJob]:
    """Return one job of a user by its number: for who is not in the directory, now or any more.

    That it is not listed is no answer: `SlurmSilent`.
    """
    found = _listed(account, {"job": number})
    if not found:
        raise SlurmSilent(f"job {number} is not listed")
    return found


def _listed(account: Account, which: dict[str, str]) -> list[OwnersJob]:
    outcome = _run(account, {"verb": "queue", **which}, _QUERY_SECONDS)
    # The header is how an honest "none" differs from no answer, and the last line break how a whole one from half.
    if outcome.code != 0 or not outcome.out.startswith("JOBID|") or not outcome.out.endswith("\n"):
        raise SlurmSilent(_said(outcome))
    # A directory that does not know the user just now: squeue says so, shows no job at all, and ends with 0.
    if _NO_SUCH_USER in outcome.err:
        raise UserUnknown(_said(outcome))
    # A user may write any text into a comment, line breaks too: what is no line of squeue's is passed over.
    found = (_QUEUE_LINE.fullmatch(line) for line in outcome.out.splitlines())
    return [
        OwnersJob(number, state, word(node), word(reason), int(uid), submitted, comment)
        for number, state, node, reason, uid, submitted, comment in (row.groups() for row in found if row)
        if int(uid) == account.uid
    ]


def record(account: Account, number: str) -> OwnersJob | None:
    """Return the record of a job in accounting; None if there is none, or if accounting is silent."""
    try:
        outcome = _run(account, {"verb": "record", "job": number}, _QUERY_SECONDS)
    except SlurmSilent:
        return None
    # What is not followed by a line break was cut off.
    lines = outcome.out.split("\n")[:-1] if outcome.code == 0 else ()
    rows = map(_RECORD.fullmatch, lines)
    for found, state, by, node, uid in (row.groups() for row in rows if row):
        if found == number and int(uid) == account.uid:
            return OwnersJob(found, state, word(node), "", int(uid), cancelled_by=int(by) if by else None)
    return None


def cancel(account: Account, numbers: list[str]) -> None:
    """Tell Slurm to end these jobs.

    Raises
    ------
    SlurmRefused, SlurmSilent
        Not if they have ended already: that is what was asked for.
    """
    outcome = _run(account, {"verb": "cancel", "jobs": numbers}, _ORDER_SECONDS)
    if outcome.code == 0 or any(words in outcome.err for words in _ENDED_ALREADY):
        return
    if outcome.code < 0 or _UNCLEAR.search(outcome.err):
        raise SlurmSilent(_said(outcome))
    raise SlurmRefused(_said(outcome))


def discard(account: Account, key: str) -> bool:
    """Remove a session's secrets from the user's home, so that a job that comes late ends at once.

    Returns
    -------
    bool
        False if the home could not be used just now.
    """
    try:
        return _run(account, {"verb": "discard", "session_key": key}, _HOME_SECONDS).code == 0
    except SlurmSilent:
        return False


def recall(account: Account, key: str) -> str:
    """Return what lies in a session's folder: a line with its secrets, and one that tells where it listens.

    Raises
    ------
    SecretsGone, HomeSilent
        The first on proof only; the second if the home hangs, fails or is not mounted.
    """
    return _read(account, "recall", key)


def log_end(account: Account, key: str) -> str:
    """Return the last lines of a session's log, or nothing."""
    try:
        return _read(account, "log", key)
    except HomeSilent:
        return ""


def _read(account: Account, verb: str, key: str) -> str:
    try:
        outcome = _run(account, {"verb": verb, "session_key": key}, _HOME_SECONDS)
    except SlurmSilent as silence:
        raise HomeSilent(str(silence)) from silence
    if outcome.code == 0:
        return outcome.out
    if outcome.code == in_user.SECRETS_GONE:
        raise SecretsGone(key)
    # What lies there is the user's, who may have put a link in its place.
    _log.warning("the %s of session %s of %s can't be read: %s", verb, key, account.name, ascii(_said(outcome)))
    raise HomeSilent(_said(outcome))


def _run(account: Account, order: dict[str, Any], seconds: float) -> Outcome:
    try:
        return run_as_user(account, order, seconds)
    except OutOfBounds as problem:
        raise SlurmSilent(f"{order['verb']} {problem}") from None


def _said(outcome: Outcome) -> str:
    """Return what Slurm's command said, without its name before every line, on one line."""
    lines = (line.split("error: ", 1)[-1].strip() for line in outcome.err.splitlines())
    said = " · ".join(line for line in lines if line)[:600]
    return said or f"Slurm's command ended with code {outcome.code} and no words."
