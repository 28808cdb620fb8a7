"""From what somebody wishes for a session to what it gets, by the site's facts alone. Hub and broker both ask here.

The hub asks so that a wish is refused in the form; the broker asks again, since it believes no hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from davide_hub.facts import Profile, Site
from davide_hub.kinds import ChoiceName
from davide_hub.profiles import find_profile

CHOICES: tuple[ChoiceName, ...] = ("profile", "gpus", "hours", "account", "qos", "reservation")


class BadWish(Exception):  # noqa: N818 - it is what it says
    """What was wished for is out of bounds, or locked by the course. `str()` may be shown to the user."""


@dataclass(frozen=True)
class Wishes:
    """What was asked for; None leaves it to the site. An empty QOS or reservation is a wish for none."""

    profile: str | None = None
    gpus: int | None = None
    hours: int | None = None
    account: str | None = None
    qos: str | None = None
    reservation: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a session gets.

    Attributes
    ----------
    profile
        The profile, with the GPUs, cores, memory and hours of this session.
    account, qos, reservation
        What it is charged to and where it queues; QOS and reservation may be empty.
    """

    profile: Profile
    account: str
    qos: str
    reservation: str

    @property
    def gpu_hours(self) -> int:
        """What the session costs if it runs to its end."""
        return self.profile.gpus * self.profile.hours

    def wishes(self) -> Wishes:
        """Return the wishes of which just this becomes."""
        return Wishes(
            self.profile.name, self.profile.gpus, self.profile.hours, self.account, self.qos, self.reservation
        )


def settle(site: Site, wishes: Wishes, day: date) -> Plan:
    """Return what a session gets.

    Parameters
    ----------
    site
        The site's facts.
    wishes
        Untrusted: compared and bounded here. That its names are names, the caller has checked.
    day
        Today: it decides whether the course runs.

    Raises
    ------
    UnknownProfile
        If the site has no such profile.
    BadWish
        If a number is out of bounds, or a field is locked.
    """
    locked = locked_fields(site, day)
    usual = usual_values(site, day)
    profile = find_profile(site.profiles, str(_value(wishes.profile, "profile", usual, locked, site)))
    usual |= usual_numbers(site, profile, day)
    gpus = _within("gpus", _value(wishes.gpus, "gpus", usual, locked, site), *gpu_bounds(profile))
    hours = _within("hours", _value(wishes.hours, "hours", usual, locked, site), *hour_bounds(profile))
    account, qos, reservation = (
        str(_value(wish, name, usual, locked, site))
        for name, wish in (
            ("account", wishes.account or None),
            ("qos", wishes.qos),
            ("reservation", wishes.reservation),
        )
    )
    return Plan(sized(profile, gpus, hours), account, qos, reservation)


def locked_fields(site: Site, day: date) -> frozenset[str]:
    """Return the fields of the form that nobody may choose on this day."""
    return frozenset(site.course.locked) if site.course.runs_on(day) else frozenset()


def usual_values(site: Site, day: date) -> dict[str, str | int]:
    """Return what a session gets for whoever does not choose: the course's, while it runs."""
    course, runs = site.course, site.course.runs_on(day)
    return {
        "profile": (runs and course.profile) or site.profiles[0].name,
        "account": (runs and course.account) or site.slurm.account,
        "qos": (runs and course.qos) or "",
        "reservation": (runs and course.reservation) or "",
    }


def gpu_bounds(profile: Profile) -> tuple[int, int]:
    """Return how many GPUs a user may take of a profile, at least and at most."""
    return (1, profile.most_gpus or profile.gpus) if profile.most_gpus else (profile.gpus, profile.gpus)


def hour_bounds(profile: Profile) -> tuple[int, int]:
    """Return how many hours a user may take of a profile, at least and at most."""
    return 1, profile.most_hours or profile.hours


def sized(profile: Profile, gpus: int, hours: int) -> Profile:
    """Return a profile with other numbers of GPUs and hours, and as much of cores and memory as belongs to them."""
    more, per = (gpus, profile.gpus) if profile.gpus else (1, 1)
    return profile.model_copy(
        update={
            "gpus": gpus,
            "hours": hours,
            "cores": max(1, profile.cores * more // per),
            "memory_gb": max(1, profile.memory_gb * more // per),
        }
    )


def usual_numbers(site: Site, profile: Profile, day: date) -> dict[str, str | int]:
    """Return the GPUs and hours of a profile for whoever does not choose them."""
    course = site.course
    taught = course.runs_on(day) and course.profile == profile.name
    return {"gpus": profile.gpus, "hours": (taught and course.hours) or profile.hours}


def _value(
    wish: str | int | None, name: str, usual: dict[str, str | int], locked: frozenset[str], site: Site
) -> str | int:
    if wish is not None and wish != usual[name] and name in locked:
        until = f" until {site.course.last_day}" if site.course.last_day else ""
        raise BadWish(f"The course sets {name} to {usual[name] or 'none'}{until}; leave it as it is.")
    return usual[name] if wish is None else wish


def _within(name: str, number: str | int, least: int, most: int) -> int:
    if type(number) is not int or not least <= number <= most:
        bounds = f"{least} to {most}" if least < most else str(least)
        raise BadWish(f"{name} {ascii(number)[:40]} is not possible here: this profile has {bounds}.")
    return number
