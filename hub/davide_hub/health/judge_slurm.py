"""Whether a site's Slurm and its site facts fit together, from what Slurm said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from davide_hub.facts import Partition, Profile, Site
from davide_hub.health.findings import Finding, problem, warning
from davide_hub.health.plan import MARK
from davide_hub.hostlist import host_names
from davide_hub.limits import judged as limits_judged
from davide_hub.profiles import find_partition, gpu_type
from davide_hub.questions import Outcome

# What the suite runs with, on Debian 12 and 13.
OLDEST_TRIED = (22, 5)
NEWEST_TRIED = (24, 11)
_CONFIG_LINE = re.compile(r"^(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
_WORD = re.compile(r"(\w+(?:/\w+)?)=(\S*)")
_TIME = re.compile(r"(?:(\d+)-)?(\d+):(\d+):(\d+)")
_REFUSALS = (
    (
        ("Invalid account", "Invalid user", "Job's account"),
        "let the people of the site use it: sacctmgr add user NAME account={account} cluster={cluster}",
    ),
    (("Invalid partition", "invalid partition"), "correct the partition's name in site.slurm.partitions"),
    (("node configuration", "nodes are busy"), "correct cores, memory_gb or gpus of the profile in site.yml"),
    (("time limit",), "write fewer hours into the profile, or allow more in the partition"),
    (("Access/permission denied",), "let this host submit: AllocNodes of the partition, and AllowGroups"),
)

Told = Mapping[str, Any]


def outcomes(commands: Mapping[str, Told]) -> dict[str, Outcome]:
    """Return what commands left behind, as the rest of the hub knows it."""
    return {name: Outcome(one["code"], one["out"], one["err"]) for name, one in commands.items()}


def judge_slurm(site: Site, host: str, told: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Yield what is wrong with Slurm as the broker's host sees it.

    Parameters
    ----------
    site
        The site's facts.
    host
        The broker's host, for the sentences.
    told
        What Slurm said to `plan.slurm_commands`.
    """
    config = told["config"]
    if config.code != 0 or "SLURM_VERSION" not in config.out:
        yield problem("slurm", f"{host}: {_silence(config)}")
        return
    facts = dict(_CONFIG_LINE.findall(config.out))
    yield from _versions(host, facts, told["version"])
    yield from _configured(site, facts)
    partitions = {row["PartitionName"]: row for row in map(words, told["partitions"].out.splitlines()) if row}
    if not partitions:
        yield problem("partition", f"{host}: scontrol shows no partition: {_said(told['partitions'])}; ask Slurm's log")
        return
    for partition in site.slurm.partitions:
        yield from _partition(site, host, partition, partitions)
    yield from _sizes(site, told["nodes"])
    for sentence in limits_judged(site.slurm, told):
        yield warning("limits", sentence)


def words(line: str) -> dict[str, str]:
    """Return the pairs in a line that `scontrol --oneliner` printed; values that hold blanks are cut at the first."""
    return dict(_WORD.findall(line))


def _silence(config: Outcome) -> str:
    said = _said(config)
    if "can't be run" in said:
        return "Slurm's commands are missing here: install the cluster's own client package on the broker's host"
    # Zero bytes: the controller hangs up on whom it does not believe, and says so in its own log only.
    if re.search("munge|credential|protocol authentication|zero bytes were transmitted", said, re.IGNORECASE):
        return f"Slurm does not believe this host ({said}): give it the cluster's munge key, and run munge here"
    if "configuration" in said or "slurm.conf" in said:
        return f"Slurm's commands have no configuration here ({said}): copy slurm.conf of the cluster, or run sackd"
    return f"Slurm's controller does not answer ({said}): see that slurmctld runs, and that this host may reach it"


def _said(outcome: Outcome) -> str:
    return " ".join((outcome.err or outcome.out).split())[:200] or "nothing was said"


