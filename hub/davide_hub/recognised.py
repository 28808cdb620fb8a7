"""Whose log-in cookie it is, and who that is, without a question to the database for each request.

JupyterHub looks the user up anew each time, with all roles, groups and sessions: four queries, which take longer than
all the rest of a page. The hub holds everybody who was here since it started anyway, and nobody else writes into its
database; so a cookie that was good once is compared with what its user's cookie is now.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.user import User

# Far more than a hub has users; more only means that the database is asked again.
_MOST = 20_000


class Recognised:
    """Of a handler of JupyterHub's: recognises cookies that it has seen."""

    application: Any
    users: Any
    db: Any

    def _user_for_cookie(self, cookie_name: str, cookie_value: str | None = None) -> Any:
        seen = self.application.seen_cookies
        shown = self._signed_cookie(cookie_name, cookie_value)
        user = self._known(seen.get(shown), shown)
        if user is None:
            user = super()._user_for_cookie(cookie_name, cookie_value)  # type: ignore[misc]
            if user is not None:
                if len(seen) >= _MOST:
                    seen.clear()
                seen[user.cookie_id] = user.id
        elif self._record_activity(user):  # type: ignore[attr-defined]
            self.db.commit()
        return user

    def find_user(self, name: str) -> Any:
        """Return the user of a name, or None; who asks about themselves is at hand."""
        asks = getattr(self, "_jupyterhub_user", None)
        if isinstance(asks, User) and asks.name == name and asks.id in self.users:
            return asks
        return super().find_user(name)  # type: ignore[misc]

    def _signed_cookie(self, name: str, value: str | None) -> str:
        """Return what a cookie says, if it is signed and not too old; else nothing."""
        days = self.cookie_max_age_days  # type: ignore[attr-defined]
        said: bytes | None = self.get_secure_cookie(name, value, max_age_days=days)  # type: ignore[attr-defined]
        return said.decode("utf8", "replace") if said else ""

    def _known(self, number: int | None, shown: str) -> Any:
        """Return the user of this number, if the hub holds them and this is still their cookie."""
        if number is None or number not in self.users:
            return None
        user = self.users[number]
        # Logging out and being turned out change it.
        return user if user.cookie_id == shown else None
