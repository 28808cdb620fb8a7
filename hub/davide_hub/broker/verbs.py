"""What the broker does for each verb, and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from davide_hub.broker.accounts import (
    NO_DIRECTORY,
    NOBODY,
    Account,
    CannotTell,
    NotAllowed,
    WrongPassword,
    check_membership,
    check_password,
    find_account,
)
from davide_hub.broker.attempts import Attempts
from davide_hub.broker.audit import Audit
from davide_hub.broker.directory import Silent as DirectorySilent
from davide_hub.broker.identity import Identities
from davide_hub.broker.keep import Tickets
from davide_hub.broker.locks import Locks
from davide_hub.broker.outcasts import Outcasts
from davide_hub.broker.protocol import (
    ROOTS_OWN,
    AboutJobs,
    AboutSlurm,
    Answer,
    Ban,
    Cancel,
    Claim,
    Close,
    Done,
    Estimate,
    Identity,
    Log,
    Login,
    Look,
    Recall,
    Refusal,
    Refusals,
    Reply,
    Request,
    Revoke,
    Sessions,
    Submit,
    Ticket,
    Unban,
)
from davide_hub.broker.sessions import Refused, SessionKeeper
from davide_hub.broker.watch import Watch
from davide_hub.facts import FactsError, OidcLogin, Site, load_site
from davide_hub.plan import BadWish
from davide_hub.profiles import UnknownProfile
from davide_hub.questions import Outcome, Question, SlurmSilent
from davide_hub.render import RenderError

# Beyond this many at once a queue forms: each is a process, and starting Python costs 30 ms of a core.
_AT_ONCE = 16
_WAIT_SECONDS = 60
# The hub asks Slurm one thing at a time, and does not wait long.
_QUESTIONS_AT_ONCE = 2
_QUESTION_WAIT_SECONDS = 3
# One is enough: the hub asks seldom, and Slurm's controller thinks about each for a while.
_ESTIMATES_AT_ONCE = 1
# What people do. What the hub asks by itself, again and again, is in the journal only.
AUDITED = (Login, Identity, Submit, Cancel, Claim, *ROOTS_OWN)
# Whoever asks: a uid, or the name and address of a hub on another host. Nobody in particular may do what the hub may.
Caller = int | str
Ask = Callable[[Question, Collection[str]], Outcome]


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
    outcasts: Outcasts
    watch: Watch
    audit: Audit
    # Only a hub on another host needs it; one on this host asks Slurm itself.
    ask_slurm: Ask | None = None
    _identities: Identities = field(default_factory=Identities, init=False)
    _attempts: Attempts = field(default_factory=Attempts, init=False)
    _trying: Locks = field(default_factory=Locks, init=False)
    # Log-ins and jobs queue apart: wrong passwords, which PAM delays, must not hold up the others' sessions.
    _logins: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE), init=False)
    _jobs: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE), init=False)
    _questions: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_QUESTIONS_AT_ONCE), init=False)

    _estimates: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_ESTIMATES_AT_ONCE), init=False)

    def answer(self, request: Request, caller: Caller = NOBODY) -> Reply:
        """Return the answer, or the refusal with its sentence; what others do wrong raises nothing.

        Parameters
        ----------
        request
            What is asked.
        caller
            Who asks.
        """
        reply = self._answer(request, caller)
        if isinstance(request, AUDITED):
            self.audit.write(**_line(request, reply, caller, self.tickets))
        return reply

    def _answer(self, request: Request, caller: Caller) -> Reply:
        if isinstance(request, ROOTS_OWN) and caller != 0:
            return Refusal(kind="not_allowed", sentence="Only root may give this order, on the broker's host.")
        try:
            return Answer(value=self._do(request))
        except Refused as refusal:
            return Refusal(kind=refusal.kind, sentence=refusal.sentence)
        except WrongPassword:
            return Refusal(kind="wrong_password", sentence="Wrong user name or password.")
        except NotAllowed as refusal:
            return Refusal(kind="not_allowed", sentence=str(refusal))
        except DirectorySilent:
            return Refusal(kind="busy", sentence=NO_DIRECTORY)
        except BadWish as error:
            return Refusal(kind="bad_choice", sentence=str(error))
        except UnknownProfile as error:
            return Refusal(kind="unknown_profile", sentence=f"There is {error}.")
        except SlurmSilent as silence:
            return Refusal(kind="silent", sentence=str(silence))
        except (CannotTell, FactsError, RenderError) as error:
            return Refusal(kind="failed", sentence=f"The cluster's administrators must mend this: {error}.")

    def _do(self, request: Request) -> str:
        match request:
            case Login():
                # One try per account at a time; whoever waits for that holds no place.
                with self._trying.of(request.user), _one_of(self._logins):
                    return self._try_login(request)
            case Identity():
                with _one_of(self._logins):
                    return self._identify(request)
            case Ticket():
                self._refuse_outcast(request.user)
                return "yes" if self._holds_ticket(request.user) else "no"
            case Sessions():
                return self.sessions.open()
            case Refusals():
                return json.dumps([asdict(one) for one in self.watch.all()])
            case Done():
                self.outcasts.done(request.user, request.since)
                return ""
            case AboutJobs():
                return self._ask_slurm(request.question, request.jobs)
            case AboutSlurm():
                return self._ask_slurm(request.question, ())
            case Ban() | Unban() | Revoke():
                return self._order(request)
            case Estimate():
                self._refuse_outcast(request.user)
                with _one_of(self._estimates, _QUESTION_WAIT_SECONDS):
                    return self.sessions.estimate(request)
            case _:
                with _one_of(self._jobs):
                    return self._of_a_session(request)

    def _of_a_session(self, request: Submit | Cancel | Close | Look | Recall | Claim | Log) -> str:
        match request:
            case Submit():
                self._refuse_outcast(request.user)
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

    def _ask_slurm(self, question: Question, jobs: Collection[str]) -> str:
        if self.ask_slurm is None:
            raise Refused("not_allowed", "The hub on this host asks Slurm itself.")
        with _one_of(self._questions, _QUESTION_WAIT_SECONDS):
            return json.dumps(asdict(self.ask_slurm(question, jobs)))

    def _identify(self, request: Identity) -> str:
        site = self.site_file.read()
        if not isinstance(site.login, OidcLogin):
            raise Refused("not_allowed", "This site logs in with passwords.")
        name = self._identities.account(site.login, request.token.get_secret_value())
        try:
            account = find_account(name)
        except WrongPassword:
            raise NotAllowed(f"There is no account {name} on the cluster. Ask its support to add you.") from None
        # PAM has checked no password here, and so not said either whether the account may be used.
        found = self.watch.look([account.name])[account.name]
        if found.verdict == "refused":
            raise NotAllowed(found.sentence)
        if found.verdict == "unknown":
            raise Refused("busy", NO_DIRECTORY)
        return self._let_in(account)

    def _try_login(self, request: Login) -> str:
        if seconds := self._attempts.wait(request.user, request.address):
            sentence = f"Too many wrong passwords for this account. Try again in {seconds} seconds."
            raise Refused("too_many", sentence)
        try:
            name = self._login(request)
        except WrongPassword:
            self._attempts.wrong(request.user, request.address)
            raise
        self._attempts.right(request.user, request.address)
        return name

    def _login(self, request: Login) -> str:
        login = self.site_file.read().login
        if isinstance(login, OidcLogin):
            raise Refused("not_allowed", f"This site logs in by {login.title}.")
        account = find_account(request.user)
        check_password(account, request.password.get_secret_value(), self.pam_service)
        return self._let_in(account)

    def _let_in(self, account: Account) -> str:
        # Only now: whoever has not proved who they are learns nothing about groups and bans.
        check_membership(account, self.site_file.read().group)
        if ban := self.outcasts.ban_of(account.name):
            raise NotAllowed(ban.sentence)
        self.watch.forget(account.name)
        self.tickets.give(account.name, account.uid)
        return account.name

    def _refuse_outcast(self, user: str) -> None:
        if outcast := self.watch.refusal_of(user):
            raise NotAllowed(outcast.sentence)

    def _order(self, request: Ban | Unban | Revoke) -> str:
        match request:
            case Ban():
                self.outcasts.ban(request.user, request.reason)
            case Unban():
                if not self.outcasts.unban(request.user):
                    raise Refused("unknown_user", f"{request.user} is not banned.")
                return ""
            case Revoke():
                self.outcasts.revoke(request.user)
        self.tickets.drop(request.user)
        return ""

    def _holds_ticket(self, user: str) -> bool:
        try:
            return self.tickets.holds(user, find_account(user).uid)
        except WrongPassword:
            # No such account; or a directory that is silent, and that is no reason to throw anybody out.
            return self.tickets.holds(user, None)


def _line(request: Request, reply: Reply, caller: Caller, tickets: Tickets) -> dict[str, object]:
    """Return what the audit trail says of a request: named one by one, so that no secret slips in with a new field."""
    names = ("verb", "user", "address", "server", "profile", "session_key", "reason")
    line: dict[str, object] = {name: getattr(request, name) for name in names if hasattr(request, name)}
    if isinstance(request, Identity) and isinstance(reply, Answer):
        line["user"] = reply.value
    line |= {"caller": caller, "login": tickets.login_of(str(line["user"])) if "user" in line else ""}
    if isinstance(reply, Refusal):
        return line | {"answer": reply.kind, "why": reply.sentence}
    return line | {"answer": "done", "job": reply.value if isinstance(request, Submit) else ""}


@contextmanager
def _one_of(places: threading.Semaphore, seconds: float = _WAIT_SECONDS) -> Iterator[None]:
    if not places.acquire(timeout=seconds):
        raise Refused("busy", "Too many people are doing this right now. Try again in a minute.")
    try:
        yield
    finally:
        places.release()
