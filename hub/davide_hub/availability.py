"""What is free right now, from one answer of sinfo about all nodes. Parsing is pure: text in, values out."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from davide_hub.facts import Partition, Profile
from davide_hub.profiles import gpu_type
from davide_hub.questions import Outcome, SlurmSilent

_HEADER = "NODELIST|PARTITION|"
_FIELDS = 8
# sinfo adds a sign for some flags to a state: * not responding, $ maintenance, ~ powered off, and more.
_SIGNS = "*$~#!%@^-"
_WORKING = {"idle", "mixed", "allocated"}
# All other flags mean that no job can start there now, or that the node is kept for others.
_HARMLESS = {"cloud", "dynamic_future", "dynamic_norm", "completing", "planned"}
# "gpu:tesla:4(S:0-1)", "gpu:4", "gpu:tesla:2(IDX:0-1)", "(null)": the brackets hold sockets and numbers, no count.
_GRES = re.compile(r"gpu(?::([A-Za-z0-9_.-]+))?:([0-9]+)(?:\([^)]*\))?(?:,|$)")
_CPUS = re.compile(r"([0-9]+)/([0-9]+)/([0-9]+)/([0-9]+)")
_ANY = ""  # the type of GPUs that have none


@dataclass(frozen=True)
class Node:
    """A node in a partition.

    Attributes
    ----------
    works
        Whether jobs can start there.
    reserved
        Whether only those of a reservation can.
    gpus, free_gpus
        How many there are and how many are free, by type.
    free_cores, free_memory_mb
        What no job holds.
    """

    name: str
    partition: str
    works: bool
    reserved: bool
    gpus: Mapping[str, int]
    free_gpus: Mapping[str, int]
    free_cores: int
    free_memory_mb: int


@dataclass(frozen=True)
class Room:
    """What is free for a profile.

    Attributes
    ----------
    free, all
        GPUs of the profile's kind.
    sessions
        How many sessions of just this size could start at once.
    """

    free: int
    all: int
    sessions: int


def read_nodes(outcome: Outcome) -> list[Node]:
    """Return the nodes in sinfo's answer.

    Raises
    ------
    SlurmSilent
        If it failed, or if any line is not one of sinfo's: half an answer is none.
    """
    if outcome.code != 0 or not outcome.out.startswith(_HEADER):
        raise SlurmSilent(f"sinfo: {(outcome.err or outcome.out).strip()[:200]}")
    return [_node(line) for line in outcome.out.splitlines()[1:]]


def _node(line: str) -> Node:
    fields = [field.strip() for field in line.split("|")]
    cpus = _CPUS.fullmatch(fields[5]) if len(fields) == _FIELDS else None
    if cpus is None or not fields[6].isdecimal() or not fields[7].isdecimal():
        raise SlurmSilent(f"sinfo printed {line[:80]!r}")
    state, *flags = fields[2].lower().rstrip(_SIGNS).split("+")
    held = set(flags) - _HARMLESS - {"reserved"}
    reserved = "reserved" in (state, *flags)
    # What is out of order may still count as idle in its cores: the state decides.
    works = (state in _WORKING or state == "reserved") and not held and "*" not in fields[2]
    gpus, used = gpu_counts(fields[3]), gpu_counts(fields[4])
    free = {kind: number - used.get(kind, 0) for kind, number in gpus.items()}
    return Node(
        fields[0], fields[1].rstrip("*"), works, reserved, gpus, free, int(cpus[2]), int(fields[6]) - int(fields[7])
    )


def gpu_counts(gres: str) -> dict[str, int]:
    """Return how many GPUs of which type a text such as `gpu:a100:2(S:0),gpu:v100:2,shard:8` names."""
    counts: dict[str, int] = {}
    for kind, number in _GRES.findall(gres):
        counts[kind or _ANY] = counts.get(kind or _ANY, 0) + int(number)
    return counts


def room_for(
    profile: Profile, partition: Partition, nodes: Iterable[Node], within: Container[str] | None = None
) -> Room:
    """Return what is free for a profile.

    Parameters
    ----------
    profile
        With the numbers of the session that is thought of.
    partition
        The profile's.
    nodes
        What sinfo said.
    within
        The nodes of the reservation that the session is to use; None without one.
    """
    kind, free, total, sessions = gpu_type(profile, partition), 0, 0, 0
    for node in nodes:
        if node.partition != partition.name or (within is not None and node.name not in within):
            continue
        total += _of(kind, node.gpus)
        # A reservation's nodes are for its own sessions.
        if not node.works or (node.reserved and within is None):
            continue
        free += _of(kind, node.free_gpus)
        fits = [node.free_cores // profile.cores, node.free_memory_mb // (1024 * profile.memory_gb)]
        if profile.gpus:
            fits.append(_of(kind, node.free_gpus) // profile.gpus)
        sessions += max(0, min(fits))
    return Room(free, total, sessions)


def _of(kind: str | None, counts: Mapping[str, int]) -> int:
    # GPUs without a type are of whatever type one asks for: the site's facts name it, Slurm's need not.
    return sum(number for name, number in counts.items() if kind in (None, name) or name == _ANY)
