"""The line after `%%davide`: words to a checked request, or a sentence that says what may stand there."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_course.machine import Site


class Refused(Exception):  # noqa: N818 - what happens to the cell
    """Nothing was submitted; the text says why, and what to write instead."""

    def _render_traceback_(self) -> list[str]:
        # Read by IPython: the way through our code would hide the sentence.
        return [str(self)]


@dataclass(frozen=True)
class Option:
    """One option: what it is followed by ("" for nothing), what it is without, and what it does."""

    value: str
    default: str
    help: str


OPTIONS = {
    "nodes": Option("N", "1", "how many nodes"),
    "gpus": Option("N", "0", "how many GPUs in all; one process for each"),
    "tasks": Option("N", "one for each node", "how many processes in all, where there are no GPUs"),
    "cores": Option("N", "a GPU's share of the node, or 1", "cores of each process"),
    "memory": Option("GB", "that of the cores", "memory of each process"),
    "time": Option("MINUTES", "30", "when Slurm ends it; short jobs start earlier"),
    "run": Option("NAME", "a new one each time", "name of the run; the same name finds the same folder, runs/NAME"),
    "fresh": Option("", "", "begin the run anew: its folder is put aside"),
    "result": Option("NAME", "result", "the variable that comes back"),
    "all-ranks": Option("", "", "bring back a list: the variable of each process"),
    "send": Option("NAMES", "none", "variables of the notebook that the cell needs, as a,b"),
    "script": Option("FILE", "the cell", "run this file instead of the cell; its own words after --"),
    "show": Option("", "", "show the job script, and submit nothing"),
    "patience": Option("SECONDS", "60", "how long processes wait for each other to start"),
    "partition": Option("NAME", "the session's, or one that fits", "Slurm's group of nodes"),
    "account": Option("NAME", "the session's", "who pays"),
    "qos": Option("NAME", "Slurm's choice", "quality of service"),
    "reservation": Option("NAME", "the session's", "nodes set aside for a course"),
    "help": Option("", "", "this list"),
}
HELP = "\n".join(
    [
        "%%davide OPTIONS      runs the cell as a Slurm job, and brings its variable `result` back",
        "%davide --script FILE OPTIONS [-- WORDS FOR THE SCRIPT]",
        "",
        *(
            f"  --{name + ' ' + one.value:<22}{one.help}{f' ({one.default})' if one.default else ''}"
            for name, one in OPTIONS.items()
        ),
    ]
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_SLURM_NAME = re.compile(r"[A-Za-z0-9_.+@:,-]+")


@dataclass(frozen=True)
class Request:
    """What a cell asks for, checked as far as the site's facts tell.

    Attributes
    ----------
    tasks, cores, memory_mb
        Processes in all; of each the cores and the memory (None: what Slurm gives without being asked).
    run
        The run's name; "" for a new one.
    """

    nodes: int
    gpus: int
    tasks: int
    cores: int
    memory_mb: int | None
    minutes: int
    run: str
    fresh: bool
    result: str
    all_ranks: bool
    send: tuple[str, ...]
    script: str
    arguments: tuple[str, ...]
    show: bool
    patience: float
    partition: str
    account: str
    qos: str
    reservation: str


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """Return the options of a line, without their dashes, and the words after `--`."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Refused(f"%%davide {line}: {error}. Put quotes around a word with spaces, at both of its ends.") from None
    own, arguments = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    found: dict[str, str] = {}
    while own:
        name, equals, value = own.pop(0).removeprefix("--").partition("=")
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"did you mean --{near[0]}? " if near else ""
            raise Refused(f"There is no option {name!r}; {hint}There are --{', --'.join(OPTIONS)}.")
        if OPTIONS[name].value and not equals:
            if not own or own[0].startswith("--"):
                raise Refused(f"--{name} needs a value: --{name} {OPTIONS[name].value}, {OPTIONS[name].help}.")
            value = own.pop(0)
        found[name] = value
    return found, arguments


