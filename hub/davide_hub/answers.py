"""Reading what Slurm's commands answer: what can be believed, and that half an answer is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.states import FINAL, Job, Phase, phase_of, word

_HEADER = "JOBID|"
# Of a number, no more digits than any of Slurm's has: Python refuses to read thousands.
_STATE_LINE = re.compile(r"([0-9]{1,18})\|([A-Z_]+)")
_QUEUE_LINE = re.compile(r"([0-9]{1,18})\|([A-Z_]+)\|([^|]*)\|([0-9]{1,18})" + r"\|([^|]*)" * 5 + r"\|(.*)")
# A part of an array, or of a job of several kinds. No session is one: its number is another job's by now.
_ANOTHERS_LINE = re.compile(r"[0-9]+[_+][^|]*\|.*")
_MARK_LINE = re.compile(r"([0-9]{1,18})\|([A-Z_]+)\|([^|]+)\|davide-hub:([0-9a-f]{8}):([a-z0-9-]+):[0-9a-f]{32}")
_RECORD = re.compile(r"([0-9]{1,18})\|([A-Z_]+)(?: by ([0-9]{1,18}))?\|([^|]*)\|([0-9]{1,18})")


@dataclass(frozen=True)
class Marked:
    """A job that carries the mark of a hub, as its comment claims; whether it is true the broker knows."""

    job: str
    user: str
    hub: str
    key: str


def read_queue(outcome: Outcome) -> dict[str, Job]:
    """Return the jobs in squeue's answer.

    Raises
    ------
    SlurmSilent
        If it failed, or if any line is not one of squeue's: half an answer is none.
    """
    if outcome.is_gone:
        return {}
    jobs = {}
    for found in _rows(outcome, _QUEUE_LINE):
        number, state, node, uid, partition, priority, submitted, starts, ends, reason = found.groups()
        jobs[number] = Job(
            phase_of(state),
            state,
            word(node),
            word(reason),
            uid=int(uid),
            partition=word(partition),
            priority=_number(priority),
            submitted=_number(submitted),
            starts=_number(starts),
            ends=_number(ends),
        )
    return jobs


def _whole(outcome: Outcome) -> list[str]:
    """Return the lines after the header of squeue's answer; raises `SlurmSilent` where it is not one, or not whole.

    The header is how an honest "none of them" differs from no answer, and the last line break how a whole answer
    differs from one that was cut off: the beginning of a state may look like one.
    """
    if outcome.code != 0:
        raise SlurmSilent(f"squeue: {(outcome.err or outcome.out).strip()[:200]}")
    if not outcome.out.startswith(_HEADER) or not outcome.out.endswith("\n"):
        raise SlurmSilent(f"squeue printed {outcome.out[:80]!r}")
    return outcome.out.removesuffix("\n").split("\n")[1:]


def _rows(outcome: Outcome, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Yield the lines of squeue's answer about jobs of ours; raises `SlurmSilent` if any is none of squeue's."""
    for line in _whole(outcome):
        found = pattern.fullmatch(line)
        if found is not None:
            yield found
        elif not _ANOTHERS_LINE.fullmatch(line):
            raise SlurmSilent(f"squeue printed {line[:80]!r}")


def _number(text: str) -> int | None:
    # Slurm writes "N/A" where it has none. A number that is missing is no reason to doubt the answer.
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def read_states(outcome: Outcome, known: Mapping[str, Job]) -> dict[str, Job]:
    """Return jobs with the states in the answer of `squeue --only-job-state`, and all else as it was known.

    Raises
    ------
    SlurmSilent
        As from `read_queue`.
    """
    jobs = {}
    for found in _rows(outcome, _STATE_LINE):
        number, state = found.groups()
        if number in known:
            jobs[number] = replace(known[number], phase=phase_of(state), state=state)
    return jobs


def read_version(outcome: Outcome) -> tuple[int, int]:
    """Return the version in what `squeue --version` prints, such as `slurm-wlm 24.11.5`; (0, 0) if there is none."""
    found = re.match(r"slurm\S* ([0-9]+)\.([0-9]+)", outcome.out)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def read_marks(outcome: Outcome) -> list[Marked]:
    """Return the live jobs with a mark in squeue's answer; raises `SlurmSilent` if it failed.

    Any user may write any text into a comment, line breaks too: other lines are passed over.
    """
    rows = (_MARK_LINE.fullmatch(line) for line in _whole(outcome))
    return [Marked(number, user, hub, key) for number, _, user, hub, key in (row.groups() for row in rows if row)]


def read_accounting(outcome: Outcome) -> dict[str, Job]:
    """Return the jobs that have ended, as sacct's answer says. Anything else in it is no news, half a line neither."""
    lines = outcome.out.split("\n")[:-1] if outcome.code == 0 else ()
    records = map(_RECORD.fullmatch, lines)
    jobs = {}
    for number, state, by, node, uid in (record.groups() for record in records if record):
        if state in FINAL:
            # A number that is used again has several records; the last is the latest.
            cancelled_by = int(by) if by else None
            jobs[number] = Job(Phase.ENDED, state, word(node), cancelled_by=cancelled_by, uid=int(uid))
    return jobs
