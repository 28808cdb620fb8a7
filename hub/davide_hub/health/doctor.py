"""`davide-hub doctor`: what is wrong with a hub that is installed, why, and how to mend it. It changes nothing.

It looks from the hub's host, as root, and from a node, in a job of the site's first admin that opens both directions.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable
from davide_hub.drain import standing
from davide_hub.facts import Site
from davide_hub.health import judge_hub as hub
from davide_hub.health import look, visit
from davide_hub.health.findings import Finding, ordered
from davide_hub.health.judge import judge
from davide_hub.health.plan import Scene, encoded, job_options, names, people, slurm_commands
from davide_hub.kernels import trial
from davide_hub.kernels.choice import load_installed
from davide_hub.kernels.verbs import folder_of, is_noted
from davide_hub.operate import BROKER_TLS, SOCKET, TLS
from davide_hub.questions import Outcome
from davide_hub.questions import command as slurm_command

NODES = ("sinfo", "--all", "--noheader", "--Node", "--format=%N|%P|%T|%E")
# Hub and broker notice within half a minute what has ended or is lost: what is wrong for longer than that is wrong.
SETTLE_SECONDS = 35
_ANSWER_SECONDS = 10
_JOB_SECONDS = trial.WAIT_SECONDS + 30
_UNIT_FILES = Path("/etc/systemd/system")

Told = dict[str, Any]


def examine(site: Site, *, with_job: bool) -> list[Finding]:
    """Return all that is wrong with the hub and the broker of this host, and from a node."""
    here = socket.gethostname().partition(".")[0]
    has_hub, has_broker = is_here("jupyterhub"), is_here("davide-broker")
    hub_host = here if has_hub else site.hub.host
    broker_host = here if has_broker else (site.broker.host if site.broker else site.hub.host)
    units = _units(has_hub, has_broker)
    told = {here: _look_here(site, has_hub=has_hub, has_broker=has_broker, with_job=with_job)}
    found: list[Finding] = [*hub.judge_units(units)]
    nodes: tuple[str, ...] = ()
    if has_broker and with_job:
        seen, broken = _look_from_a_node(site, told[here])
        told |= seen
        nodes = tuple(seen)
        found += broken
    scene = Scene(hub_host, broker_host, here, nodes)
    # Hosts that were not asked are not out of reach; and that environments fit the nodes, the job has just shown.
    found += [one for one in judge(site, scene, told) if one.check not in ("reach", "system")]
    if has_hub:
        answers = _answers(site)
        found += hub.judge_drain(standing())
        found += hub.judge_answers(site, answers, units)
        found += hub.judge_firewall(_outcome(["nft", "--stateless", "list", "table", "inet", "davide_hub"]))
    found += hub.judge_internal_certificates(_certificates(), time.time())
    if has_broker:
        found += hub.judge_nodes(site, _outcome(list(NODES)))
        found += _settled(lambda: _judge_sessions(site, with_routes=has_hub))
    if has_hub and not _sees_software(site):
        found.append(hub.unseen(here, site.paths.software))
    elif _sees_software(site):
        found += hub.judge_kernels({name: _kernel(site, name) for name in site.kernels})
    return ordered(found)


def is_here(unit: str) -> bool:
    """Return whether one of our units is installed on this host."""
    return (_UNIT_FILES / f"{unit}.service").exists()


def _sees_software(site: Site) -> bool:
    return Path(site.paths.software).is_dir()


def _units(has_hub: bool, has_broker: bool) -> dict[str, dict[str, str]]:
    ours = ["jupyterhub", "jupyterhub-proxy", "davide-front", "davide-firewall"] if has_hub else []
    wanted = [*ours, *(["davide-broker", "munge"] if has_broker else [])]
    shown = "--property=Id,LoadState,ActiveState,Result,NRestarts,UnitFileState"
    return hub.read_units(look.run(["systemctl", "show", shown, *wanted])["out"])


def _look_here(site: Site, *, has_hub: bool, has_broker: bool, with_job: bool) -> Told:
    plan: Told = {"room": ["/tmp"]}  # noqa: S108 - to see what is free
    if has_hub:
        plan["room"] += ["/opt/davide", "/var/lib/davide-hub"]
        plan["certificate"] = {"certificate": site.hub.certificate, "key": site.hub.certificate_key}
        plan["names"] = names(site)
    if Path(site.paths.software).is_dir():
        plan["room"].append(site.paths.software)
    if has_broker:
        plan["accounts"] = {"group": site.group, "names": people(site)}
        plan["encoded"] = True
        plan["commands"] = slurm_commands(site)
        if with_job:
            plan["job"] = {"user": site.admins[0], "options": job_options(site, site.profiles[0])}
    found = look.look(plan)
    # Who listens there is the hub; whether it does is told by its unit.
    listening = {f"{site.hub.address}:{site.hub.api_port}": {"port": site.hub.api_port, "by": "us", "why": ""}}
    return found | {"clock": [found["time"], found["time"]], "listening": listening}


def _look_from_a_node(site: Site, here: Told) -> tuple[dict[str, Told], list[Finding]]:
    """Return what a node tells in a job, by its name, or why none does. Adds what is seen of it from here."""
    user = site.admins[0]
    probe = Path(site.paths.software) / f".davide-doctor-{secrets.token_hex(8)}"
    word = secrets.token_hex(16)
    written = look.find_written({"folder": str(probe.parent), "name": probe.name, "word": word})
    plan: Told = {
        "room": ["/tmp", site.paths.software],  # noqa: S108 - to see what is free
        "called": [[site.hub.address, site.hub.api_port]],
        "accounts": {"names": [user]},
        "encoded": True,
    }
    # Another host may have installed what lies there; then root's here need not write to it.
    if not written["why"]:
        here["written"], plan["read"] = written, written["path"]
    if here.get("encoded", {}).get("code") == 0:
        plan["decoded"] = {socket.gethostname().partition(".")[0]: here["encoded"]["out"]}
    try:
        return _run_job(site, user, plan, here)
    finally:
        if not written["why"]:
            here["removed"] = look.find_removed(written["path"])


def job(site: Site, plan: Told) -> list[str]:
    """Return the command of the job: small, and without a GPU."""
    partition = site.slurm.partitions[0]
    return [
        "srun",
        "--quiet",
        f"--immediate={trial.WAIT_SECONDS}",
        "--job-name=davide-hub-doctor",
        f"--account={site.slurm.account}",
        f"--partition={partition.name}",
        "--ntasks=1",
        "--cpus-per-task=1",
        "--mem=500M",
        "--time=2",
        "--chdir=/",
        f"{site.paths.software}/envs/session/bin/python",
        "-I",
        "-m",
        visit.__name__,
        encoded(plan),
    ]


def _run_job(site: Site, user: str, plan: Told, here: Told) -> tuple[dict[str, Told], list[Finding]]:
    command = ["runuser", "-u", user, "--", *job(site, plan)]
    pipe = subprocess.PIPE
    # Not buffered: `select` must see each line that comes.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, bufsize=0, cwd="/")
    with process:
        greeting = b""
        try:
            greeting = _line(process, _JOB_SECONDS)
            before = time.time()
            told = _visited(json.loads(greeting), process, here) if greeting else None
        except ValueError:
            told = None
        finally:
            if greeting or process.poll() is None:
                process.terminate()
        if told is None:
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
            return {}, list(hub.judge_job(user, process.wait(), said))
    node, found = told
    return {node: found | {"clock": [before - 1, before]}}, []


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    assert process.stdout is not None  # noqa: S101 - for mypy; it is a pipe
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else b""


def _visited(greeting: Told, process: subprocess.Popen[bytes], here: Told) -> tuple[str, Told] | None:
    node, port = greeting["node"], greeting["port"]
    here["called"] = here.get("called", {}) | look.find_called([[node, port]])
    rest = _line(process, visit.WAIT_SECONDS + look.SECONDS)
    if not rest:
        return None
    found: Told = json.loads(rest)
    if found.get("encoded", {}).get("code") == 0:
        here["decoded"] = look.find_decoded({node: found["encoded"]["out"]})
    listening = {"0.0.0.0:0": {"port": port, "by": "us", "why": ""}}
    return node, found | {"time": greeting["time"], "listening": listening}


def _answers(site: Site) -> dict[str, Told]:
    return {
        "front": _answer(site.hub.port, "/hub/health", tls=site.host),
        "proxy": _answer(site.hub.proxy_port, "/hub/health"),
        "api": _routes(site)[0],
    }


def _answer(port: int, path: str, *, tls: str = "", token: str = "") -> Told:
    """Return the status and the body of an answer on this host; status 0 and why, if there is none."""
    connection: http.client.HTTPConnection
    if tls:
        # Whether the certificate is good is told by its own check.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    headers = ({"Host": tls} if tls else {}) | ({"Authorization": f"token {token}"} if token else {})
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return {"status": answer.status, "body": answer.read().decode(errors="replace"), "why": ""}
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "body": "", "why": str(error) or type(error).__name__}
    finally:
        connection.close()


def _routes(site: Site) -> tuple[Told, dict[str, Told] | None]:
    try:
        token = Path("/etc/davide-hub/proxy.env").read_text().partition("=")[2].strip()
    except OSError as error:
        return {"status": 0, "body": "", "why": f"{error.filename}: {error.strerror}"}, None
    answer = _answer(site.hub.proxy_api_port, "/api/routes", token=token)
    return answer, json.loads(answer["body"]) if answer["status"] == 200 else None


def _outcome(argv: Sequence[str]) -> Outcome:
    ran = look.run(list(argv))
    return Outcome(ran["code"], ran["out"], ran["err"])


def _certificates() -> dict[str, str]:
    found = [*sorted(TLS.glob("*.crt")), *sorted(BROKER_TLS.glob("*.crt"))]
    return {str(path): path.read_text(errors="replace") for path in found}


def _judge_sessions(site: Site, *, with_routes: bool) -> list[Finding]:
    told = _sessions()
    jobs = sorted({entry["job"] for entry in told.get("entries", []) if entry["job"]})
    routes = _routes(site)[1] if with_routes else None
    queue, marks = _outcome(slurm_command("queue", jobs)), _outcome(slurm_command("marks", ()))
    return list(hub.judge_sessions(site, told, routes, queue, marks, time.time()))


def _sessions() -> Told:
    try:
        name, entries = asyncio.run(BrokerClient(SOCKET).sessions())
    except (BrokerRefused, BrokerUnreachable) as error:
        return {"why": str(error)}
    rows: list[Mapping[str, str]] = [
        {"key": one.key, "user": one.user, "state": one.state, "job": one.job} for one in entries
    ]
    return {"hub": name, "entries": rows}


def _settled(look_again: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what is still found at a second look: sessions begin and end all the time."""
    first = look_again()
    if not first:
        return []
    time.sleep(SETTLE_SECONDS)
    still = hub.names_of(look_again())
    return [one for one in first if one.sentence in still]


def _kernel(site: Site, name: str) -> Told:
    folder, software = folder_of(site, name), Path(site.paths.software)
    if not all((folder / file).is_file() for file in ("kernel.json", "kernel.yml", "launch", "selftest.py", "warm.py")):
        return {"folder": str(folder), "installed": False, "missing": "", "passed": False}
    environment = load_installed(folder).environment
    python = software / "envs" / environment / "bin/python" if environment else None
    missing = str(python) if python and not os.access(python, os.X_OK) else ""
    missing = missing or ("" if os.access(folder / "launch", os.X_OK) else f"{folder / 'launch'}, executable")
    return {"folder": str(folder), "installed": True, "missing": missing, "passed": is_noted(folder, software)}