def _number(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _versions(host: str, facts: Mapping[str, str], version: Outcome) -> Iterator[Finding]:
    here, there = _number(version.out), _number(facts["SLURM_VERSION"])
    shown = facts["SLURM_VERSION"]
    if there < OLDEST_TRIED:
        yield problem("slurm", f"Slurm is {shown}; the oldest that this is known to work with is 22.05: upgrade it")
    elif there > NEWEST_TRIED:
        yield warning(
            "slurm", f"Slurm is {shown}; the newest that this was tried with is 24.11: try it on a test system"
        )
    if here > there:
        yield problem(
            "slurm",
            f"{host} has commands of Slurm {version.out.split()[-1]}, "
            f"newer than the controller's {shown}, which Slurm does "
            "not allow: install the controller's version here",
        )


def _configured(site: Site, facts: Mapping[str, str]) -> Iterator[Finding]:
    cluster = facts.get("ClusterName", site.slurm.cluster)
    if cluster != site.slurm.cluster:
        yield problem("slurm", f"Slurm calls itself {cluster}: write site.slurm.cluster: {cluster}")
    private = {word.strip().lower() for word in facts.get("PrivateData", "").split(",")}
    if "jobs" in private:
        yield warning(
            "slurm",
            "PrivateData has jobs: squeue shows the hub no session, "
            "so it asks each owner through the broker, seldom, and "
            "ends are told late; take jobs out of PrivateData in slurm.conf, or live with it",
        )
    if hidden := sorted(private & {"nodes", "partitions", "reservations", "accounts", "users"}):
        yield warning(
            "slurm",
            f"PrivateData has {', '.join(hidden)}: the session form "
            "can't tell what the hub's account may not see, free "
            "GPUs, reservations or accounts; take that out of PrivateData in slurm.conf, or live with it",
        )
    if facts.get("AccountingStorageType", "").endswith("none") or not facts.get("AccountingStorageType"):
        yield problem(
            "slurm",
            "Slurm keeps no accounting: after MinJobAge nobody can "
            "tell how a session ended, and the hub takes no absence "
            "for an end; set AccountingStorageType=accounting_storage/slurmdbd",
        )
    age = re.match(r"\d+", facts.get("MinJobAge", "300"))
    if age and int(age[0]) < 60:
        yield warning(
            "slurm", f"MinJobAge is {age[0]} s: jobs vanish from squeue before the hub has seen their end; write 300"
        )


def _partition(
    site: Site, host: str, partition: Partition, known: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    row, name = known.get(partition.name), partition.name
    if row is None:
        yield problem(
            "partition", f"Slurm has no partition {name}; write one of {', '.join(known)} in site.slurm.partitions"
        )
        return
    if row.get("State", "UP") != "UP":
        yield problem("partition", f"partition {name} is {row['State']}: scontrol update PartitionName={name} State=UP")
    allocating = row.get("AllocNodes", "ALL")
    if allocating != "ALL" and host not in set(host_names(allocating)):
        yield problem(
            "partition",
            f"partition {name} takes jobs from {allocating} only, and "
            f"sessions are submitted on {host}: add it to AllocNodes",
        )
    allowed = row.get("AllowAccounts", "ALL").split(",")
    if (allowed != ["ALL"] and site.slurm.account not in allowed) or site.slurm.account in row.get(
        "DenyAccounts", ""
    ).split(","):
        yield problem(
            "partition",
            f"partition {name} does not take account {site.slurm.account}: "
            "add it to AllowAccounts, or write another into "
            "site.slurm.account",
        )
    groups = row.get("AllowGroups", "ALL").split(",")
    if groups != ["ALL"] and site.group not in groups:
        yield warning(
            "partition",
            f"partition {name} takes jobs of the groups {','.join(groups)} "
            f"only: whoever is in {site.group} and in none of "
            "these can log in and start nothing; add it to AllowGroups",
        )
    if row.get("RootOnly") == "YES":
        yield problem("partition", f"partition {name} takes jobs of root only: set RootOnly=NO, or choose another")
    if row.get("ReqResv") == "YES" and not site.course.reservation:
        yield problem(
            "partition",
            f"partition {name} takes jobs within a reservation only: write site.course.reservation, or choose another",
        )
    longest = _hours(row.get("MaxTime", "UNLIMITED"))
    if longest < partition.max_hours:
        yield problem(
            "partition",
            f"partition {name} allows {longest:g} hours, site.yml says "
            f"{partition.max_hours}: write max_hours: {int(longest)}",
        )
    yield from _nodes(partition, row)


def _hours(text: str) -> float:
    found = _TIME.fullmatch(text)
    if found is None:
        return float("inf")  # UNLIMITED
    days, hours, minutes, seconds = (int(one or 0) for one in found.groups())
    return days * 24 + hours + minutes / 60 + seconds / 3600


def _nodes(partition: Partition, row: Mapping[str, str]) -> Iterator[Finding]:
    there, ours = set(host_names(row.get("Nodes", "(null)"))), set(partition.node_names)
    for names, what in (
        (ours - there, "site.yml has nodes that Slurm has not"),
        (there - ours, "Slurm has nodes that site.yml has not"),
    ):
        if names:
            shown = ", ".join(islice(sorted(names), 4)) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            yield warning(
                "partition",
                f"partition {partition.name}: {what}: {shown}; correct "
                "its nodes in site.slurm.partitions, by which the hub "
                "knows where a session calls from",
            )


def _sizes(site: Site, told: Outcome) -> Iterator[Finding]:
    rows = [row.split("|") for row in told.out.splitlines() if row.count("|") == 4]
    for place, profile in enumerate(site.profiles):
        of_partition = [row for row in rows if row[1].rstrip("*") == profile.partition]
        if of_partition and not any(_fits(site, profile, row) for row in of_partition):
            most = {
                name: max(int(row[column].rstrip("+")) for row in of_partition)
                for name, column in (("cores", 2), ("MB", 3))
            }
            yield problem(
                "partition",
                f"no node of {profile.partition} can ever hold profile {profile.name}: it wants {profile.cores} cores, "
                f"{profile.memory_gb * 1024} MB and {_gpus(site, profile)}; "
                f"nodes have up to {most['cores']} cores, {most['MB']} MB and "
                f"{', '.join(sorted({row[4] for row in of_partition}))}; "
                f"correct site.profiles[{place}] or gpu_type of the partition",
            )


def _gpus(site: Site, profile: Profile) -> str:
    kind = gpu_type(profile, find_partition(site.slurm.partitions, profile.partition))
    return f"{profile.gpus} GPUs" + (f" of type {kind}" if kind and profile.gpus else "")


def _fits(site: Site, profile: Profile, row: list[str]) -> bool:
    kind = gpu_type(profile, find_partition(site.slurm.partitions, profile.partition))
    gpus = sum(
        int(found[2])
        for found in re.finditer(r"gpu:(?:([^:,()]+):)?(\d+)", row[4])
        if not kind or found[1] in (kind, None)
    )
    return (
        int(row[2].rstrip("+")) >= profile.cores
        and int(row[3].rstrip("+")) >= profile.memory_gb * 1024
        and gpus >= profile.gpus
    )


def judge_job(site: Site, host: str, told: Told) -> Iterator[Finding]:
    """Yield what Slurm, or a plug-in of the site, makes of a job like a session's."""
    submitted, profile, user = told["submitted"], site.profiles[0], site.admins[0]
    if not told["shown"]:
        said = " ".join(submitted["err"].split())[:300] or "nothing was said"
        if submitted["code"] != -1:  # else Slurm's commands are missing, which is told elsewhere
            yield problem(
                "job",
                f"{host}: Slurm refuses a session of profile {profile.name} to {user} ({said}): {_fix(site, said)}",
            )
        return
    if told["shown"]["code"] != 0:
        yield warning(
            "job",
            f"{host}: {user} may not look at the job just submitted: "
            f"{told['shown']['err'].strip()[:200]}; see PrivateData",
        )
        return
    found = words(told["shown"]["out"])
    if found.get("Comment") != MARK:
        yield problem(
            "job",
            f"Slurm takes a job's comment and keeps {found.get('Comment', 'none')}: "
            "a job_submit plug-in of the site changes it, and "
            "by the comment the hub knows its jobs again after a crash; "
            "let job_submit leave comments that begin with davide-hub:",
        )
    wanted = {
        "Account": site.slurm.account,
        "Partition": profile.partition,
        "JobName": "davide-hub-preflight",
        "Requeue": "0",
    }
    for name, value in wanted.items():
        if found.get(name, value) != value:
            yield (problem if name == "Requeue" else warning)(
                "job",
                f"a session asks for {name}={value}, and its job has "
                f"{name}={found[name]}: a job_submit plug-in of the site "
                "changes it; let it leave jobs with a davide-hub: comment alone, or write what it wants into site.yml",
            )
    if told.get("cancelled", {}).get("code"):
        yield warning(
            "job", f"job {found.get('JobId')} of the preflight was not cancelled: scancel {found.get('JobId')}"
        )


def _fix(site: Site, said: str) -> str:
    for told, fix in _REFUSALS:
        if any(one in said for one in told):
            return fix.format(account=site.slurm.account, cluster=site.slurm.cluster)
    return "mend what it says, or correct site.yml"
