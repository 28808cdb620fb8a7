"""The site's facts: what site.yml may say, as types.

`reading.py` turns a file into plain data, `kinds.py` says what a single value may be, `coherence.py` what is wrong
between values, `sentences.py` turns a refusal into words; here stands only what is true of a site. To add a fact, add
a field: its meaning and an example are part of its type, and the messages use them.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from davide_hub.coherence import contradictions
from davide_hub.hostlist import host_names
from davide_hub.kinds import (
    LIST,
    AbsolutePath,
    AccountName,
    Architecture,
    AuditField,
    ChoiceName,
    Cores,
    DatabaseName,
    Day,
    Fact,
    FolderName,
    Gigabytes,
    Gpu,
    Gpus,
    HostName,
    Hours,
    Label,
    LessonName,
    Minutes,
    ModuleName,
    Network,
    NodeNames,
    Port,
    SlurmName,
    Source,
    Text,
    Url,
    WebAddress,
)
from davide_hub.reading import FactsError, read_plain_yaml
from davide_hub.sentences import explain, sentence

__all__ = [
    "Audit",
    "Broker",
    "Course",
    "Database",
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
    "load_site",
]


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


class Database(Fact):
    """A PostgreSQL for what the hub keeps. Without it the hub has an SQLite of its own. Its password is no fact."""

    host: Annotated[HostName, Field(examples=["db01.example.org"])]
    port: Port = 5432
    name: Annotated[DatabaseName, Field(examples=["davide_hub"])]
    user: Annotated[DatabaseName, Field(examples=["davide_hub"])]
    authority: (
        Annotated[
            AbsolutePath,
            Field(
                description="the file with the certificate that vouches for the database, on the hub's host",
                examples=["/etc/davide-hub/database-authority.crt"],
            ),
        ]
        | None
    ) = None


class Paths(Fact):
    """Where things lie."""

    software: AbsolutePath


class Partition(Fact):
    """A partition of Slurm; sizes are those of one node."""

    name: SlurmName
    nodes: Annotated[tuple[NodeNames, ...], LIST]
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
    node_addresses: Annotated[tuple[Network, ...], LIST]
    partitions: Annotated[tuple[Partition, ...], LIST]


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


class Audit(Fact):
    """Who did what: how long it is kept, and what a teacher may see of it. Root sees all."""

    keep_days: Annotated[int, Field(ge=1, le=3650, description="a whole number of days", examples=[90])]
    teachers_see: Annotated[tuple[AuditField, ...], Field(strict=False)]


# Not the address: where somebody sits is none of a teacher's business unless the site says so.
_AUDIT = Audit(keep_days=90, teachers_see=("time", "verb", "user", "profile", "answer"))


class Course(Fact):
    """What is taught, and, while it runs, what its sessions begin with.

    Both days count as days of the course; without days it always runs. What is in `locked` nobody may choose otherwise
    while the course runs.
    """

    title: Annotated[Text, Field(examples=["Deep learning with TensorFlow"])]
    folder: FolderName
    lessons: Annotated[tuple[LessonName, ...], LIST]
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
    keep_mb: (
        Annotated[
            int,
            Field(
                ge=1,
                le=10_000,
                description="how many megabytes of a kernel's variables are kept in the home when its job ends unused",
                examples=[200],
            ),
        ]
        | None
    ) = None


class Site(Fact):
    """Everything that differs between sites."""

    name: Annotated[Text, Field(examples=["DAVIDE local cluster"])]
    public_url: Url
    origins: Annotated[
        Literal["per-user", "shared"],
        Field(description="whether each user's session has a name of its own", examples=["per-user"]),
    ]
    group: Annotated[AccountName, Field(examples=["davide"])]
    admins: Annotated[tuple[AccountName, ...], LIST]
    hub: Hub
    broker: Broker | None = None
    database: Database | None = None
    paths: Paths
    slurm: Slurm
    session: SessionDefaults
    login: Annotated[PamLogin | OidcLogin, Field(discriminator="kind")] = PamLogin(kind="pam")
    audit: Audit = _AUDIT
    kernels: Annotated[tuple[Annotated[Label, Field(examples=["tf-cpu"])], ...], LIST]
    # What the site offers, the preferred first; and its modules, in the order in which they are loaded.
    kernel_sources: Annotated[tuple[Source, ...], LIST] = ("pip",)
    modules: Annotated[tuple[ModuleName, ...], LIST] = ()
    course: Course
    profiles: Annotated[tuple[Profile, ...], LIST]
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
    if found := list(contradictions(site)):
        raise FactsError([sentence(document, finding) for finding in found])
    return site


@cache
def _schema() -> dict[str, Any]:
    """Return what the sentences take their words from. It is made in a tenth of a second, and always the same."""
    return _SiteFile.model_json_schema()
