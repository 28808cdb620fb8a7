"""What the hub may ask the broker, and what it hears: one JSON line each way, over a unix socket or TLS."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from davide_hub import questions

# A submission carries about 3 kB of environment; nothing legitimate comes near this.
MAX_LINE = 64 * 1024
# So many numbers fit into a line.
MAX_JOBS = 4000

_T = TypeVar("_T")

UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_.-]{0,31}\z")]
SessionKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}\z")]
# What JupyterHub calls a user's server; empty is the default one. It goes into files of the broker only.
ServerName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029/]{0,64}\z")]
JobNumber = Annotated[str, Field(pattern=r"^[0-9]{1,10}\z")]
ProfileName = Annotated[str, Field(min_length=1, max_length=64)]
# The hub's own variables only: PATH, LD_PRELOAD or PYTHONPATH would be a taken hub's code in the user's job.
Variable = Annotated[str, Field(pattern=r"^JUPYTERHUB_[A-Z_]{1,60}\z")]
# Where a browser is, as the hub has it; for the audit trail.
_SLURM_NAME = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?\z"
# Left out, or null: as the site's facts have it. An empty QOS or reservation is none.
SlurmName = Annotated[str, Field(pattern=_SLURM_NAME)] | None
Gpus = Annotated[int, Field(ge=0, le=64)] | None
Hours = Annotated[int, Field(ge=1, le=720)] | None
Address = Annotated[str, Field(pattern=r"^[0-9A-Fa-f:.]{0,45}\z")]
Reason = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,200}\z")]
Value = Annotated[str, Field(max_length=8192, pattern=r"^[^\x00]*\z")]

RefusalKind = Literal[
    "wrong_password",  # the log-in failed; whether the account exists is not said
    "too_many",  # wrong passwords for this account: none is tried for a while
    "not_allowed",  # the account is real, and may not use this service
    "no_ticket",  # the user's last log-in is too long ago
    "unknown_user",  # root names somebody of whom there is nothing to lift
    "unknown_session",  # no such session of this user
    "ended",  # the session was ended before: its key starts nothing any more
    "gone",  # the session's folder was read, and its secrets are not there: it can't be taken up
    "unknown_profile",
    "bad_choice",  # out of the profile's bounds, or locked by the course
    "home",  # the user's home took no file of the session
    "slurm",  # Slurm said no: the sentence is Slurm's own
    "silent",  # what the hub asks Slurm about everybody's jobs: no answer, or not all of it
    "busy",  # not now, or Slurm or the home is silent and what is or happened is not known: ask again with the same key
    "bad_request",
    "failed",  # the broker itself could not
]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Login(_Message):
    """Check a password, and give its owner a ticket."""

    verb: Literal["login"] = "login"
    user: UserName
    password: Annotated[SecretStr, Field(min_length=1, max_length=1024)]
    address: Address = ""


class Identity(_Message):
    """Check an ID token of OpenID Connect, and give its owner a ticket."""

    verb: Literal["identity"] = "identity"
    token: Annotated[SecretStr, Field(min_length=1, max_length=16384)]
    address: Address = ""


class Ticket(_Message):
    """Does this user hold a ticket?"""

    verb: Literal["ticket"] = "ticket"
    user: UserName


class _Wishes(_Message):
    """What a session is to be like; see `davide_hub.plan.Wishes`. The broker bounds it by the site's facts."""

    user: UserName
    profile: ProfileName
    gpus: Gpus = None
    hours: Hours = None
    account: SlurmName = None
    qos: SlurmName = None
    reservation: SlurmName = None


class Submit(_Wishes):
    """Start a session. Asking again with one key is asking once: there is never a second job of a session."""

    verb: Literal["submit"] = "submit"
    server: ServerName
    session_key: SessionKey
    environment: Annotated[dict[Variable, Value], Field(max_length=40)]


class Estimate(_Wishes):
    """When would Slurm start such a session, were it submitted now? Nothing is submitted."""

    verb: Literal["estimate"] = "estimate"


class Cancel(_Message):
    """End a session: no secrets, no job, and none that turns up late. Asked again until the answer is "gone"."""

    verb: Literal["cancel"] = "cancel"
    user: UserName
    session_key: SessionKey


class Close(_Message):
    """Note that a session's job has ended, as Slurm's list says. Asks Slurm nothing."""

    verb: Literal["close"] = "close"
    user: UserName
    session_key: SessionKey


