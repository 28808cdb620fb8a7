"""What the broker does for each verb, and what it refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from davide_hub.broker.accounts import (
    CannotTell,
    NotAllowed,
    WrongPassword,
    check_membership,
    check_password,
    find_account,
)
from davide_hub.broker.keep import Tickets
from davide_hub.broker.protocol import (
    Answer,
    Cancel,
    Claim,
    Close,
    Log,
    Login,
    Look,
    Recall,
    Refusal,
    Reply,
    Request,
    Sessions,
    Submit,
    Ticket,
)
from davide_hub.broker.sessions import Refused, SessionKeeper
from davide_hub.facts import FactsError, Site, load_site
from davide_hub.profiles import UnknownProfile
from davide_hub.render import RenderError

# Beyond this many at once a queue forms: each is a process, and starting Python costs 30 ms of a core.
_AT_ONCE = 16
_WAIT_SECONDS = 60


@dataclass
class SiteFile:
    """The site's facts, read again when the file changes: a new profile needs no restart of the broker."""

    path: Path
    _seen: tuple[int, int] = field(default=(0, 0), init=False)
    _site: Site | None = field(default=None, init=False)

    def read(self) -> Site:
        """Return the facts as they are now; raises `FactsError`."""
        status = self.path.stat()
        seen = (status.st_mtime_ns, status.st_ino)
        if self._site is None or seen != self._seen:
            self._site, self._seen = load_site(self.path), seen
        return self._site


@dataclass
class Verbs:
    """The broker's duty, apart from the socket."""

    site_file: SiteFile
    tickets: Tickets
    sessions: SessionKeeper
    pam_service: str
    # Log-ins and jobs queue apart: wrong passwords, which PAM delays, must not hold up the others' sessions.
    _logins: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE), init=False)
    _jobs: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE), init=False)

    def answer(self, request: Request) -> Reply:
        """Return the answer, or the refusal with its sentence; what others do wrong raises nothing."""
        try:
            return Answer(value=self._do(request))
        except Refused as refusal:
            return Refusal(kind=refusal.kind, sentence=refusal.sentence)
        except WrongPassword:
            return Refusal(kind="wrong_password", sentence="Wrong user name or password.")
        except NotAllowed as refusal:
            return Refusal(kind="not_allowed", sentence=str(refusal))
        except UnknownProfile as error:
            return Refusal(kind="unknown_profile", sentence=f"There is {error}.")
        except (CannotTell, FactsError, RenderError) as error:
            return Refusal(kind="failed", sentence=f"The cluster's administrators must mend this: {error}.")

    def _do(self, request: Request) -> str:
        match request:
            case Login():
                with _one_of(self._logins):
                    return self._login(request)
            case Ticket():
                return "yes" if self._holds_ticket(request.user) else "no"
            case Sessions():
                return self.sessions.open()
            case _:
                with _one_of(self._jobs):
                    return self._of_a_session(request)

    def _of_a_session(self, request: Submit | Cancel | Close | Look | Recall | Claim | Log) -> str:
        match request:
            case Submit():
                return self.sessions.submit(request)
            case Cancel():
                return self.sessions.cancel(request)
            case Close():
                return self.sessions.close(request)
            case Look():
                return self.sessions.look(request)
            case Recall():
                return self.sessions.recall(request)
            case Claim():
                return self.sessions.claim(request)
            case Log():
                return self.sessions.log(request)

    def _login(self, request: Login) -> str:
        account = find_account(request.user)
        check_password(account, request.password.get_secret_value(), self.pam_service)
        # Only now: whoever does not know the password learns nothing about groups.
        check_membership(account, self.site_file.read().group)
        self.tickets.give(account.name, account.uid)
        return account.name

    def _holds_ticket(self, user: str) -> bool:
        try:
            return self.tickets.holds(user, find_account(user).uid)
        except WrongPassword:
            # No such account; or a directory that is silent, and that is no reason to throw anybody out.
            return self.tickets.holds(user, None)


@contextmanager
def _one_of(places: threading.Semaphore) -> Iterator[None]:
    if not places.acquire(timeout=_WAIT_SECONDS):
        raise Refused("busy", "Too many people are doing this right now. Try again in a minute.")
    try:
        yield
    finally:
        places.release()