def request(line: str, site: Site, environ: Mapping[str, str] = os.environ) -> Request:
    """Return what a line asks for.

    Parameters
    ----------
    site
        The facts of this site: how large its nodes are, which of them there are.
    environ
        The session's, whose account, partition and reservation are taken where the line names none.

    Raises
    ------
    Refused
        In a sentence, with what would be allowed.
    """
    given, arguments = words_of(line)
    nodes = _number(given, "nodes", 1, 10_000)
    gpus = _number(given, "gpus", 0, 100_000)
    tasks = _tasks(given, nodes, gpus)
    for name in ("partition", "account", "qos", "reservation"):
        if name in given and not _SLURM_NAME.fullmatch(given[name]):
            raise Refused(f"--{name} takes a name of Slurm's, of letters, digits and _.-; not {given[name]!r}.")
    partition = given.get("partition") or _partition(site, environ, gpus // nodes)
    node = next((one for one in site.partitions if one["name"] == partition and site.known), None)
    cores, memory_mb = _share(given, node, gpus, tasks // nodes)
    minutes = _number(given, "time", 1, 100_000, default=30)
    if node:
        _fits(node, nodes, gpus, tasks, cores, memory_mb, minutes)
    at_home = partition == environ.get("SLURM_JOB_PARTITION")
    return Request(
        nodes=nodes,
        gpus=gpus,
        tasks=tasks,
        cores=cores,
        memory_mb=memory_mb,
        minutes=minutes,
        run=_plain(given, "run", ""),
        fresh="fresh" in given,
        result=_variable("result", given.get("result", "result")),
        all_ranks="all-ranks" in given,
        send=tuple(_variable("send", name) for name in given.get("send", "").split(",") if name),
        script=_script(given, arguments),
        arguments=tuple(arguments),
        show="show" in given,
        patience=float(_number(given, "patience", 1, 3600, default=60)),
        partition=partition,
        account=given.get("account") or environ.get("SLURM_JOB_ACCOUNT") or (site.account if site.known else ""),
        qos=given.get("qos", ""),
        reservation=given.get("reservation") or (environ.get("SLURM_JOB_RESERVATION", "") if at_home else ""),
    )


def _number(given: Mapping[str, str], name: str, least: int, most: int, default: int | None = None) -> int:
    text = given.get(name, str(least if default is None else default))
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise Refused(f"--{name} takes a whole number from {least} to {most}, not {text!r}.")
    return int(text)


def _tasks(given: Mapping[str, str], nodes: int, gpus: int) -> int:
    if gpus and "tasks" in given:
        raise Refused("With --gpus there is one process for each GPU: leave --tasks out.")
    what = "gpus" if gpus else "tasks"
    tasks = gpus or _number(given, "tasks", 1, 100_000, default=nodes)
    if tasks % nodes:
        fair = tasks // nodes * nodes
        instead = f"{fair} or {fair + nodes}" if fair else str(nodes)
        raise Refused(f"--{what} {tasks} can't be shared out evenly over {nodes} nodes: take {instead}.")
    return tasks


def _partition(site: Site, environ: Mapping[str, str], gpus: int) -> str:
    """Return the session's partition, or the site's first one whose nodes have as many GPUs."""
    session = environ.get("SLURM_JOB_PARTITION", "")
    if not site.known:
        return session
    # Where none has as many, the one with most says in the refusal how many there are.
    enough = min(gpus, max(one["gpus"] for one in site.partitions))
    fitting: list[str] = [one["name"] for one in site.partitions if one["gpus"] >= enough]
    return session if session in fitting else fitting[0]


def _share(
    given: Mapping[str, str], node: Mapping[str, Any] | None, gpus: int, tasks_of_node: int
) -> tuple[int, int | None]:
    """Return cores and MB of each process: with GPUs, its share of the node; the memory that belongs to its cores."""
    usual = max(1, node["cores"] // max(node["gpus"], tasks_of_node)) if node and gpus else 1
    cores = _number(given, "cores", 1, 10_000, default=usual)
    if "memory" in given:
        return cores, 1024 * _number(given, "memory", 1, 100_000)
    return cores, (int(node["memory_gb"] * 1024) * cores // node["cores"] if node else None)


def _fits(
    node: Mapping[str, Any], nodes: int, gpus: int, tasks: int, cores: int, memory_mb: int | None, minutes: int
) -> None:
    name, here = node["name"], tasks // nodes
    if nodes > node["nodes"]:
        raise Refused(f"--nodes {nodes}: the partition {name} has {node['nodes']}; take 1 to {node['nodes']}.")
    if gpus > nodes * node["gpus"]:
        most = nodes * node["gpus"]
        raise Refused(
            f"--gpus {gpus}: a node of {name} has {node['gpus']}, so with --nodes {nodes} take 0 to {most}"
            + (f", or more nodes (there are {node['nodes']})." if nodes < node["nodes"] else ".")
        )
    if here * cores > node["cores"]:
        raise Refused(
            f"{here} processes with {cores} cores each do not fit a node of {name}, which has {node['cores']} cores: "
            f"take at most {node['cores'] // cores} processes a node, or --cores {max(1, node['cores'] // here)}."
        )
    if memory_mb and here * memory_mb > node["memory_gb"] * 1024:
        raise Refused(
            f"--memory {memory_mb // 1024}: a node of {name} has {node['memory_gb']} GB, and each of {here} processes "
            f"on it may take {int(node['memory_gb'] // here)}."
        )
    if minutes > node["max_hours"] * 60:
        most = int(node["max_hours"] * 60)
        raise Refused(f"--time {minutes}: a job in {name} may take {most} minutes; take 1 to {most}.")


def _plain(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    if text and not _NAME.fullmatch(text):
        raise Refused(f"--{name} takes a name of letters, digits and ._- such as digits-2; not {text!r}.")
    return text


def _variable(option: str, name: str) -> str:
    if not name.isidentifier():
        raise Refused(f"--{option} takes the name of a variable, not {name!r}.")
    return name


def _script(given: Mapping[str, str], arguments: list[str]) -> str:
    if "script" not in given:
        if arguments:
            raise Refused(f"The words after -- are for a script: name it with --script FILE (not {arguments[0]!r}).")
        return ""
    path = Path(given["script"])
    if not path.is_file():
        raise Refused(f"--script {path}: there is no such file in {Path.cwd()}.")
    return str(path)
