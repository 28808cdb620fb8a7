"""A broker's verbs over folders of a test, with a watch that finds every account good."""

from __future__ import annotations

from pathlib import Path

from davide_hub.broker.audit import Audit
from davide_hub.broker.outcasts import Outcasts
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.standing import Standing
from davide_hub.broker.verbs import SiteFile, Verbs
from davide_hub.broker.watch import Watch


def verbs_over(folder: Path, site: SiteFile, keeper: SessionKeeper) -> Verbs:
    """Return the verbs; audit trail and bans are kept in `folder`."""
    outcasts = Outcasts(folder)
    watch = Watch(keeper, outcasts, lambda users: {user: Standing("good") for user in users})
    audit = Audit(folder / "audit", lambda: 90)
    return Verbs(site, keeper.tickets, keeper, "davide-hub", outcasts, watch, audit)
