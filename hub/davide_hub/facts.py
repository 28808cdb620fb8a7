"""The site's facts: what site.yml may say, as types.

`reading.py` turns a file into plain data, `sentences.py` turns a refusal into words; here stands only what is
true of a site. To add a fact, add a field: its meaning and an example are part of its type, and the messages
use them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from davide_hub.reading import FactsError, Key, read_plain_yaml
from davide_hub.sentences import Finding, explain, sentence

__all__ = [
    "Audit",
    "Course",
    "FactsError",
    "Hub",
    "OidcLogin",
    "PamLogin",
    "Partition",
    "Paths",
    "Profile",
    "SessionDefaults",
    "Site",
    "Slurm",
    "check_site",
    "load_site",
]

# Text that people read. It goes into pages and JSON, never into a script. No control characters, so that it
# can't forge a line of a log.
Text = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,300}\z",
        description="a line of text (a number, date, yes or no needs quotes)",
        examples=["One GPU"],
    ),
]
# Names that users see: kernels, profiles. Dashes, no underscores (see the house style).
Label = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}\z",
        description="a name of at most 32 small letters, digits and dashes",
        examples=["one-gpu"],
    ),
]
# Slurm's names end up in #SBATCH lines and in argv: no spaces, no leading dash, nothing that a shell reads.
SlurmName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\z",
        description="a name of at most 64 letters, digits, '_', '.' and '-'",
        examples=["dvd_usr_prod"],
    ),
]
AccountName = Annotated[
    str,
    Field(
        pattern=r"^[a-z_][a-z0-9_.-]{0,31}\z",
        description="the name of a Unix user or group",
        examples=["student01"],
    ),
]
HostName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\z",
        max_length=253,
        description="a host's name or address, in small letters",
        examples=["gpu01"],
    ),
]
Port = Annotated[int, Field(ge=1, le=65535, description="a port number from 1 to 65535", examples=[8000])]
AbsolutePath = Annotated[
    str,
    Field(
        pattern=r"^(/[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)+\z",
        max_length=200,
        description="an absolute path of plain letters, digits, '_', '.', '+' and '-'",
        examples=["/software/davide"],
    ),
]
FolderName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\z",
        description="the name of one folder, without '/'",
        examples=["davide-course"],
    ),
]
Url = Annotated[
    str,
    Field(
        pattern=r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?\z",
        description="an address of http:// or https://, a host and perhaps a port, with nothing after it",
        examples=["https://jupyter.example.org"],
    ),
]
WebAddress = Annotated[
    str,
    Field(
        pattern=r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9_.~+-]*)*\z",
        max_length=300,
        description="an address of https://, without '?' and '#'",
        examples=["https://login.example.org/authorize"],
    ),
]
LessonName = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{2}_[a-z0-9_]{1,60}\z",
        description="a lesson's file name without .py: two digits, '_', and a topic",
        examples=["01_undercomplete_autoencoder"],
    ),
]
Cores = Annotated[int, Field(ge=1, le=1024, description="a whole number of CPU cores", examples=[4])]
Gigabytes = Annotated[int, Field(ge=1, le=65536, description="a whole number of gigabytes", examples=[6])]
Gpus = Annotated[int, Field(ge=0, le=64, description="a whole number of GPUs (0 for none)", examples=[1])]
Hours = Annotated[int, Field(ge=1, le=720, description="a whole number of hours", examples=[2])]
Minutes = Annotated[int, Field(ge=1, le=120, description="a whole number of minutes", examples=[5])]


class _Fact(BaseModel):
    # strict: "6" is not 6 and yes is not "yes". What YAML made of a value must be what its writer meant.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# A YAML list arrives as a Python list, which strict mode would not take for a tuple; the entries stay strict.
_LIST = Field(strict=False, min_length=1)


class Hub(_Fact):
    """The host that runs the hub, and its ports."""

    host: HostName
    address: Annotated[
        HostName, Field(description="the hub's address, as compute nodes reach it", examples=["10.77.0.10"])
    ]
    port: Port
    api_port: Annotated[Port, Field(examples=[8081])]
    proxy_api_port: Annotated[Port, Field(examples=[8001])]


class Paths(_Fact):
    """Where things lie."""

    software: AbsolutePath


class Partition(_Fact):
    """A partition of Slurm; sizes are those of one node."""

    name: SlurmName
    nodes: Annotated[tuple[HostName, ...], _LIST]
    cores: Annotated[Cores, Field(examples=[16])]
    memory_gb: Annotated[Gigabytes, Field(examples=[24])]
    gpus: Annotated[Gpus, Field(examples=[4])]
    gpu_type: Annotated[SlurmName, Field(examples=["tesla"])] | None = None
    max_hours: Annotated[Hours, Field(examples=[8])]


class Slurm(_Fact):
    """The batch system."""

    cluster: SlurmName
    controller: HostName
    account: Annotated[SlurmName, Field(examples=["tra26_davide"])]
    partitions: Annotated[tuple[Partition, ...], _LIST]


class SessionDefaults(_Fact):
    """What holds for every session."""

    default_kernel: Annotated[Label, Field(examples=["tf-cpu"])]
    start_timeout_minutes: Minutes
    per_user: Annotated[
        int, Field(ge=1, le=20, description="how many sessions a user may have at a time", examples=[1])
    ]


class PamLogin(_Fact):
    """Log-in with the cluster's own passwords, as PAM checks them."""

    kind: Literal["pam"]


