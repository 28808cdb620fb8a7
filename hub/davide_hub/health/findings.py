"""What was found wrong, as a sentence with its fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# What follows from something else comes after it: whoever mends the first finding has often mended the rest.
ORDER = (
    "reach",
    "room",
    "clock",
    "system",
    "accounts",
    "files",
    "munge",
    "units",
    "names",
    "certificate",
    "ports",
    "slurm",
    "partition",
    "job",
    "limits",
    "proxy",
    "sessions",
    "kernels",
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    check
        What was looked at, one of `ORDER`.
    level
        "problem": sessions won't work, or it is not safe. "warning": they will, and something is worth knowing.
    sentence
        Where, what, and how to mend it.
    """

    check: str
    level: Literal["problem", "warning"]
    sentence: str


def problem(check: str, sentence: str) -> Finding:
    """Return a finding that must be mended."""
    return Finding(check, "problem", sentence)


def warning(check: str, sentence: str) -> Finding:
    """Return a finding that one may live with."""
    return Finding(check, "warning", sentence)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the causes first, each once; problems before warnings."""
    unique = dict.fromkeys(findings)
    return sorted(unique, key=lambda one: (one.level != "problem", ORDER.index(one.check)))
