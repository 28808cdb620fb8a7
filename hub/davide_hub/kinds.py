"""What a single value of site.yml may be: its pattern or bounds, what it means, and an example.

Meaning and example are part of each type, and the messages use them (`sentences.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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
# Such as need no quotes in SQL.
DatabaseName = Annotated[
    str,
    Field(
        pattern=r"^[a-z_][a-z0-9_]{0,62}\z",
        description="a name of at most 63 small letters, digits and '_'",
        examples=["davide_hub"],
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
# A field of the audit trail, as it stands there.
AuditField = Annotated[
    Literal["time", "verb", "user", "address", "login", "server", "profile", "session_key", "job", "answer", "why"],
    Field(description="a field of the audit trail", examples=["user"]),
]
# What a user may choose when a session starts.
ChoiceName = Annotated[
    Literal["profile", "gpus", "hours", "account", "qos", "reservation"],
    Field(description="a field of the session form", examples=["profile"]),
]


class Fact(BaseModel):
    """What all of these have in common; `davide_hub.kernels.recipe` uses it too."""

    # strict: "6" is not 6 and yes is not "yes". What YAML made of a value must be what its writer meant.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# A YAML list arrives as a Python list, which strict mode would not take for a tuple; the entries stay strict.
LIST = Field(strict=False, min_length=1)
