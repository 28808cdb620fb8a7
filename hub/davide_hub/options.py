"""What a user may choose when a session starts, checked where it is used: form, REST and saved options alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from jupyterhub.spawner import SpawnException

from davide_hub.endings import advice
from davide_hub.facts import Site
from davide_hub.plan import CHOICES, BadWish, Plan, Wishes, settle
from davide_hub.profiles import UnknownProfile

_NUMBERS = ("gpus", "hours")
_LISTED = f"{', '.join(CHOICES[:-1])} and {CHOICES[-1]}"
# Whether there is such an account, Slurm says; here, that it is a name and nothing else.
_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")


class SessionFailed(SpawnException):  # type: ignore[misc]
    """A session did not start; the sentence is shown to the user as it is.

    Parameters
    ----------
    sentence
        What happened.
    reason
        A word for it; what to do is a text of that name, see `endings.advice`.
    log
        The last lines of the session's log.
    """

    def __init__(self, sentence: str, *, reason: str, log: str = "") -> None:
        super().__init__(sentence, reason=reason)
        self.session_advice = advice(reason)
        # What the pages show; JupyterHub's own names are these.
        self.jupyterhub_message = " ".join([sentence, self.session_advice] if self.session_advice else [sentence])
        self.session_sentence, self.session_log = sentence, log


def chosen_plan(site: Site, options: Any) -> Plan:
    """Return what a start's options come to; whatever they leave open is as the site has it.

    Parameters
    ----------
    site
        The site's facts as they are now: what was saved under older ones may be gone.
    options
        From a form, a REST request, or the database. Untrusted, its type too.

    Raises
    ------
    SessionFailed
        If the site does not offer that, or if the options hold anything else. It becomes a 400.
    """
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise SessionFailed(f"Options are an object with the names {_LISTED}.", reason="options")
    unknown = ", ".join(sorted(ascii(name) for name in options.keys() - set(CHOICES)))
    if unknown:
        raise SessionFailed(f"There is no option {unknown[:80]}; there is {_LISTED}.", reason="options")
    for name in ("account", "qos", "reservation"):
        value = options.get(name, "")
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise SessionFailed(f"{name} {ascii(value)[:60]} is not a name that Slurm has.", reason="options")
    # What is there and null is no wish either way: a profile of that name there is not.
    if "profile" in options and not isinstance(options["profile"], str):
        options = options | {"profile": ascii(options["profile"])}
    for name in _NUMBERS:
        if name in options and type(options[name]) is not int:
            raise SessionFailed(f"{name} {ascii(options[name])[:60]} is not a whole number.", reason="options")
    try:
        return settle(site, Wishes(**options), date.today())
    except (UnknownProfile, BadWish) as error:
        sentence = str(error)
        raise SessionFailed(
            f"There is {sentence}." if isinstance(error, UnknownProfile) else sentence, reason="options"
        ) from None


def options_in(fields: Mapping[str, list[str]]) -> dict[str, str | int]:
    """Return the options in the fields of a form or a link. What is no number stays a text, and is refused as one."""
    texts = {name: values[-1] for name, values in fields.items()}
    return {
        name: int(text) if name in _NUMBERS and re.fullmatch("[0-9]{1,4}", text) else text
        for name, text in texts.items()
    }
