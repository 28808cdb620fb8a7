"""`davide-hub report`: GPU-hours per user, account and course, from Slurm's accounting.

Only Slurm knows what was used: it counts seconds on the nodes, whoever started the job. Here its answer is bounded to
the time that was asked about, summed, and freed of jobs that accounting believes to run and Slurm does not have.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict
from datetime import datetime, time, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

from davide_hub.facts import Site, load_site
from davide_hub.operate import SITE, OrderFailed
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.usage import FIELDS, Sum, Unreadable, Used, course_of, grouped, is_ours, read_jobs, total
from davide_hub.visible import visible

# slurmdbd reads every job of that time.
_MOST_DAYS = 366
_SECONDS = 300
_TIME = "%Y-%m-%dT%H:%M:%S"

Run = Callable[[tuple[str, ...], float], Awaitable[Outcome]]


def add_verb(verbs: Any) -> None:
    """Add the verb to `davide-hub`."""
    parser = verbs.add_parser(
        "report",
        help="GPU-hours per user, account and course",
        description="GPU-hours per user, account and course, from Slurm's accounting. Counted are sessions, kernels "
        "with a job of their own, and all jobs charged to an account in site.yml; of each what lies within the time.",
    )
    when = "2026-03-02 or 2026-03-02T08:30, in this host's time"
    parser.add_argument("--since", default="", metavar="TIME", help=f"{when}; without it, the first of this month")
    parser.add_argument(
        "--until", default="", metavar="TIME", help="likewise; a day is meant with its end. Without it, now"
    )
    parser.add_argument("--user", action="append", default=[], help="only this user's jobs; may be repeated")
    parser.add_argument("--account", action="append", default=[], help="only jobs of this account; may be repeated")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--site", type=Path, default=SITE, help=argparse.SUPPRESS)
    parser.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    # Not at the top: the other verbs do without asyncio's and the broker's modules.
    from davide_hub.slurm import run_command

    site = load_site(arguments.site)
    if os.geteuid() != 0:
        # Where PrivateData hides others' jobs, they would be left out without a word.
        raise OrderFailed(f"davide-hub report reads everybody's jobs; run it as root on {_host(site)}")
    since, until = bounds(arguments.since, arguments.until, datetime.now())
    try:
        jobs, lost = asyncio.run(_used(site, since, until, run_command))
    except SlurmSilent as silence:
        raise OrderFailed(
            f"Slurm's accounting does not answer: {silence}; run this as root on {_host(site)}, see whether `sacct` "
            "works there and slurmdbd runs, or ask about fewer days"
        ) from None
    chosen = [
        job
        for job in jobs
        if job.user in (arguments.user or [job.user]) and job.account in (arguments.account or [job.account])
    ]
    told = summary(site, chosen, since, until, lost)
    print(json.dumps(told, indent=2) if arguments.json else shown(told))
    return 0


def _host(site: Site) -> str:
    return site.broker.host if site.broker else site.hub.host


def bounds(since: str, until: str, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when is asked.

    Parameters
    ----------
    since, until
        As on the command line.
    now
        This host's time.

    Raises
    ------
    OrderFailed
        If that is no time, lies in the future, ends before it begins, or is longer than a year.
    """
    midnight = datetime.combine(now.date(), time())
    begin = _moment("--since", since) if since else midnight.replace(day=1)
    end = min(now.replace(microsecond=0), _moment("--until", until, end_of_day=True) if until else now)
    if begin >= now:
        raise OrderFailed(f"--since {since} is in the future; write an earlier time")
    if end <= begin:
        raise OrderFailed(f"--until {until} is not after {begin:%Y-%m-%dT%H:%M}; write a later time")
    if end - begin > timedelta(days=_MOST_DAYS):
        raise OrderFailed(f"that is {(end - begin).days} days; ask about {_MOST_DAYS} at most, and add the reports up")
    return begin, end


def _moment(option: str, text: str, *, end_of_day: bool = False) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d)?", text, re.ASCII):
        raise OrderFailed(f"{option} {text!a} is no time; write for example 2026-03-02 or 2026-03-02T08:30")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OrderFailed(f"{option} {text} is no time of the calendar; write for example 2026-03-02") from None
    return moment + timedelta(days=1) if end_of_day and "T" not in text else moment