class OidcLogin(_Fact):
    """Log-in at a provider of OpenID Connect. The client's secret is no fact: it lies in a file of its own."""

    kind: Literal["oidc"]
    title: Annotated[Text, Field(examples=["University log-in"])]
    issuer: Annotated[WebAddress, Field(examples=["https://login.example.org/realms/hpc"])]
    authorize_url: WebAddress
    token_url: WebAddress
    keys: Annotated[
        str,
        Field(
            pattern=r"^(https?:/)?(/[A-Za-z0-9_.:+-]+)+\z",
            max_length=300,
            description="where the provider's public keys (JWKS) are: an address, or an absolute path of a file",
            examples=["https://login.example.org/realms/hpc/certs"],
        ),
    ]
    client_id: Annotated[SlurmName, Field(description="the hub's name at the provider", examples=["davide-hub"])]
    client_secret_file: Annotated[AbsolutePath, Field(examples=["/etc/davide-hub/oidc-client-secret"])]
    claim: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,99}\z",
            description="the claim that names the account",
            examples=["preferred_username"],
        ),
    ]
    domain: Annotated[HostName, Field(examples=["example.org"])] | None = None
    accounts_file: Annotated[AbsolutePath, Field(examples=["/etc/davide-hub/accounts.json"])] | None = None


# A field of the audit trail, as it stands there.
AuditField = Annotated[
    Literal["time", "verb", "user", "address", "login", "server", "profile", "session_key", "job", "answer", "why"],
    Field(description="a field of the audit trail", examples=["user"]),
]


class Audit(_Fact):
    """Who did what: how long it is kept, and what a teacher may see of it. Root sees all."""

    keep_days: Annotated[int, Field(ge=1, le=3650, description="a whole number of days", examples=[90])]
    teachers_see: Annotated[tuple[AuditField, ...], Field(strict=False)]


# Not the address: where somebody sits is none of a teacher's business unless the site says so.
_AUDIT = Audit(keep_days=90, teachers_see=("time", "verb", "user", "profile", "answer"))


class Course(_Fact):
    """What is taught."""

    title: Annotated[Text, Field(examples=["Deep learning with TensorFlow"])]
    folder: FolderName
    lessons: Annotated[tuple[LessonName, ...], _LIST]


class Profile(_Fact):
    """A row of the session menu. Users send its name; everything else is looked up here."""

    name: Label
    title: Text
    description: Annotated[Text, Field(examples=["A quarter of a node."])]
    partition: SlurmName
    gpus: Gpus
    cores: Cores
    memory_gb: Gigabytes
    hours: Hours


class Site(_Fact):
    """Everything that differs between sites."""

    name: Annotated[Text, Field(examples=["DAVIDE local cluster"])]
    public_url: Url
    group: Annotated[AccountName, Field(examples=["davide"])]
    admins: Annotated[tuple[AccountName, ...], _LIST]
    hub: Hub
    paths: Paths
    slurm: Slurm
    session: SessionDefaults
    login: Annotated[PamLogin | OidcLogin, Field(discriminator="kind")] = PamLogin(kind="pam")
    audit: Audit = _AUDIT
    kernels: Annotated[tuple[Annotated[Label, Field(examples=["tf-cpu"])], ...], _LIST]
    course: Course
    profiles: Annotated[tuple[Profile, ...], _LIST]


