"""The site's facts: what site.yml may say, as types.

`reading.py` turns a file into plain data, `sentences.py` turns a refusal into words; here stands only what is
true of a site. To add a fact, add a field: its meaning and an example are part of its type, and the messages
use them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from ipaddress import ip_interface
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from davide_hub.hostlist import host_names
from davide_hub.reading import FactsError, Key, read_plain_yaml
from davide_hub.sentences import Finding, explain, sentence

__all__ = [
    "Audit",
    "Broker",
    "Course",
    "Fact",
    "FactsError",
    "Hub",
    "KernelJob",
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
_HOST = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
# Far more than any cluster has; a slip in a range shall not fill the memory.
_MOST_NODES = 50_000
HostName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\z",
        max_length=253,
        description="a host's name or address, in small letters",
        examples=["gpu01"],
    ),
]
# Of a large cluster nobody writes every node: several may stand in one entry.
NodeNames = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9.-]*(\[[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*\])?[a-z0-9.-]*\z",
        min_length=1,
        max_length=253,
        description="a node's name, in small letters, or several as Slurm writes them, gpu[01-45]",
        examples=["gpu01"],
    ),
]
# It ends up in the rules of a firewall.
Network = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f.:]{2,45}(/[0-9]{1,3})?\z",
        description="an address or a network",
        examples=["10.77.0.0/24"],
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
        pattern=r"^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?\z",
        description="an address of https://, a host in small letters and perhaps a port, with nothing after it",
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
# In quotes: YAML would make something else of it, and Ansible something else again.
Day = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\z",
        description="a day in quotes, as year-month-day",
        examples=['"2026-03-02"'],
    ),
]
Architecture = Annotated[
    Literal["x86_64", "ppc64le", "aarch64"],
    Field(description="x86_64, ppc64le or aarch64 (what `uname -m` prints)", examples=["x86_64"]),
]
Gpu = Annotated[
    Literal["p100", "v100", "t4", "a100", "a40", "l40s", "h100", "h200"],
    Field(description="a GPU that kernels/README.md knows, in small letters", examples=["a100"]),
]
Source = Annotated[
    Literal["pip", "modules", "conda", "apptainer"],
    Field(description="where a kernel's TensorFlow may come from: pip, modules, conda or apptainer", examples=["pip"]),
]
# As `module load` takes it. It ends up in a launch script.
ModuleName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*(/[A-Za-z0-9][A-Za-z0-9_.+-]*){0,5}\z",
        max_length=100,
        description="the name of a module as `module load` takes it",
        examples=["profile/deeplrn"],
    ),
]
Minutes = Annotated[int, Field(ge=1, le=120, description="a whole number of minutes", examples=[5])]


class Fact(BaseModel):
    """What all of these have in common; `davide_hub.kernels.recipe` uses it too."""

    # strict: "6" is not 6 and yes is not "yes". What YAML made of a value must be what its writer meant.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# A YAML list arrives as a Python list, which strict mode would not take for a tuple; the entries stay strict.
_LIST = Field(strict=False, min_length=1)


class Hub(Fact):
    """The host that runs the hub, and its ports."""

    host: HostName
    address: Annotated[
        HostName, Field(description="the hub's address, as compute nodes reach it", examples=["10.77.0.10"])
    ]
    port: Annotated[Port, Field(description="the port that browsers reach, from 1 to 65535", examples=[443])]
    proxy_port: Annotated[Port, Field(examples=[8002])]
    api_port: Annotated[Port, Field(examples=[8081])]
    proxy_api_port: Annotated[Port, Field(examples=[8001])]
    certificate: Annotated[
        AbsolutePath,
        Field(
            description="the file with the certificate that browsers are shown, on the hub's host",
            examples=["/etc/davide-hub/front/site.crt"],
        ),
    ]
    certificate_key: Annotated[
        AbsolutePath,
        Field(description="the file with the certificate's key", examples=["/etc/davide-hub/front/site.key"]),
    ]


class Broker(Fact):
    """Where the broker is, if not on the hub's host."""

    host: Annotated[HostName, Field(examples=["ctl01"])]
    address: Annotated[
        HostName, Field(description="the broker's own address, as the hub reaches it", examples=["10.77.0.11"])
    ]
    # The broker may not bind a port below.
    port: Annotated[int, Field(ge=1024, le=65535, description="a port number from 1024 to 65535", examples=[8443])]


