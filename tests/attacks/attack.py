"""What an attack is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attacks.scene import Scene

AREAS = (
    "injection",
    "rest-bypass",
    "call-home",
    "servers",
    "ports",
    "files",
    "gpus",
    "tokens",
    "cookies-and-origins",
    "csrf",
    "redirect",
    "hub-account",
    "broker-socket",
    "tickets",
    "planted-files",
    "log-injection",
    "exhaustion",
)


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to.

    Attributes
    ----------
    reached
        The attacker got what was wanted; for the twin, the legitimate user got it.
    answer
        What was heard: a status and first words of a page, the kind and sentence of a broker's refusal, a command's
        standard error.
    """

    reached: bool
    answer: str


@dataclass(frozen=True)
class Attack:
    """A row of the suite.

    Attributes
    ----------
    name
        A short sentence in words with dashes.
    area
        One of `AREAS`.
    attempt
        Called with the stage, and whether it is the attack or its legitimate twin, which differs in the malicious
        part only. It leaves the cluster as it found it, and looks itself whether the aim was reached.
    refused
        A regular expression that the answer matches where our defences are.
    logged
        A regular expression that the journal of `unit` then matches, since the attempt began. Empty only where
        nothing of ours sees the attempt, because the kernel refuses it, for example; the row's comment says so.
    unit
        `jupyterhub`, `davide-broker`, `jupyterhub-proxy` or `davide-front`.
    weakness
        The file in `weak/`, without its ending, that takes away the defence which stops the attack.
    """

    name: str
    area: str
    attempt: Callable[[Scene, bool], Outcome]
    refused: str
    logged: str = ""
    unit: str = "jupyterhub"
    weakness: str = ""
