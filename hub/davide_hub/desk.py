"""What the session form tells: what is free, when a session would start, and what a user may choose from.

All of it comes from answers that everybody shares; a page that is asked for waits for none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from davide_hub.availability import Node, read_nodes, room_for
from davide_hub.broker.client import BrokerClient
from davide_hub.entitlement import Allowed, Associations, Reservation, allowed, read_associations, read_reservations
from davide_hub.estimates import Estimates
from davide_hub.facts import Profile, Site
from davide_hub.plan import (
    BadWish,
    Plan,
    Wishes,
    gpu_bounds,
    hour_bounds,
    locked_fields,
    settle,
    usual_numbers,
    usual_values,
)
from davide_hub.profiles import UnknownProfile, find_partition
from davide_hub.shared import Shared
from davide_hub.slurm import Ask
from davide_hub.texts import text
from davide_hub.when import in_words

# Free GPUs are never shown older than this.
FREE_SECONDS = 15
_RESERVATIONS_SECONDS, _RESERVATIONS_KEPT = 120, 600
_ASSOCIATIONS_SECONDS, _ASSOCIATIONS_KEPT = 600, 4 * 3600
# What a page with a script asks for may take so long; it shows what it has meanwhile.
_PATIENCE_SECONDS = 3


@dataclass
class Desk:
    """Answers for the session form.

    Parameters
    ----------
    site
        The site's facts.
    ask
        Asks Slurm.
    broker
        Who asks for estimates.
    clock
        Seconds since 1970.
    """

    site: Site
    ask: Ask
    broker: BrokerClient
    clock: Callable[[], float] = time.time
    nodes: Shared[list[Node]] = field(init=False)
    reservations: Shared[list[Reservation]] = field(init=False)
    associations: Shared[Associations] = field(init=False)
    estimates: Estimates = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = Shared(self._ask_nodes, FREE_SECONDS, FREE_SECONDS)
        self.reservations = Shared(self._ask_reservations, _RESERVATIONS_SECONDS, _RESERVATIONS_KEPT)
        self.associations = Shared(self._ask_associations, _ASSOCIATIONS_SECONDS, _ASSOCIATIONS_KEPT)
        self.estimates = Estimates(self.broker)

    async def _ask_nodes(self) -> list[Node]:
        return read_nodes(await self.ask("nodes", frozenset()))

    async def _ask_reservations(self) -> list[Reservation]:
        return read_reservations(await self.ask("reservations", frozenset()))

    async def _ask_associations(self) -> Associations:
        return read_associations(await self.ask("associations", frozenset()), self.site.slurm.cluster)

    # -- what a user may choose from

    def allowed(self, user: str) -> Allowed:
        """Return the accounts, QOS and reservations of a user, as far as Slurm has told."""
        usual = str(usual_values(self.site, date.today())["account"])
        return allowed(user, usual, self.associations.last() or {}, self.reservations.last() or [], self.clock())

    def form(self, user: str, wishes: Wishes | None, saved: Wishes | None) -> dict[str, Any]:
        """Return what the form is made of. Waits for nothing.

        Parameters
        ----------
        user
            Whose session it is to be.
        wishes
            What a link fills in, if one led here; it is good.
        saved
            What this user chose last, which may be good no more.
        """
        today, may = date.today(), self.allowed(user)
        locked = locked_fields(self.site, today)
        plan = self._begin_with(wishes, saved, may)
        course = self.site.course
        return {
            "plan": plan,
            "locked": locked,
            "until": _long(course.last_day) if locked and course.last_day else None,
            "recommended": course.profile if course.runs_on(today) else None,
            "profiles": self._sorted(str(usual_values(self.site, today)["profile"])),
            "bounds": {one.name: self._bounds(one) for one in self.site.profiles},
            "accounts": may.accounts if plan.account in may.accounts else (plan.account, *may.accounts),
            "qos": may.qos,
            "reservations": _with(plan.reservation, [one.name for one in may.reservations]),
            "figures": self.figures(user, plan),
        }

    def _begin_with(self, wishes: Wishes | None, saved: Wishes | None, may: Allowed) -> Plan:
        today = date.today()
        if wishes is not None:
            return settle(self.site, wishes, today)
        try:
            plan = settle(self.site, saved or Wishes(), today)
        except (BadWish, UnknownProfile):
            return settle(self.site, Wishes(), today)
        names = [one.name for one in may.reservations]
        # Of last year: what Slurm does not offer any more is not offered here.
        gone = plan.reservation and plan.reservation not in names and self.reservations.last() is not None
        return settle(self.site, Wishes(), today) if gone and saved and saved.reservation else plan

    def _sorted(self, first: str) -> list[Profile]:
        return sorted(self.site.profiles, key=lambda profile: profile.name != first)

    def _bounds(self, profile: Profile) -> dict[str, Any]:
        usual = usual_numbers(self.site, profile, date.today())
        return {
            "gpus": (*gpu_bounds(profile), usual["gpus"]),
            "hours": (*hour_bounds(profile), usual["hours"]),
            "cores": profile.cores,
            "memory_gb": profile.memory_gb,
        }

    # -- what is free, and when

    async def fresh_figures(self, user: str, plan: Plan) -> dict[str, Any]:
        """Return the figures of all profiles, after a while for Slurm to answer."""
        await self.nodes.fresh(_PATIENCE_SECONDS)
        return self.figures(user, plan)

    def figures(self, user: str, plan: Plan) -> dict[str, Any]:
        """Return what is known of each profile now, in words. Waits for nothing.

        Parameters
        ----------
        user
            Who looks.
        plan
            What is chosen: its account, QOS and reservation hold for all profiles, its numbers for its own.
        """
        nodes = self.nodes.last()
        reservations = self.reservations.last() or []
        chosen = next((one for one in reservations if one.name == plan.reservation), None)
        told = {}
        for profile in self.site.profiles:
            mine = plan.profile if profile.name == plan.profile.name else profile
            one = Plan(mine, plan.account, plan.qos, plan.reservation)
            told[profile.name] = self._figures_of(user, one, nodes, chosen, reservations)
        return {"silent": self.nodes.silent, "profiles": told}

    def _figures_of(
        self,
        user: str,
        plan: Plan,
        nodes: list[Node] | None,
        chosen: Reservation | None,
        reservations: list[Reservation],
    ) -> dict[str, str]:
        if nodes is None:
            return {"free": "", "start": "", "kind": "unknown"}
        partition = find_partition(self.site.slurm.partitions, plan.profile.partition)
        room = room_for(plan.profile, partition, nodes, chosen.nodes if chosen else None)
        free = text("form.free", n=room.free, all=room.all) if plan.profile.gpus else ""
        now = self.clock()
        if plan.reservation and chosen is None:
            known = self.reservations.last() is not None
            words = "form.start_no_reservation" if known else "form.start_unknown"
            return {"free": "", "start": text(words, name=plan.reservation), "kind": "never" if known else "later"}
        if chosen and chosen.start > now:
            start = in_words(datetime.fromtimestamp(chosen.start), datetime.fromtimestamp(now))
            return {"free": free, "start": text("form.start_with_reservation", when=start), "kind": "later"}
        if room.sessions:
            return {"free": free, "start": text("form.start_now"), "kind": "now"}
        return {"free": free} | self._estimated(user, plan, reservations)

    def _estimated(self, user: str, plan: Plan, reservations: list[Reservation]) -> dict[str, str]:
        known = self.estimates.look(user, plan)
        if known is None:
            return {"start": text("form.start_unknown"), "kind": "later"}
        if known.start is None:
            return {"start": text("form.start_never", why=known.refusal), "kind": "never"}
        now, start = datetime.fromtimestamp(self.clock()), datetime.fromtimestamp(known.start)
        if (start - now).total_seconds() < 60:
            return {"start": text("form.start_now"), "kind": "now"}
        # Slurm's plan has a session begin in the minute in which the nodes are free again.
        if any(abs(one.end - known.start) < 120 for one in reservations):
            return {"start": text("form.start_after_reservation", when=in_words(start, now)), "kind": "later"}
        return {"start": about(start, now), "kind": "later"}


def about(start: datetime, now: datetime) -> str:
    """Return about when something starts, as one says it: minutes while it is near, then the time of day."""
    minutes = (start - now).total_seconds() / 60
    if minutes < 90:
        step = 1 if minutes < 10 else 5
        return text("form.start_in", n=max(1, step * round(minutes / step)))
    return text("form.start_about", when=in_words(start, now))


def _long(day: str) -> str:
    found = date.fromisoformat(day)
    return f"{found.day} {found:%B %Y}"


def _with(name: str, names: list[str]) -> list[str]:
    return names if not name or name in names else [name, *names]