class Paths(Fact):
    """Where things lie."""

    software: AbsolutePath


class Partition(Fact):
    """A partition of Slurm; sizes are those of one node."""

    name: SlurmName
    nodes: Annotated[tuple[NodeNames, ...], _LIST]
    cores: Annotated[Cores, Field(examples=[16])]
    memory_gb: Annotated[Gigabytes, Field(examples=[24])]
    gpus: Annotated[Gpus, Field(examples=[4])]
    gpu_type: Annotated[SlurmName, Field(examples=["tesla"])] | None = None
    # These two choose the kernel (davide_hub.kernels.choice). Without a model no kernel for GPUs fits.
    gpu_model: Annotated[Gpu, Field(examples=["a100"])] | None = None
    architecture: Architecture = "x86_64"
    max_hours: Annotated[Hours, Field(examples=[8])]

    @property
    def node_names(self) -> list[str]:
        """Return the names of all nodes."""
        return [name for written in self.nodes for name in host_names(written)]


class Slurm(Fact):
    """The batch system."""

    cluster: SlurmName
    controller: HostName
    account: Annotated[SlurmName, Field(examples=["tra26_davide"])]
    node_addresses: Annotated[tuple[Network, ...], _LIST]
    partitions: Annotated[tuple[Partition, ...], _LIST]


class SessionDefaults(Fact):
    """What holds for every session."""

    default_kernel: Annotated[Label, Field(examples=["tf-cpu"])]
    start_timeout_minutes: Minutes
    per_user: Annotated[
        int, Field(ge=1, le=20, description="how many sessions a user may have at a time", examples=[1])
    ]
    warn_minutes: Annotated[
        tuple[Minutes, ...],
        Field(
            strict=False,
            min_length=1,
            max_length=5,
            description="how many minutes before the end users are warned",
            examples=[[15, 5]],
        ),
    ] = (15, 5)
    save_seconds: Annotated[
        int,
        Field(
            ge=30,
            le=600,
            description="how many seconds before the end everything is saved and kernels are told",
            examples=[120],
        ),
    ] = 120


class PamLogin(Fact):
    """Log-in with the cluster's own passwords, as PAM checks them."""

    kind: Literal["pam"]


class OidcLogin(Fact):
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


class Audit(Fact):
    """Who did what: how long it is kept, and what a teacher may see of it. Root sees all."""

    keep_days: Annotated[int, Field(ge=1, le=3650, description="a whole number of days", examples=[90])]
    teachers_see: Annotated[tuple[AuditField, ...], Field(strict=False)]


# Not the address: where somebody sits is none of a teacher's business unless the site says so.
_AUDIT = Audit(keep_days=90, teachers_see=("time", "verb", "user", "profile", "answer"))


# What a user may choose when a session starts.
ChoiceName = Annotated[
    Literal["profile", "gpus", "hours", "account", "qos", "reservation"],
    Field(description="a field of the session form", examples=["profile"]),
]


class Course(Fact):
    """What is taught, and, while it runs, what its sessions begin with.

    Both days count as days of the course; without days it always runs. What is in `locked` nobody may choose otherwise
    while the course runs.
    """

    title: Annotated[Text, Field(examples=["Deep learning with TensorFlow"])]
    folder: FolderName
    lessons: Annotated[tuple[LessonName, ...], _LIST]
    # They see everybody's sessions, and may end them.
    teachers: Annotated[tuple[AccountName, ...], Field(strict=False)] = ()
    first_day: Day | None = None
    last_day: Day | None = None
    profile: Annotated[Label, Field(examples=["one-gpu"])] | None = None
    hours: Hours | None = None
    account: Annotated[SlurmName, Field(examples=["tra26_davide"])] | None = None
    qos: Annotated[SlurmName, Field(examples=["normal"])] | None = None
    reservation: Annotated[SlurmName, Field(examples=["dl-course"])] | None = None
    locked: Annotated[tuple[ChoiceName, ...], Field(strict=False)] = ()

    def runs_on(self, day: date) -> bool:
        """Return whether the course runs on a day."""
        return (self.first_day or "") <= day.isoformat() <= (self.last_day or "9999")


