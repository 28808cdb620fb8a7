"""Looking things up among the site's facts by the name that somebody sent."""

from __future__ import annotations

from collections.abc import Sequence

from davide_hub.facts import Partition, Profile


class UnknownProfile(Exception):  # noqa: N818 - it is what it says
    """The site has no profile of that name. `str()` names the choices and may be shown to the user."""


def find_profile(profiles: Sequence[Profile], name: str) -> Profile:
    """Return the profile called `name`.

    Parameters
    ----------
    profiles
        The site's profiles; the first is the default.
    name
        What the user sent. Untrusted: compared, and quoted in the error in a form that can't break a line.

    Raises
    ------
    UnknownProfile
        If the site has no such profile.
    """
    for profile in profiles:
        if profile.name == name:
            return profile
    choices = ", ".join(profile.name for profile in profiles)
    raise UnknownProfile(f"no profile {ascii(name)[:60]}; this site has {choices}")


def find_partition(partitions: Sequence[Partition], name: str) -> Partition:
    """Return the partition called `name`; the facts hold only profiles whose partition exists."""
    return next(partition for partition in partitions if partition.name == name)


def gres(profile: Profile, partition: Partition) -> str | None:
    """Return what Slurm calls the profile's GPUs there, such as `gpu:tesla:1`, or None without GPUs."""
    if profile.gpus == 0:
        return None
    named = gpu_type(profile, partition)
    kind = f":{named}" if named else ""
    return f"gpu{kind}:{profile.gpus}"


def gpu_type(profile: Profile, partition: Partition) -> str | None:
    """Return the type of GPU that a session of the profile asks for, or None where any will do."""
    return profile.gpu_type or partition.gpu_type