class Look(_Message):
    """Ask Slurm as the owner what became of a session's job."""

    verb: Literal["look"] = "look"
    user: UserName
    session_key: SessionKey


class Sessions(_Message):
    """Which sessions may still have a job?"""

    verb: Literal["sessions"] = "sessions"


class Recall(_Message):
    """Take up a session that the hub has forgotten: return what it was started with."""

    verb: Literal["recall"] = "recall"
    user: UserName
    session_key: SessionKey


class Claim(_Message):
    """Take up a job that carries our mark, and that even the ledger has forgotten."""

    verb: Literal["claim"] = "claim"
    user: UserName
    session_key: SessionKey
    job: JobNumber


class Log(_Message):
    """Read the end of a session's log."""

    verb: Literal["log"] = "log"
    user: UserName
    session_key: SessionKey


class Refusals(_Message):
    """Whom is the hub to turn out?"""

    verb: Literal["refusals"] = "refusals"


class Done(_Message):
    """The hub has carried out a revocation: no token, no session from before it is left."""

    verb: Literal["done"] = "done"
    user: UserName
    since: float


class AboutJobs(_Message):
    """From a hub on another host: what does Slurm say of these jobs to everybody?"""

    verb: Literal["about_jobs"] = "about_jobs"
    question: questions.AboutJobs
    jobs: Annotated[tuple[JobNumber, ...], Field(min_length=1, max_length=MAX_JOBS)]


class AboutSlurm(_Message):
    """From a hub on another host: which jobs carry a mark, which Slurm is it?"""

    verb: Literal["about_slurm"] = "about_slurm"
    question: questions.AboutSlurm


class Ban(_Message):
    """Root's: let a user in no more."""

    verb: Literal["ban"] = "ban"
    user: UserName
    reason: Reason = ""


class Unban(_Message):
    """Root's: let a user in again."""

    verb: Literal["unban"] = "unban"
    user: UserName


class Revoke(_Message):
    """Root's: void tickets, tokens and sessions that a user has up to now."""

    verb: Literal["revoke"] = "revoke"
    user: UserName


# Not even the hub may ask for these.
ROOTS_OWN = (Ban, Unban, Revoke)

Request = (
    Login
    | Identity
    | Ticket
    | Submit
    | Estimate
    | Cancel
    | Close
    | Look
    | Sessions
    | Recall
    | Claim
    | Log
    | Refusals
    | Done
    | AboutJobs
    | AboutSlurm
    | Ban
    | Unban
    | Revoke
)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="verb")])


class Answer(_Message):
    """The broker did it."""

    ok: Literal[True] = True
    value: str = ""


class Refusal(_Message):
    """The broker did not. The sentence is for the user's eyes."""

    ok: Literal[False] = False
    kind: RefusalKind
    sentence: str


Reply = Answer | Refusal
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


class BadMessage(Exception):  # noqa: N818 - it is what it says
    """A line is not a message of this protocol. The text names the fields at fault, never their values."""


def encode_request(request: Request) -> bytes:
    """Return a request as its line."""
    data = request.model_dump()
    if isinstance(request, Login):
        data["password"] = request.password.get_secret_value()
    if isinstance(request, Identity):
        data["token"] = request.token.get_secret_value()
    return _line(data)


def encode_reply(reply: Reply) -> bytes:
    """Return a reply as its line."""
    return _line(reply.model_dump())


def decode_request(line: bytes) -> Request:
    """Return the request in a line.

    Raises
    ------
    BadMessage
        If it is none, in any way: too long, not JSON, an unknown verb or field, a value out of bounds.
    """
    if len(line) > MAX_LINE:
        raise BadMessage(f"longer than {MAX_LINE} bytes")
    return _decode(_REQUEST, line)


def decode_reply(line: bytes) -> Reply:
    """Return the reply in a line; raises `BadMessage` if it is none."""
    return _decode(_REPLY, line)


def _line(data: dict[str, Any]) -> bytes:
    return TypeAdapter(dict[str, Any]).dump_json(data) + b"\n"


def _decode(adapter: TypeAdapter[_T], line: bytes) -> _T:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        # Only places and types: the values may be a password.
        faults = {f"{'.'.join(map(str, e['loc']))[:80]!a}: {e['type']}" for e in error.errors(include_input=False)}
        raise BadMessage("; ".join(sorted(faults)[:5])) from None
