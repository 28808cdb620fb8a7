"""Which kernels with a job of their own this site offers: from what a student may know of its facts.

`site.kernel_jobs` names profiles, and perhaps GPUs and hours; what belongs to them stands in the profiles. Ansible has
checked all of it (`davide_hub.facts`); here only what is needed is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Offer:
    """What a kernel's job asks Slurm for.

    Attributes
    ----------
    name
        A part of the kernel's name.
    title
        For people.
    gres
        As Slurm calls the GPUs, such as `gpu:tesla:1`.
    idle_minutes
        After how many minutes without work the job ends; None for never.
    keep_mb
        How many megabytes of variables are kept when that happens; None for none.
    """

    name: str
    title: str
    partition: str
    gres: str
    gpus: int
    cores: int
    memory_gb: int
    hours: int
    idle_minutes: float | None = None
    keep_mb: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it for a kernelspec."""
        return asdict(self)


def read_offers(path: Path) -> tuple[Offer, ...]:
    """Return what the file at `path` offers; nothing if there is no such file, or it offers nothing.

    Raises
    ------
    ValueError
        If the file does not hold together. The text says what to do.
    """
    try:
        facts = json.loads(path.read_text())
        return offers(facts)
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{path}: {type(error).__name__}: {error}"
        raise ValueError(f"{problem}; no kernels with jobs of their own are offered until a play mends it") from None


def offers(facts: Mapping[str, Any]) -> tuple[Offer, ...]:
    """Return the offers in a site's facts."""
    return tuple(_offer(one, facts) for one in facts.get("kernel_jobs", ()))


def _offer(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> Offer:
    profile = {one["name"]: one for one in facts["profiles"]}[wanted["profile"]]
    partition = {one["name"]: one for one in facts["partitions"]}[profile["partition"]]
    gpus = wanted.get("gpus") or profile["gpus"]
    hours = wanted.get("hours") or profile["hours"]
    kind = profile.get("gpu_type") or partition.get("gpu_type")
    return Offer(
        name=f"{profile['name']}-{gpus}gpu-{hours}h",
        title=f"{gpus} GPU{'s' * (gpus != 1)}, {hours} h, own job",
        partition=profile["partition"],
        gres=f"gpu:{kind}:{gpus}" if kind else f"gpu:{gpus}",
        gpus=gpus,
        # Who takes more or fewer GPUs has more or less of what belongs to them, as in the session form.
        cores=max(1, profile["cores"] * gpus // profile["gpus"]),
        memory_gb=max(1, profile["memory_gb"] * gpus // profile["gpus"]),
        hours=hours,
        idle_minutes=profile.get("idle_minutes"),
        keep_mb=wanted.get("keep_mb"),
    )
