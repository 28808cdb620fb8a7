"""What a user may choose when a session starts, checked where it is used: form, REST and saved options alike."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import SpawnException

from davide_hub.facts import Profile, Site
from davide_hub.profiles import UnknownProfile, find_profile

# What options look like, for whoever sent something else.
ONLY_PROFILE = 'an object with the one name "profile"'


class SessionFailed(SpawnException):  # type: ignore[misc]
    """A session did not start; the sentence is shown to the user as it is."""

    def __init__(self, sentence: str, *, reason: str, log: str = "") -> None:
        super().__init__(sentence, reason=reason)
        self.jupyterhub_message = sentence  # what the pages show; JupyterHub's own names are these
        self.session_log = log


def chosen_profile(site: Site, options: Any) -> Profile:
    """Return the profile that a start's options name; the first one if they name none.

    Parameters
    ----------
    site
        The site's facts as they are now: what was saved under older ones may be gone.
    options
        From a form, a REST request, or the database. Untrusted, its type too.

    Raises
    ------
    SessionFailed
        If there is no such profile, or if the options hold anything else. It becomes a 400.
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise SessionFailed(f"Options are {ONLY_PROFILE}.", reason="options")
    unknown = ", ".join(sorted(ascii(name) for name in options.keys() - {"profile"}))
    if unknown:
        raise SessionFailed(f"There is no option {unknown[:80]}; there is only profile.", reason="options")
    try:
        return find_profile(site.profiles, options.get("profile", site.profiles[0].name))
    except UnknownProfile as error:
        raise SessionFailed(f"There is {error}.", reason="options") from None
