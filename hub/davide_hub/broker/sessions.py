"""What the broker does with sessions: start one once, end it for good, tell what became of it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from davide_hub.broker import owner
from davide_hub.broker.accounts import NO_DIRECTORY, Account, WrongPassword, check_membership, find_account
from davide_hub.broker.as_user import session_log
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Entry, Ledger
from davide_hub.broker.locks import Locks
from davide_hub.broker.mark import Marker
from davide_hub.broker.owner import HomeSilent, OwnersJob, SecretsGone, SlurmRefused, SlurmSilent, UserUnknown
from davide_hub.broker.protocol import Cancel, Claim, Close, Estimate, Log, Look, Recall, RefusalKind, Submit
from davide_hub.facts import Site
from davide_hub.plan import Wishes, settle
from davide_hub.render import render_session
from davide_hub.states import GONE, Phase, phase_of

_log = logging.getLogger("davide-broker")

# An order that its sender gave up may still lie in a controller's queue. This long after it, absence counts.
_LATE_SECONDS = 60

_LOG_IN_AGAIN = "Your log-in is more than 24 hours old. Log out and in again, then start the session."
_OVER = "This session has ended, and its user's log-in is more than 24 hours old: log in again to see it."
_SILENT = "Slurm does not answer at the moment. Try again in a few minutes."
_NO_HOME = "The home folder can't be read at the moment. Try again in a few minutes."


class Refused(Exception):  # noqa: N818 - it is what it says
    """The broker says no; the sentence is for the user's eyes."""

    def __init__(self, kind: RefusalKind, sentence: str) -> None:
        self.kind, self.sentence = kind, sentence
        super().__init__(sentence)


