"""Whether people who are logged in may still be: a program of its own, so that a directory that hangs can be killed.

Three answers, as everywhere: good, refused, unknown. Refused is said only where something has said no:

- the directory says that it has expired or was locked, or PAM's account rules say so;
- the directory has the account and the site's group, and says, with each of its services, that the one is not in the
  other;
- the directory has the site's group, and says that there is no such account.

Whatever fails on the way there is "unknown".
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

import pamela

from davide_hub.broker import directory
from davide_hub.broker.accounts import ACCOUNT_REFUSED, is_closed, not_in_group

Verdict = Literal["good", "refused", "unknown"]

_SECONDS = 10
# Denied, and expired. A password that is to be changed is no reason to end what runs.
_ENDS_SESSIONS = (6, 13)


@dataclass(frozen=True)
class Standing:
    """What came of the look at an account.

    Attributes
    ----------
    verdict
        See above.
    sentence
        Why it is refused, for the user.
    absent
        Whether the directory says that there is no such account.
    """

    verdict: Verdict
    sentence: str = ""
    absent: bool = False


UNKNOWN = Standing("unknown")


def ask(users: list[str], group: str, service: str, program: tuple[str, ...] = ()) -> dict[str, Standing]:
    """Return the standing of each user; "unknown" for all of them if there is no answer in time.

    Parameters
    ----------
    users, group, service
        Whom; the site's group; the PAM service.
    program
        What to run instead of this module, for tests.
    """
    command = program or (sys.executable, "-I", "-m", __name__)
    order = json.dumps({"users": users, "group": group, "service": service})
    try:
        done = subprocess.run(command, input=order, capture_output=True, text=True, timeout=_SECONDS, check=True)
        answer = {name: Standing(**told) for name, told in json.loads(done.stdout).items()}
    except (subprocess.SubprocessError, OSError, ValueError, TypeError, AttributeError):
        answer = {}
    return {name: answer.get(name, UNKNOWN) for name in users}


def main() -> None:
    """Answer the order on standard input."""
    order = json.load(sys.stdin)
    told = {name: look(name, order["group"], order["service"]) for name in order["users"]}
    print(json.dumps({name: vars(standing) for name, standing in told.items()}))


def look(name: str, group: str, service: str) -> Standing:
    """Return the standing of one account, as it is now."""
    try:
        members = directory.gid_of_group(group)
        first = directory.gid_of_user(name)
        if members is None:
            # A site without its group is a directory that has lost something, not a site without people.
            return UNKNOWN
        if first is None:
            return Standing("refused", f"There is no account {name} any more.", absent=True)
        if not directory.belongs(name, first, group, members):
            # One that fell silent just then was perhaps heard for half of it: so it must answer once more.
            still = directory.gid_of_user(name), directory.gid_of_group(group)
            return Standing("refused", not_in_group(name, group)) if still == (first, members) else UNKNOWN
        if how := directory.closed(name):
            return Standing("refused", is_closed(name, how))
        pamela.check_account(name, service=service)
    except (directory.Silent, OSError):
        return UNKNOWN
    except pamela.PAMError as error:
        return _as_pam_says(name, error.errno)
    return Standing("good")


def _as_pam_says(name: str, number: int) -> Standing:
    if number in _ENDS_SESSIONS:
        return Standing("refused", f"Your account {name} {ACCOUNT_REFUSED[number]}.")
    return Standing("good") if number in ACCOUNT_REFUSED else UNKNOWN


if __name__ == "__main__":
    main()
