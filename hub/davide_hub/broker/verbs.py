"""What the broker does for each verb, and what it refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from davide_hub.broker import in_user
from davide_hub.broker.accounts import (
    CannotTell,
    NotAllowed,
    WrongPassword,
    check_membership,
    check_password,
    find_account,
)
from davide_hub.broker.as_user import Outcome, TookTooLong, run_as_user, session_log
from davide_hub.broker.keep import Sessions, Tickets
from davide_hub.broker.protocol import (
    Answer,
    Cancel,
    Log,
    Login,
    Refusal,
    RefusalKind,
    Reply,
    Request,
    Submit,
    Ticket,
)
from davide_hub.facts import FactsError, Site, load_site
from davide_hub.profiles import UnknownProfile, find_profile
from davide_hub.render import RenderError, render_session

# A frozen controller answers sbatch after 18-20 s; beyond this nobody waits.
_SLURM_SECONDS = 40
_HOME_SECONDS = 10
# Beyond this many at once a queue forms: each is a process, and starting Python costs 30 ms of a core.
_AT_ONCE = 16
_WAIT_SECONDS = 60

# What scancel says of a job that has ended, or that Slurm has forgotten since: what was asked for.
_ENDED_ALREADY = ("already completing or completed", "Invalid job id specified")

_LOG_IN_AGAIN = "Your log-in is more than 24 hours old. Log out and in again, then start the session."


class _Refused(Exception):  # noqa: N818 - it is what it says
    def __init__(self, kind: RefusalKind, sentence: str) -> None:
        self.kind, self.sentence = kind, sentence
        super().__init__(sentence)


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
    templates: Path
    tickets: Tickets
    sessions: Sessions
    pam_service: str
    # Log-ins and jobs queue apart: wrong passwords, which PAM delays, must not hold up the others' sessions.
    _logins: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE), init=False)
    _jobs: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE), init=False)

    def answer(self, request: Request) -> Reply:
        """Return the answer, or the refusal with its sentence; what others do wrong raises nothing."""
        try:
            return Answer(value=self._do(request))
        except _Refused as refusal:
            return Refusal(kind=refusal.kind, sentence=refusal.sentence)
        except WrongPassword:
            return Refusal(kind="wrong_password", sentence="Wrong user name or password.")
        except NotAllowed as refusal:
            return Refusal(kind="not_allowed", sentence=str(refusal))
        except UnknownProfile as error:
            return Refusal(kind="unknown_profile", sentence=f"There is {error}.")
        except TookTooLong:
            return Refusal(kind="busy", sentence="Slurm does not answer. Try again in a few minutes.")
        except (CannotTell, FactsError, RenderError) as error:
            return Refusal(kind="failed", sentence=f"The cluster's administrators must mend this: {error}.")

    def _do(self, request: Request) -> str:
        match request:
            case Login():
                with _one_of(self._logins):
                    return self._login(request)
            case Ticket():
                return "yes" if self._holds_ticket(request.user) else "no"
            case Submit():
                with _one_of(self._jobs):
                    return self._submit(request)
            case Cancel():
                with _one_of(self._jobs):
                    return self._cancel(request)
            case Log():
                return self._log(request)

    def _login(self, request: Login) -> str:
        account = find_account(request.user)
        check_password(account, request.password.get_secret_value(), self.pam_service)
        # Only now: whoever does not know the password learns nothing about groups.
        check_membership(account, self.site_file.read().group)
        self.tickets.give(account.name, account.uid)
        return account.name

    def _holds_ticket(self, user: str) -> bool:
        return self.tickets.holds(user, find_account(user).uid)

    def _submit(self, request: Submit) -> str:
        if known := self.sessions.job_of(request.session_key, request.user):
            return known
        account = find_account(request.user)
        if not self.tickets.holds(account.name, account.uid):
            raise _Refused("no_ticket", _LOG_IN_AGAIN)
        site = self.site_file.read()
        check_membership(account, site.group)
        script = render_session(
            site,
            find_profile(site.profiles, request.profile),
            user=account.name,
            account=site.slurm.account,
            session_key=request.session_key,
            log_path=session_log(account, request.session_key),
            templates=self.templates,
        )
        order = {
            "verb": "submit",
            "session_key": request.session_key,
            "environment": request.environment,
            "script": script,
        }
        try:
            job_id = _job_id(run_as_user(account, order, _SLURM_SECONDS))
        except (_Refused, TookTooLong):
            # No secrets without a session. And should a killed sbatch have submitted after all, that job ends at once.
            discard = {"verb": "discard", "session_key": request.session_key}
            run_as_user(account, discard, _HOME_SECONDS)
            raise
        self.sessions.remember(request.session_key, account.name, job_id)
        return job_id

    def _cancel(self, request: Cancel) -> str:
        # No ticket needed: ending what the broker itself began harms nobody, and must work after a day too.
        job_id = self._job_of(request)
        order = {"verb": "cancel", "session_key": request.session_key, "job_id": job_id}
        outcome = run_as_user(find_account(request.user), order, _SLURM_SECONDS)
        if outcome.code != 0 and not any(words in outcome.err for words in _ENDED_ALREADY):
            raise _Refused("slurm", _slurms_words(outcome))
        return job_id

    def _log(self, request: Log) -> str:
        self._job_of(request)
        order = {"verb": "log", "session_key": request.session_key}
        outcome = run_as_user(find_account(request.user), order, _HOME_SECONDS)
        return outcome.out if outcome.code == 0 else ""

    def _job_of(self, request: Cancel | Log) -> str:
        job_id = self.sessions.job_of(request.session_key, request.user)
        if job_id is None:
            raise _Refused("unknown_session", f"{request.user} has no session {request.session_key}.")
        return job_id


@contextmanager
def _one_of(places: threading.Semaphore) -> Iterator[None]:
    if not places.acquire(timeout=_WAIT_SECONDS):
        raise _Refused("busy", "Too many people are doing this right now. Try again in a minute.")
    try:
        yield
    finally:
        places.release()


def _job_id(outcome: Outcome) -> str:
    # --parsable prints "1234", or "1234;cluster" in a federation.
    job_id = outcome.out.strip().split(";")[0]
    if outcome.code == 0 and job_id.isascii() and job_id.isdigit():
        return job_id
    raise _Refused("slurm", _slurms_words(outcome))


def _slurms_words(outcome: Outcome) -> str:
    """Return what Slurm's command said, without its name before every line, on one line."""
    if outcome.code == in_user.CANNOT_WRITE:
        return f"Your home folder could not be used: {outcome.err.strip()}. Is your quota used up?"
    lines = (line.split("error: ", 1)[-1].strip() for line in outcome.err.splitlines())
    said = " · ".join(line for line in lines if line)[:600]
    return said or f"Slurm's command ended with code {outcome.code} and no words."