async def _used(site: Site, since: datetime, until: datetime, run: Run) -> tuple[list[Used], list[str]]:
    """Return the jobs that count, and the numbers of those that are left out because they only seem to run."""
    # Of our making: whoever names a job can't write a line of this report.
    delimiter = f"|{token_hex(8)}|"
    said = await _answer(run, question(since, until, delimiter))
    try:
        jobs = list(filter(is_ours(site), read_jobs(said, delimiter)))
    except Unreadable as problem:
        raise SlurmSilent(str(problem)) from None
    await _require_gpus(run)
    lost = await _lost(run, {job.job for job in jobs if job.runs})
    return [job for job in jobs if not (job.runs and job.job in lost)], sorted(lost, key=int)


def question(since: datetime, until: datetime, delimiter: str) -> tuple[str, ...]:
    """Return how sacct is asked for everybody's jobs; of each what lies between two times."""
    # --duplicates: what a job used before it was put back into the queue, or before its number was given again.
    return (
        *("sacct", "--allusers", "--allocations", "--duplicates", "--truncate", "--parsable2"),
        f"--delimiter={delimiter}",
        f"--starttime={since:{_TIME}}",
        f"--endtime={until:{_TIME}}",
        f"--format={','.join(FIELDS)}",
    )


async def _answer(run: Run, argv: tuple[str, ...]) -> str:
    outcome = await run(argv, _SECONDS)
    if outcome.code:
        raise SlurmSilent((outcome.err or outcome.out).strip().rpartition("\n")[2] or f"{argv[0]} failed")
    return outcome.out


async def _require_gpus(run: Run) -> None:
    kinds = await _answer(
        run, ("sacctmgr", "--noheader", "--parsable2", "--readonly", "show", "tres", "format=Type,Name")
    )
    if not re.search(r"^gres\|gpu(:|$)", kinds, re.MULTILINE):
        raise OrderFailed(
            "Slurm's accounting stores no GPUs, so nobody can tell GPU-hours; set AccountingStorageTRES=gres/gpu in "
            "slurm.conf and restart slurmctld: they count from then on"
        )


async def _lost(run: Run, running: Collection[str]) -> set[str]:
    """Return those jobs that Slurm does not have. It remembers one that has ended for some minutes."""
    if not running:
        return set()
    queue = await _answer(run, ("squeue", "--local", "--all", "--states=all", "--noheader", "--format=%A"))
    return set(running) - set(queue.split())


def summary(site: Site, jobs: Sequence[Used], since: datetime, until: datetime, lost: Sequence[str]) -> dict[str, Any]:
    """Return the report as JSON has it."""

    def rows(word: str, key: Callable[[Used], str]) -> list[dict[str, Any]]:
        return [{word: one.name} | _numbers(one) for one in grouped(jobs, key)]

    return {
        "ok": True,
        "cluster": site.slurm.cluster,
        "since": since.isoformat(),
        "until": until.isoformat(),
        **_numbers(total("", jobs)),
        "users": rows("user", lambda job: job.user),
        "accounts": rows("account", lambda job: job.account),
        "courses": rows("course", course_of(site)),
        "kinds": rows("kind", lambda job: job.kind),
        "lost_jobs": list(lost),
    }


def _numbers(one: Sum) -> dict[str, float]:
    return {name: value for name, value in asdict(one).items() if name != "name"}


def shown(told: dict[str, Any]) -> str:
    """Return the report for people."""
    heads = {"users": "user", "accounts": "account", "courses": "course", "kinds": "kind"}
    names = [str(row[heads[part]]) for part in heads for row in told[part]]
    width = max(map(len, map(visible, [*heads.values(), *names])))
    lines = [f"Cluster {told['cluster']}, {told['since']} to {told['until']}: {told['gpu_hours']:.1f} GPU-hours"]
    for part, head in heads.items():
        lines += ["", f"{head:<{width}} {'jobs':>8} {'GPU-hours':>12} {'core-hours':>12}"]
        for row in told[part]:
            numbers = f"{row['jobs']:>8} {row['gpu_hours']:>12.1f} {row['core_hours']:>12.1f}"
            lines.append(f"{visible(str(row[head])):<{width}} {numbers}")
    if told["lost_jobs"]:
        lines += [
            "",
            f"Not counted: {', '.join(told['lost_jobs'])}, which accounting believes to run and Slurm does not have; "
            "`sacctmgr show runawayjobs` mends that.",
        ]
    return "\n".join(lines)