@dataclass
class SessionKeeper:
    """The life of sessions, as far as it needs root.

    Parameters
    ----------
    site
        Returns the site's facts as they are now.
    templates
        The folder with session.sbatch.j2.
    tickets, ledger, marker
        Who is logged in, which sessions there are, how their jobs are known.
    clock
        Seconds since 1970.
    """

    site: Callable[[], Site]
    templates: Path
    tickets: Tickets
    ledger: Ledger
    marker: Marker
    clock: Callable[[], float] = time.time
    _locks: Locks = field(default_factory=Locks, init=False)

    def submit(self, request: Submit) -> str:
        """Return the number of the session's job; there is one, however often this is asked."""
        with self._locks.of(request.session_key):
            entry = self.ledger.find(request.session_key)
            if entry is None:
                return self._submit_first(request)
            self._own(entry, request.user)
            if entry.state == "submitted":
                return entry.job
            if entry.state != "intended":
                raise Refused("ended", "This session was ended already. Start a new one.")
            return self._submit_again(request, entry)

    def _submit_first(self, request: Submit) -> str:
        account, order = self._order(request)
        token = request.environment.get("JUPYTERHUB_API_TOKEN", "")
        entry = self.ledger.intend(
            Entry(
                request.session_key,
                account.name,
                account.uid,
                account.gid,
                str(account.home),
                request.server,
                request.profile,
                "intended",
                token_digest=hashlib.sha256(token.encode()).hexdigest(),
            )
        )
        return self._run_sbatch(account, order, entry)

    def _submit_again(self, request: Submit, entry: Entry) -> str:
        """Find out what became of the first try; only where Slurm shows no job is there a second one."""
        account, order = self._order(request)
        if found := self._the_one(entry, account):
            return self.ledger.submitted(entry, found.number).job
        return self._run_sbatch(account, order, self.ledger.intend(entry))

    def _run_sbatch(self, account: Account, order: dict[str, Any], entry: Entry) -> str:
        try:
            number = owner.submit(account, order)
        except SlurmSilent as silence:
            raise Refused("busy", _SILENT) from silence
        except SlurmRefused as refusal:
            # No secrets without a session; and should Slurm have taken it all the same, that job ends at once.
            self.ledger.closing(entry)
            owner.discard(account, entry.key)
            raise Refused(refusal.kind, str(refusal)) from refusal
        return self.ledger.submitted(entry, number).job

    def estimate(self, request: Estimate) -> str:
        """Return as JSON when Slurm would start such a session, in seconds since 1970. Nothing is submitted."""
        account = self._starter(request)
        # Where no session is: nothing of this script ever runs.
        script = self._script(request, account, "estimate", Path("/dev/null"))
        try:
            return json.dumps({"start": owner.estimate(account, script)})
        except SlurmSilent as silence:
            raise Refused("busy", _SILENT) from silence
        except SlurmRefused as refusal:
            raise Refused("slurm", str(refusal)) from refusal

    def _order(self, request: Submit) -> tuple[Account, dict[str, Any]]:
        """Return whose job it is to be and what to run; refuse who may not start one."""
        account = self._starter(request)
        order = {
            "session_key": request.session_key,
            # The profile, for a hub that has lost everything but the job.
            "environment": {**request.environment, "DAVIDE_PROFILE": request.profile},
            "script": self._script(request, account, request.session_key, session_log(account, request.session_key)),
            "mark": self.marker.mark(request.session_key, account.uid),
        }
        return account, order

    def _starter(self, request: Submit | Estimate) -> Account:
        """Return the account of somebody who may start sessions; refuse others."""
        try:
            account = find_account(request.user)
        except WrongPassword:
            # Whoever holds a ticket had an account when they logged in: so it is the directory that fails.
            if self.tickets.holds(request.user, None):
                raise Refused("busy", NO_DIRECTORY) from None
            raise
        if not self.tickets.holds(account.name, account.uid):
            raise Refused("no_ticket", _LOG_IN_AGAIN)
        check_membership(account, self.site().group)
        return account

    def _script(self, request: Submit | Estimate, account: Account, key: str, log_path: Path) -> str:
        """Return the script of what was asked for, bounded by the site's facts."""
        site = self.site()
        asked = Wishes(request.profile, request.gpus, request.hours, request.account, request.qos, request.reservation)
        return render_session(
            site,
            settle(site, asked, date.today()),
            user=account.name,
            session_key=key,
            log_path=log_path,
            templates=self.templates,
        )

    def cancel(self, request: Cancel) -> str:
        """End a session; return "gone" once no job is left and none can come, else "asked" or "waiting".

        No ticket needed for what the broker itself began: ending that harms nobody, and must work after a day too.
        """
        with self._locks.of(request.session_key):
            if self.ledger.find(request.session_key) is None:
                self._refuse_from_now_on(request)
                return "gone"
            entry = self._entry(request.session_key, request.user)
            if entry.state == "closed":
                return "gone"
            account = _account(entry)
            try:
                entry = self.ledger.closing(entry)
            except OSError as error:
                _log.error("the ledger can't be written, and session %s is ended all the same: %s", entry.key, error)
            owner.discard(account, entry.key)
            alive = [job for job in self._jobs_of(entry, account) if job.alive]
            if alive:
                self._scancel(account, [job.number for job in alive])
                return "asked"
            if (not entry.job or entry.doubtful) and not self._too_late_for_more(entry):
                return "waiting"
            self.ledger.closed(entry)
            return "gone"

    def _refuse_from_now_on(self, request: Cancel) -> None:
        """Close a session that was not heard of yet: what a hub that has died since sent may be read later."""
        who = find_account(request.user)
        if not self.tickets.holds(who.name, who.uid):
            raise Refused("no_ticket", f"{request.user} has no session {request.session_key}, and no valid log-in.")
        key = request.session_key
        self.ledger.closed(Entry(key, who.name, who.uid, who.gid, str(who.home), "", "", "closed"))

    def _scancel(self, account: Account, numbers: list[str]) -> None:
        try:
            owner.cancel(account, numbers)
        except SlurmSilent as silence:
            raise Refused("busy", _SILENT) from silence
        except SlurmRefused as refusal:
            raise Refused("slurm", str(refusal)) from refusal

    def close(self, request: Close) -> str:
        """Note the end of a session whose job the hub has seen end; return "gone", or "waiting" if that is not all."""
        with self._locks.of(request.session_key):
            entry = self._entry(request.session_key, request.user)
            if entry.state == "closed":
                return "gone"
            owner.discard(_account(entry), entry.key)
            # Another job may be there, or come: that is for `cancel`, which asks Slurm.
            if not entry.job or entry.doubtful:
                self.ledger.closing(entry)
                return "waiting"
            self.ledger.closed(entry)
            return "gone"

    def look(self, request: Look) -> str:
        """Return as JSON what Slurm tells the owner about a session's job: its last state, or that it is gone."""
        with self._locks.of(request.session_key):
            return self._look(self._within_reach(request.session_key, request.user))

    def _look(self, entry: Entry) -> str:
        account = _account(entry)
        job = self._the_one(entry, account) or (owner.record(account, entry.job) if entry.job else None)
        if job is not None and job.state == "CANCELLED" and job.cancelled_by is None:
            # By whom, only accounting says.
            told = owner.record(account, job.number)
            job = told if told is not None and phase_of(told.state) is Phase.ENDED else job
        if job is None:
            job = OwnersJob(entry.job, GONE, "", "", account.uid)
        elif not job.submitted and phase_of(job.state) is not Phase.ENDED:
            # From accounting, and still alive there: one of the two is wrong.
            raise Refused("busy", _SILENT)
        shown = {name: getattr(job, name) for name in ("number", "state", "node", "reason", "uid", "cancelled_by")}
        return json.dumps(shown)

    def _the_one(self, entry: Entry, account: Account) -> OwnersJob | None:
        """Return the job of a session, and note its number. If an order reached Slurm twice, the other job is ended."""
        found = sorted(self._jobs_of(entry, account), key=_rank)
        others = [job.number for job in found[1:] if job.alive]
        if others:
            self._scancel(account, others)
        if found and entry.state in ("intended", "submitted") and entry.job != found[0].number:
            entry = self.ledger.submitted(entry, found[0].number)
        if entry.doubtful and entry.state == "submitted" and self._too_late_for_more(entry):
            self.ledger.certain(entry)
        return found[0] if found else None

    def _too_late_for_more(self, entry: Entry) -> bool:
        return self.clock() - entry.tried >= _LATE_SECONDS

    def open(self) -> str:
        """Return as JSON this hub's name and all sessions that may still have a job."""
        rows = [
            {name: getattr(one, name) for name in ("key", "user", "server", "state", "job", "doubtful")}
            for one in self.ledger.open()
        ]
        return json.dumps({"hub": self.marker.hub, "sessions": rows})

    def recall(self, request: Recall) -> str:
        """Return as JSON what a session was started with; refuse what is not what the broker handed out."""
        entry = self._entry(request.session_key, request.user)
        if entry.state in ("closing", "closed"):
            raise Refused("ended", "This session was ended already.")
        try:
            kept = _recalled(_account(entry), entry.key)
        except SecretsGone:
            raise Refused("gone", "The session's secrets are gone, so it can't be taken up again.") from None
        if not kept.token or hashlib.sha256(kept.token.encode()).hexdigest() != entry.token_digest:
            raise Refused("not_allowed", "The session's secrets were changed, so it can't be taken up again.")
        return json.dumps({"token": kept.token, "profile": entry.profile, "port": kept.port})

    def claim(self, request: Claim) -> str:
        """Write a job that carries our mark into the ledger, from what Slurm and the session's folder say.

        A session that was closed stays so: where it has a job all the same, that is ended. One whose secrets are gone
        is written down too, and can't be recalled: so the hub ends it.
        """
        with self._locks.of(request.session_key):
            account = find_account(request.user)
            if known := self.ledger.find(request.session_key):
                self._own(known, request.user)
                if known.state == "closed":
                    self._end_what_came_back(known, account)
                return known.server
            marks = {job.number: self.marker.session_of(job.comment, job.uid) for job in self._owners_jobs(account)}
            if marks.get(request.job) != request.session_key:
                raise Refused("unknown_session", f"Job {request.job} does not carry the mark of that session.")
            try:
                kept = _recalled(account, request.session_key)
            except SecretsGone:
                kept = _Kept()
            entry = Entry(
                request.session_key,
                account.name,
                account.uid,
                account.gid,
                str(account.home),
                kept.server,
                kept.profile,
                "submitted",
                token_digest=hashlib.sha256(kept.token.encode()).hexdigest(),
            )
            return self.ledger.submitted(entry, request.job).server

    def _end_what_came_back(self, entry: Entry, account: Account) -> None:
        """End the job of a closed session that Slurm shows as alive again.

        A controller that is killed has forgotten what it did not save, up to five seconds of it, and takes a job that
        ended meanwhile for a running one, for hours: its GPU stays taken.
        """
        alive = [job.number for job in self._jobs_of(entry, account) if job.alive]
        if alive:
            _log.warning("job %s of closed session %s is alive again for Slurm: ending it", alive[0], entry.key)
            self.ledger.reopened(entry)
            self._scancel(account, alive)

    def log(self, request: Log) -> str:
        """Return the last lines of a session's log, or nothing."""
        entry = self._within_reach(request.session_key, request.user)
        return owner.log_end(_account(entry), entry.key)

    def _jobs_of(self, entry: Entry, account: Account) -> list[OwnersJob]:
        """Return the jobs of a session: those with its mark, and the one whose number the broker wrote down.

        The owner can change a job's comment. The number then still counts, unless the job carries the mark of
        another session or Slurm took it before this session was: then the number is used again.
        """
        return [job for job in self._owners_jobs(account, entry.job) if self._belongs(job, entry)]

    def _owners_jobs(self, account: Account, known: str = "") -> list[OwnersJob]:
        """Return a user's jobs; of somebody who was removed from the directory, only the one whose number is known."""
        try:
            try:
                return owner.jobs(account)
            except UserUnknown:
                if not known:
                    raise
                return owner.one_job(account, known)
        except SlurmSilent as silence:
            raise Refused("busy", _SILENT) from silence

    def _belongs(self, job: OwnersJob, entry: Entry) -> bool:
        named = self.marker.session_of(job.comment, entry.uid)
        if named is not None:
            return named == entry.key
        return bool(entry.job) and job.number == entry.job and _taken_about(job, entry.tried)

    def _entry(self, key: str, user: str) -> Entry:
        entry = self.ledger.find(key)
        if entry is None:
            raise Refused("unknown_session", f"{user} has no session {key}.")
        self._own(entry, user)
        return entry

    def _within_reach(self, key: str, user: str) -> Entry:
        """Return the entry of a session that may have a job, or whose user is logged in: of others nothing is told."""
        entry = self._entry(key, user)
        if entry.state == "closed" and not self.tickets.holds(user, entry.uid):
            raise Refused("ended", _OVER)
        return entry

    @staticmethod
    def _own(entry: Entry, user: str) -> None:
        # The uid too: a name may have been given to somebody else since.
        if entry.user != user or _account(entry).uid != entry.uid:
            raise Refused("unknown_session", f"{user} has no session {entry.key}.")