class Profile(Fact):
    """A card of the session form. Users send its name, and perhaps how many of its GPUs and hours; all else is here.

    Cores and memory are for `gpus`; whoever takes more or fewer of them has more or less of the others too.
    """

    name: Label
    title: Text
    description: Annotated[Text, Field(examples=["A quarter of a node."])]
    partition: SlurmName
    gpus: Gpus
    cores: Cores
    memory_gb: Gigabytes
    hours: Hours
    idle_minutes: (
        Annotated[
            int,
            Field(
                ge=10,
                le=1440,
                description="after how many minutes without any work a session is ended, from 10",
                examples=[60],
            ),
        ]
        | None
    ) = None
    gpu_type: (
        Annotated[SlurmName, Field(description="the GPUs' type, where a partition has several", examples=["a100"])]
        | None
    ) = None
    most_gpus: Annotated[Gpus, Field(description="how many GPUs a user may take, at most", examples=[4])] | None = None
    most_hours: Annotated[Hours, Field(description="how many hours a user may take, at most", examples=[8])] | None = (
        None
    )


class KernelJob(Fact):
    """A kernel with a Slurm job of its own, as the launcher of a session offers it: a profile, or a part of it."""

    profile: Label
    gpus: Annotated[int, Field(ge=1, le=64, description="a whole number of GPUs, from 1", examples=[1])] | None = None
    hours: Hours | None = None


class Site(Fact):
    """Everything that differs between sites."""

    name: Annotated[Text, Field(examples=["DAVIDE local cluster"])]
    public_url: Url
    origins: Annotated[
        Literal["per-user", "shared"],
        Field(description="whether each user's session has a name of its own", examples=["per-user"]),
    ]
    group: Annotated[AccountName, Field(examples=["davide"])]
    admins: Annotated[tuple[AccountName, ...], _LIST]
    hub: Hub
    broker: Broker | None = None
    paths: Paths
    slurm: Slurm
    session: SessionDefaults
    login: Annotated[PamLogin | OidcLogin, Field(discriminator="kind")] = PamLogin(kind="pam")
    audit: Audit = _AUDIT
    kernels: Annotated[tuple[Annotated[Label, Field(examples=["tf-cpu"])], ...], _LIST]
    # What the site offers, the preferred first; and its modules, in the order in which they are loaded.
    kernel_sources: Annotated[tuple[Source, ...], _LIST] = ("pip",)
    modules: Annotated[tuple[ModuleName, ...], _LIST] = ()
    course: Course
    profiles: Annotated[tuple[Profile, ...], _LIST]
    # None unless a site wants them: a notebook then takes GPUs beside those of its session.
    kernel_jobs: Annotated[tuple[KernelJob, ...], Field(strict=False)] = ()

    @property
    def host(self) -> str:
        """Return the host's name in `public_url`."""
        return self.public_url.removeprefix("https://").partition(":")[0]


class _SiteFile(Fact):
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
        raise FactsError(explain(error, document, _schema())) from None
    if contradictions := list(check_site(site)):
        raise FactsError([sentence(document, finding) for finding in contradictions])
    return site


@cache
def _schema() -> dict[str, Any]:
    """Return what the sentences take their words from. It is made in a tenth of a second, and always the same."""
    return _SiteFile.model_json_schema()


