"""Whether Slurm bounds what sessions may use. Profiles guide; only Slurm's QOS and associations enforce.

It reads only, as whoever runs it, and what it finds missing is a warning: how much is too much a site decides.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from davide_hub.facts import Slurm
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.slurm import run_command

_SECONDS = 15
_ENFORCED = re.compile(r"^AccountingStorageEnforce\s*=\s*(\S+)", re.MULTILINE)
_PARTITION_QOS = re.compile(r"\bQoS=(\S+)")
# "safe" is "limits", and more.
_NEEDED = {"limits": ("limits", "safe"), "qos": ("qos",)}
# What bounds how much runs at once, or how much is used up. MaxWall is none: hours of one job the profiles bound too.
_OF_ASSOCIATIONS = "GrpJobs,GrpSubmit,GrpTRES,GrpTRESMins,GrpTRESRunMins,MaxJobs,MaxSubmit,MaxTRES"
_OF_QOS = (
    "GrpJobs,GrpSubmit,GrpTRES,GrpTRESMins,GrpTRESRunMins,MaxJobsPA,MaxJobsPU,MaxSubmitPA,MaxSubmitPU,MaxTRES,"
    "MaxTRESPA,MaxTRESPU"
)
_NO_LIMITS = {"Account", "User", "QOS", "Name"}

Row = Mapping[str, str]
Run = Callable[[tuple[str, ...], float], Awaitable[Outcome]]


async def find_unlimited(slurm: Slurm, run: Run = run_command) -> list[str]:
    """Return a sentence, with its fix, for each thing that keeps Slurm from bounding what sessions use.

    Parameters
    ----------
    slurm
        The site's facts about Slurm.
    run
        Runs a command; replaced in tests.
    """
    try:
        return judged(slurm, {name: await run(argv, _SECONDS) for name, argv in questions(slurm).items()})
    except SlurmSilent as silence:
        return [_unknown(silence)]


def questions(slurm: Slurm) -> dict[str, tuple[str, ...]]:
    """Return what Slurm is asked about its limits: commands, by the names of their answers."""
    show = ("sacctmgr", "--parsable2", "--readonly", "show")
    whose = (f"cluster={slurm.cluster}", f"account={slurm.account}")
    return {
        "config": ("scontrol", "show", "config"),
        "partitions": ("scontrol", "--all", "--oneliner", "show", "partition"),
        "associations": (*show, "associations", *whose, f"format=Account,User,QOS,{_OF_ASSOCIATIONS}"),
        "qos": (*show, "qos", f"format=Name,{_OF_QOS}"),
    }


def judged(slurm: Slurm, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return what Slurm's answers to `questions` mean, as sentences."""
    try:
        enforced = read_enforced(outcomes["config"])
        used = read_partition_qos(outcomes["partitions"], [one.name for one in slurm.partitions])
        associations, qos = read_table(outcomes["associations"]), read_table(outcomes["qos"])
    except SlurmSilent as silence:
        return [_unknown(silence)]
    return list(unlimited(slurm, enforced, associations, qos, used))


def _unknown(silence: SlurmSilent) -> str:
    return f"whether Slurm bounds what sessions use is not known: {silence}; ask again when it answers"


def unlimited(
    slurm: Slurm, enforced: set[str], associations: Sequence[Row], qos: Sequence[Row], of_partitions: set[str]
) -> Iterator[str]:
    """Yield what is missing, as sentences.

    Parameters
    ----------
    slurm
        The site's facts about Slurm.
    enforced
        What AccountingStorageEnforce says.
    associations
        The rows of the site's account, its own and its users'.
    qos
        All QOS.
    of_partitions
        The QOS that the site's partitions impose.
    """
    for word, good in _NEEDED.items():
        if not enforced.intersection(good):
            yield (
                f"Slurm does not enforce {word}: AccountingStorageEnforce is {','.join(sorted(enforced)) or 'none'}; "
                "write AccountingStorageEnforce=associations,limits,qos into slurm.conf"
            )
    if not associations:
        yield (
            f"sacctmgr shows no association of account {slurm.account} on cluster {slurm.cluster}; make it (sacctmgr "
            "add account), or, where PrivateData hides it, ask again as an operator of Slurm"
        )
        return
    used = {name for row in associations for name in row.get("QOS", "").split(",") if name} | of_partitions
    if not any(map(_bounds, [*associations, *(row for row in qos if row.get("Name") in used)])):
        names = ", ".join(sorted(used)) or "normal"
        yield (
            f"nothing in Slurm bounds what sessions of account {slurm.account} use: no limit on the account and its "
            f"users, none in QOS {names}; for example: sacctmgr modify qos {min(used, default='normal')} set "
            "MaxTRESPerUser=gres/gpu=4 MaxJobsPerUser=4"
        )


def read_enforced(outcome: Outcome) -> set[str]:
    """Return what AccountingStorageEnforce is in the answer of `scontrol show config`; raises `SlurmSilent`."""
    found = _ENFORCED.search(outcome.out) if outcome.code == 0 else None
    if found is None:
        raise SlurmSilent(f"scontrol: {(outcome.err or outcome.out).strip()[:200]}")
    return set(found[1].lower().split(",")) - {"none"}


def read_partition_qos(outcome: Outcome, names: Sequence[str]) -> set[str]:
    """Return the QOS of some partitions in the answer of `scontrol --oneliner show partition`; raises `SlurmSilent`."""
    if outcome.code != 0 or not outcome.out.startswith("PartitionName="):
        raise SlurmSilent(f"scontrol: {(outcome.err or outcome.out).strip()[:200]}")
    ours = [line for line in outcome.out.splitlines() if line.split()[0].partition("=")[2] in names]
    return {found[1] for line in ours if (found := _PARTITION_QOS.search(line))} - {"N/A"}


def read_table(outcome: Outcome) -> list[dict[str, str]]:
    """Return the rows of what `sacctmgr --parsable2 show` prints, by the names in its header; raises `SlurmSilent`."""
    lines = outcome.out.splitlines() if outcome.code == 0 else []
    # Without a header it is no answer; with one alone it says that there is nothing.
    if not lines or "|" not in lines[0]:
        raise SlurmSilent(f"sacctmgr: {(outcome.err or outcome.out).strip()[:200]}")
    names = lines[0].split("|")
    return [dict(zip(names, line.split("|"), strict=False)) for line in lines[1:]]


def _bounds(row: Row) -> bool:
    return any(value for name, value in row.items() if name not in _NO_LIMITS)