def _account(entry: Entry) -> Account:
    """Return a session's owner as the directory has it now, or as it had it when the session was submitted."""
    try:
        return find_account(entry.user)
    except WrongPassword:
        return Account(entry.user, entry.uid, entry.gid, Path(entry.home), "/bin/sh")


@dataclass(frozen=True)
class _Kept:
    """What lies in a session's folder, in its user's home. The user may have changed it."""

    token: str = ""
    server: str = ""
    profile: str = ""
    port: int = 0


def _recalled(account: Account, key: str) -> _Kept:
    """Return what lies in a session's folder; raises `SecretsGone`. A home that says nothing proves nothing."""
    try:
        return _kept(owner.recall(account, key))
    except HomeSilent as silence:
        raise Refused("busy", _NO_HOME) from silence


def _kept(text: str) -> _Kept:
    try:
        environment, listening = (json.loads(line or "{}") for line in (text + "\n\n").split("\n")[:2])
        token, server = environment["JUPYTERHUB_API_TOKEN"], environment.get("JUPYTERHUB_SERVER_NAME", "")
        profile, port = environment.get("DAVIDE_PROFILE", ""), listening.get("port", 0)
        # JSON has halves of characters, too, which nobody can send on.
        longest = max(len(one.encode()) for one in (token, server, profile))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _Kept()
    if longest > 1024 or type(port) is not int or not 0 <= port < 65536:
        return _Kept()
    return _Kept(token, server, profile, port)


def _rank(job: OwnersJob) -> tuple[bool, bool, int]:
    """Return what sorts a session's jobs: running before waiting before ended."""
    return not job.alive, phase_of(job.state) is not Phase.RUNNING, int(job.number)


def _taken_about(job: OwnersJob, tried: float) -> bool:
    """Return whether Slurm took a job when sbatch was run for a session, with five minutes for clocks that differ."""
    if not tried:
        return True
    try:
        taken = time.mktime(time.strptime(job.submitted, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return False
    return abs(taken - tried) < 300
