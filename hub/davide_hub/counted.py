"""What happens in the hub, counted for Prometheus: starts, failures and ends of sessions, and questions to Slurm.

What there is at a moment (who waits, who runs) is `metrics.py`. Names and kinds as in
https://prometheus.io/docs/practices/naming/. No label holds what a user wrote: each value is one of ours, or a
profile of the site's.
"""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge, Histogram

from davide_hub.questions import COMMANDS, Outcome, Question, SlurmSilent
from davide_hub.slurm import Ask

# Before the first of its kind there would be nothing, and Prometheus takes a number that appears for no increase.
KNOWN_FAILURES = (
    "account",
    "bad_choice",
    "bad_request",
    "boot",
    "budget",
    "cancelled",
    "cancelled_by",
    "cancelled_by_admin",
    "cancelled_by_you",
    "closed",
    "ended",
    "error",
    "failed",
    "gone",
    "home",
    "home_full",
    "memory",
    "no_ticket",
    "node",
    "not_allowed",
    "other",
    "preempted",
    "reservation",
    "shutdown",
    "slurm",
    "time_limit",
    "timeout",
    "too_large",
    "unknown_profile",
)
KNOWN_ENDS = (
    "boot",
    "by_teacher",
    "cancelled",
    "cancelled_by",
    "cancelled_by_admin",
    "cancelled_by_you",
    "failed",
    "gone",
    "home_full",
    "idle",
    "memory",
    "node",
    "other",
    "preempted",
    "requeued",
    "shutdown",
    "stopped",
    "time_limit",
    "turned_out",
)

STARTS = Counter("davide_session_starts", "Sessions that came up.", ["profile"])
FAILURES = Counter("davide_session_failures", "Starts that failed, by reason (texts/en/ended.yml).", ["reason"])
ENDS = Counter("davide_session_ends", "Other ends of sessions, by reason; stopped is the owner's own.", ["reason"])
QUERY_SECONDS = Histogram(
    "davide_slurm_query_seconds",
    "How long Slurm took to answer the hub, or to say nothing.",
    ["question"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20),
)
QUERY_FAILURES = Counter("davide_slurm_query_failures", "Questions of the hub that Slurm did not answer.", ["question"])
LAST_ANSWER = Gauge(
    "davide_slurm_last_answer_timestamp_seconds", "When Slurm last answered the hub; 0 if never.", ["question"]
)

for _counter, _reasons in ((FAILURES, KNOWN_FAILURES), (ENDS, KNOWN_ENDS)):
    for _reason in _reasons:
        _counter.labels(_reason)
for _metric in (QUERY_SECONDS, QUERY_FAILURES, LAST_ANSWER):
    for _question in COMMANDS:
        _metric.labels(_question)


def counting(ask: Ask) -> Ask:
    """Return how to ask Slurm so that each question is counted, whoever asks it."""

    async def asking(question: Question, jobs: frozenset[str]) -> Outcome:
        begun = time.monotonic()
        try:
            outcome = await ask(question, jobs)
        except SlurmSilent:
            QUERY_FAILURES.labels(question).inc()
            raise
        finally:
            QUERY_SECONDS.labels(question).observe(time.monotonic() - begun)
        if outcome.is_answer:
            LAST_ANSWER.labels(question).set_to_current_time()
        else:
            QUERY_FAILURES.labels(question).inc()
        return outcome

    return asking
