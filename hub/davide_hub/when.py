"""Times in words, in this host's time."""

from __future__ import annotations

from datetime import datetime, timedelta

from davide_hub.texts import text


def in_words(moment: datetime, now: datetime) -> str:
    """Return a moment of the near future as people say it, such as "at 14:00" or "tomorrow at 09:00"."""
    clock = f"{moment:%H:%M}"
    if moment.date() == now.date():
        return text("form.at", clock=clock)
    if moment.date() == (now + timedelta(days=1)).date():
        return text("form.tomorrow_at", clock=clock)
    return text("form.day_at", day=f"{moment.day} {moment:%B}", clock=clock)