def check_site(site: Site) -> Iterator[Finding]:
    """Yield what is wrong between facts that are each well-formed: where, and the problem with its fix."""
    yield from _repeated(("site", "kernels"), site.kernels)
    yield from _repeated(("site", "kernel_sources"), site.kernel_sources)
    yield from _repeated(("site", "course", "lessons"), site.course.lessons)
    yield from _repeated(("site", "slurm", "partitions"), [p.name for p in site.slurm.partitions], "name")
    yield from _repeated(("site", "profiles"), [p.name for p in site.profiles], "name")
    for index, partition in enumerate(site.slurm.partitions):
        yield from _misnamed(("site", "slurm", "partitions", index, "nodes"), partition.nodes)
    yield from _misread(("site", "slurm", "node_addresses"), site.slurm.node_addresses)
    yield from _shared_ports(site.hub)
    if site.broker and site.broker.host == site.hub.host:
        problem = f"{site.hub.host!r} is site.hub.host, where the broker has a socket; remove site.broker"
        yield ("site", "broker", "host"), problem
    if site.origins == "per-user" and re.fullmatch(r"https://[0-9.]+(:[0-9]+)?", site.public_url):
        problem = f"{site.public_url!r} is a number, and users' names can't stand before it"
        yield ("site", "public_url"), f"{problem}; write a host name, or site.origins: shared"
    if isinstance(site.login, OidcLogin):
        yield from _unsafe(site.login)
    if site.session.default_kernel not in site.kernels:
        key = ("site", "session", "default_kernel")
        yield key, _not_among(site.session.default_kernel, "site.kernels", site.kernels)
    for index, profile in enumerate(site.profiles):
        yield from _misfits(("site", "profiles", index), profile, site.slurm.partitions)
    yield from _impossible_course(site)
    yield from _impossible_kernel_jobs(site)


def warnings(site: Site) -> Iterator[str]:
    """Yield what is allowed, and costs something that whoever wrote it should know."""
    if site.origins == "shared":
        yield (
            "site.origins: shared: every user's pages come from one origin, so a notebook that somebody was tricked "
            "into opening can act in the hub, and in other people's sessions, as whoever looks at it. Get a wildcard "
            "name (*.host in DNS and in the certificate), and write per-user"
        )


def _repeated(where: Key, names: Sequence[str], field: str | None = None) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name in names[:index]:
            key = (*where, index) if field is None else (*where, index, field)
            yield key, f"{name!r} stands here for the second time; remove it or give it a name of its own"