class _SiteFile(_Fact):
    """The file itself."""

    site: Site


def load_site(path: Path | str) -> Site:
    """Return the facts in a site.yml.

    Parameters
    ----------
    path
        A file with the one key `site`, as in ansible/inventory/local/group_vars/all/site.yml.

    Raises
    ------
    FactsError
        If the file can't be read, is not plain YAML, or does not hold together. Its text is one sentence per
        line, each with file, line, key, problem and fix.
    """
    document = read_plain_yaml(Path(path))
    try:
        site = _SiteFile.model_validate(document.data).site
    except ValidationError as error:
        raise FactsError(explain(error, document, _SiteFile.model_json_schema())) from None
    if contradictions := list(check_site(site)):
        raise FactsError([sentence(document, finding) for finding in contradictions])
    return site


def check_site(site: Site) -> Iterator[Finding]:
    """Yield what is wrong between facts that are each well-formed: where, and the problem with its fix."""
    yield from _repeated(("site", "kernels"), site.kernels)
    yield from _repeated(("site", "course", "lessons"), site.course.lessons)
    yield from _repeated(("site", "slurm", "partitions"), [p.name for p in site.slurm.partitions], "name")
    yield from _repeated(("site", "profiles"), [p.name for p in site.profiles], "name")
    for index, partition in enumerate(site.slurm.partitions):
        where = ("site", "slurm", "partitions", index, "nodes")
        yield from _repeated(where, partition.nodes)
        # In a route's name these stand for a dot (davide_hub.certificates).
        for place, node in enumerate(partition.nodes):
            if "--" in node:
                yield (*where, place), f"{node!r} has '--' in it; give the node a name without"
    yield from _shared_ports(site.hub)
    if isinstance(site.login, OidcLogin):
        yield from _unsafe(site.login)
    if site.session.default_kernel not in site.kernels:
        key = ("site", "session", "default_kernel")
        yield key, _not_among(site.session.default_kernel, "site.kernels", site.kernels)
    for index, profile in enumerate(site.profiles):
        yield from _misfits(("site", "profiles", index), profile, site.slurm.partitions)


def _repeated(where: Key, names: Sequence[str], field: str | None = None) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name in names[:index]:
            key = (*where, index) if field is None else (*where, index, field)
            yield key, f"{name!r} stands here for the second time; remove it or give it a name of its own"


def _shared_ports(hub: Hub) -> Iterator[Finding]:
    taken = {hub.port: "site.hub.port"}
    for field in ("api_port", "proxy_api_port"):
        port = getattr(hub, field)
        if port in taken:
            yield ("site", "hub", field), f"{port} is {taken[port]} already; choose another port"
        taken.setdefault(port, f"site.hub.{field}")


def _unsafe(login: OidcLogin) -> Iterator[Finding]:
    for field in ("issuer", "authorize_url", "token_url", "keys"):
        address = getattr(login, field)
        if address.startswith("http:") and not re.match(r"http://(127\.0\.0\.1|localhost)[:/]", address):
            yield ("site", "login", field), f"{address!r} can be read and changed on its way; write https://"


def _misfits(where: Key, profile: Profile, partitions: tuple[Partition, ...]) -> Iterator[Finding]:
    partition = next((p for p in partitions if p.name == profile.partition), None)
    if partition is None:
        names = [p.name for p in partitions]
        yield (*where, "partition"), _not_among(profile.partition, "site.slurm.partitions", names)
        return
    limits = {
        "gpus": (partition.gpus, "GPUs of a node"),
        "cores": (partition.cores, "cores of a node"),
        "memory_gb": (partition.memory_gb, "gigabytes of a node"),
        "hours": (partition.max_hours, "hours allowed"),
    }
    for field, (limit, what) in limits.items():
        wanted = getattr(profile, field)
        if wanted > limit:
            problem = f"{wanted} is more than the {limit} {what} in partition {partition.name}"
            yield (*where, field), f"{problem}; write at most {limit}"


def _not_among(name: str, home: str, names: Sequence[str]) -> str:
    return f"{name!r} is not in {home}; write one of {', '.join(names)}"
