"""Who may log in: the account, its password, its group."""

from __future__ import annotations

import pwd
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pamela

from davide_hub.broker import directory

NO_DIRECTORY = "The cluster's directory of accounts does not answer at the moment. Try again in a minute."

# Below are the system's own accounts (login.defs: UID_MIN).
_FIRST_UID = 1000
NOBODY = 65534
_NO_LOGIN_SHELLS = ("nologin", "false")

# Linux-PAM's numbers, _pam_types.h: the password was right, the account may not be used now.
ACCOUNT_REFUSED = {
    6: "may not log in here at this time",
    12: "has a password that must be changed first: log in to the cluster with ssh, which asks for a new one",
    13: "has expired: ask the cluster's support",
    27: "has a password that has expired: log in to the cluster with ssh, which asks for a new one",
}
_PAM_CANNOT_TELL = (4, 9, 26)  # system error, no authentication information, abort


class WrongPassword(Exception):  # noqa: N818 - it is what it says
    """The password is wrong, or there is no such account: which of the two is not said."""


class NotAllowed(Exception):  # noqa: N818
    """The account exists and may not use this service. `str()` is for the user."""


class CannotTell(Exception):  # noqa: N818
    """The directory or PAM did not answer."""


@dataclass(frozen=True)
class Account:
    """A person's account, as the system knows it."""

    name: str
    uid: int
    gid: int
    home: Path
    shell: str


def find_account(name: str) -> Account:
    """Return the person's account called `name`.

    Raises
    ------
    WrongPassword
        If there is none, or if it is root's or a system account.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise WrongPassword from None
    # A directory may match names loosely (sssd ignores case): tickets and files go by the one true name.
    if entry.pw_name != name or entry.pw_uid < _FIRST_UID or entry.pw_uid == NOBODY:
        raise WrongPassword
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir), entry.pw_shell)


def check_password(account: Account, password: str, service: str) -> None:
    """Let PAM check the password and the account.

    Parameters
    ----------
    account
        Whose password it should be.
    password
        Neither kept nor logged.
    service
        The PAM service: a file in /etc/pam.d.

    Raises
    ------
    WrongPassword, NotAllowed, CannotTell
        If PAM says no: to the password, to the account, or nothing at all.
    """
    if "\0" in password:  # C would stop reading there
        raise WrongPassword
    # In two steps, since stacks of PAM modules say "wrong password" to an account that may not be used, too.
    try:
        pamela.authenticate(account.name, password, service=service, resetcred=0, check=False)
    except pamela.PAMError as error:
        _raise_known(account, error)
        raise WrongPassword from None
    try:
        pamela.check_account(account.name, service=service)
    except pamela.PAMError as error:
        _raise_known(account, error)
        with suppress(directory.Silent):
            if how := directory.closed(account.name):
                raise NotAllowed(is_closed(account.name, how)) from None
        raise NotAllowed(f"Your account {account.name} may not be used here: ask the cluster's support.") from None


def _raise_known(account: Account, error: pamela.PAMError) -> None:
    if error.errno in ACCOUNT_REFUSED:
        raise NotAllowed(f"Your account {account.name} {ACCOUNT_REFUSED[error.errno]}.") from None
    if error.errno in _PAM_CANNOT_TELL:
        raise CannotTell(str(error)) from None


def check_membership(account: Account, group: str) -> None:
    """Check that the account belongs to the site's group and is one that people log in with.

    Raises
    ------
    NotAllowed
        If not; with the group's name, so that support knows what to do.
    CannotTell
        If there is no such group.
    directory.Silent
        If the directory does not answer for all that must be known.
    """
    members = directory.gid_of_group(group)
    if members is None:
        raise CannotTell(f"this host knows no group {group}")
    if not directory.belongs(account.name, account.gid, group, members):
        raise NotAllowed(not_in_group(account.name, group))
    if Path(account.shell).name in _NO_LOGIN_SHELLS:
        raise NotAllowed(f"Your account {account.name} may not log in to the cluster: ask its support.")


def not_in_group(name: str, group: str) -> str:
    """Return the sentence for who is not among those who may use the service."""
    return (
        f"Your account {name} is not in the group {group}, whose members may use this service. "
        "Ask your teacher or the cluster's support to add it."
    )


def is_closed(name: str, how: str) -> str:
    """Return the sentence for an account that is "locked" or "expired"."""
    words = {"locked": "is locked", "expired": "has expired"}
    return f"Your account {name} {words[how]}: ask the cluster's support."