def _misnamed(where: Key, nodes: Sequence[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, written in enumerate(nodes):
        names = list(islice(host_names(written), _MOST_NODES + 1))
        doubled = next((name for name in names if name in seen), None)
        if not 0 < len(names) <= _MOST_NODES:
            count = f"more than {_MOST_NODES}" if names else "no"
            yield (*where, place), f"{written!r} stands for {count} nodes; correct the range, as in gpu[01-45]"
        elif wrong := next((name for name in names if not _HOST.match(name)), None):
            yield (*where, place), f"{wrong!r} is not a host's name; write for example gpu01 or gpu[01-45]"
        elif "--" in written:
            # In a route's name these stand for a dot (davide_hub.certificates).
            yield (*where, place), f"{written!r} has '--' in it; give the node a name without"
        elif doubled or len(set(names)) < len(names):
            yield (
                (*where, place),
                f"{doubled or written!r} stands here for the second time; remove it or give it a name of its own",
            )
        seen.update(names)


def _misread(where: Key, addresses: Sequence[str]) -> Iterator[Finding]:
    # What nft would not load, or would take for more hosts than was meant.
    seen: dict[str, Any] = {}
    for index, text in enumerate(addresses):
        try:
            one = ip_interface(text)
        except ValueError:
            yield (*where, index), f"{text!r} is not an address or a network; write for example 10.77.0.0/24"
            continue
        if one.ip != one.network.network_address:
            yield (*where, index), f"{text!r} is a host in a network; write {one.network} or {one.ip}"
        elif one.network.prefixlen == 0:
            yield (*where, index), f"{text!r} is everybody; write the networks of the compute nodes"
        for other, known in seen.items():
            if known.version == one.version and known.overlaps(one.network):
                yield (*where, index), f"{text!r} and {other!r} have addresses in common; keep the larger one"
        seen[text] = one.network


def _shared_ports(hub: Hub) -> Iterator[Finding]:
    taken = {hub.port: "site.hub.port"}
    for field in ("proxy_port", "api_port", "proxy_api_port"):
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
    for field, most in (("gpus", profile.most_gpus), ("hours", profile.most_hours)):
        if most is not None and most < getattr(profile, field):
            yield (
                (*where, f"most_{field}"),
                f"{most} is less than the profile's own {getattr(profile, field)}; write more",
            )
    if profile.most_gpus and not profile.gpus:
        yield (*where, "most_gpus"), "the profile has no GPUs; remove it, or give the profile some"
    limits = {
        "gpus": (partition.gpus, "GPUs of a node"),
        "cores": (partition.cores, "cores of a node"),
        "memory_gb": (partition.memory_gb, "gigabytes of a node"),
        "hours": (partition.max_hours, "hours allowed"),
        "most_gpus": (partition.gpus, "GPUs of a node"),
        "most_hours": (partition.max_hours, "hours allowed"),
    }
    for field, (limit, what) in limits.items():
        wanted = getattr(profile, field) or 0
        if wanted > limit:
            problem = f"{wanted} is more than the {limit} {what} in partition {partition.name}"
            yield (*where, field), f"{problem}; write at most {limit}"
    if profile.gpus and (profile.most_gpus or 0) > profile.gpus:
        for field in ("cores", "memory_gb"):
            limit, what = limits[field]
            wanted = getattr(profile, field) * (profile.most_gpus or 0) // profile.gpus
            if wanted > limit:
                problem = f"with {profile.most_gpus} GPUs it is {wanted}, more than the {limit} {what}"
                yield (*where, field), f"{problem} in partition {partition.name}; write less here or in most_gpus"


def _impossible_course(site: Site) -> Iterator[Finding]:
    course, where = site.course, ("site", "course")
    for field in ("first_day", "last_day"):
        day = getattr(course, field)
        try:
            date.fromisoformat(day or "2026-01-01")
        except ValueError:
            yield (*where, field), f'{day!r} is no day of the calendar; write for example "2026-03-02"'
    if course.first_day and course.last_day and course.last_day < course.first_day:
        yield (*where, "last_day"), f"{course.last_day!r} is before first_day; write a later day"
    if course.profile is None:
        for field, value in (("hours", course.hours), ("locked", "profile" in course.locked)):
            if value:
                yield (*where, field), "it needs the profile that it is about; write site.course.profile"
        return
    profile = next((one for one in site.profiles if one.name == course.profile), None)
    if profile is None:
        yield (*where, "profile"), _not_among(course.profile, "site.profiles", [one.name for one in site.profiles])
    elif (course.hours or 0) > (limit := profile.most_hours or profile.hours):
        yield (
            (*where, "hours"),
            f"{course.hours} is more than the {limit} of profile {profile.name}; write at most {limit}",
        )


def _impossible_kernel_jobs(site: Site) -> Iterator[Finding]:
    for index, offer in enumerate(site.kernel_jobs):
        where = ("site", "kernel_jobs", index)
        if offer in site.kernel_jobs[:index]:
            yield where, "the same stands here for the second time; remove it"
        profile = next((one for one in site.profiles if one.name == offer.profile), None)
        if profile is None:
            yield (*where, "profile"), _not_among(offer.profile, "site.profiles", [one.name for one in site.profiles])
        elif profile.gpus == 0:
            yield (*where, "profile"), f"profile {profile.name} has no GPUs; name one that has, or remove this"
        else:
            most = {"gpus": profile.most_gpus or profile.gpus, "hours": profile.most_hours or profile.hours}
            for field, limit in most.items():
                wanted = getattr(offer, field) or 0
                if wanted > limit:
                    problem = f"{wanted} is more than the {limit} of profile {profile.name}"
                    yield (*where, field), f"{problem}; write at most {limit}"


def _not_among(name: str, home: str, names: Sequence[str]) -> str:
    return f"{name!r} is not in {home}; write one of {', '.join(names)}"
