"""Whether a hub that is installed is well: its units, what answers, routes against sessions, orphans, kernels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cryptography import x509

from davide_hub.answers import read_marks, read_queue
from davide_hub.drain import Drain
from davide_hub.facts import Site
from davide_hub.health.findings import Finding, problem, warning
from davide_hub.health.judge_certificate import dates
from davide_hub.kernels.trial import NO_NODE, likely_cause
from davide_hub.questions import Outcome, SlurmSilent
from davide_hub.states import Job, Phase

Told = Mapping[str, Any]

# By unit: what its plays are called, and what people see when it is down.
UNITS = {
    "munge": ("", "Slurm believes nobody here"),
    "davide-broker": ("broker", "nobody can log in, start or stop"),
    "jupyterhub-proxy": ("proxy", "no page opens, and no session is reached"),
    "davide-front": ("front", "no page opens"),
    "davide-firewall": ("firewall", "any host may call the hub and the proxy"),
    "jupyterhub": ("jupyterhub", "the hub's pages do not open; sessions go on"),
}
_OFTEN = 5
_TARGET = re.compile(r"https://([a-z0-9.-]+)\.([a-z0-9-]+)\.sessions\.internal:([0-9]+)")
_OUT_OF_SERVICE = ("down", "drain", "fail", "error", "unknown", "no_respond", "maint")


def judge_units(told: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Yield which units are not running, or are restarted again and again."""
    for name, unit in told.items():
        tag, effect = UNITS[name]
        plays = f"run the plays with --tags {tag}" if tag else "install the cluster's own package"
        if unit.get("LoadState") == "not-found":
            yield problem("units", f"there is no unit {name}, so {effect}: {plays}")
        elif unit.get("ActiveState") not in ("active", "activating", "reloading") or _keeps_ending(unit):
            how = f"{unit.get('ActiveState', 'unknown')}, {unit.get('Result', 'unknown')}"
            yield problem(
                "units",
                f"{name} is not running ({how}), so {effect}: systemctl "
                f"restart {name}; why: journalctl -u {name} -n 50",
            )
        elif _restarts(unit) >= _OFTEN:
            yield warning(
                "units",
                f"{name} has ended and been started again {unit['NRestarts']} "
                f"times: see journalctl -u {name} -p warning",
            )
        if unit.get("UnitFileState") == "disabled":
            yield warning("units", f"{name} does not start at boot: systemctl enable {name}")


def _restarts(unit: Mapping[str, str]) -> int:
    return int(unit.get("NRestarts") or 0)


def _keeps_ending(unit: Mapping[str, str]) -> bool:
    # systemd starts ours again without end, and says "activating" of one that waits for its next start.
    return unit.get("ActiveState") == "activating" and _restarts(unit) >= _OFTEN


def judge_drain(drain: Drain | None) -> Iterator[Finding]:
    """Yield that the hub is closed to new sessions, which somebody may have forgotten."""
    if drain:
        until = f" until {drain.until}" if drain.until else ""
        yield warning("sessions", f"the hub is drained{until}, so no session can be started: davide-hub undrain")


def judge_answers(site: Site, told: Mapping[str, Told], units: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Yield what runs and does not answer. What does not run is told by `judge_units`."""

    def runs(name: str) -> bool:
        return units.get(name, {}).get("ActiveState") == "active"

    front, proxy, api = told.get("front"), told.get("proxy"), told.get("api")
    if api and runs("jupyterhub-proxy") and api["status"] == 403:
        yield problem(
            "proxy",
            "the proxy does not take the token of /etc/davide-hub/proxy.env: "
            "systemctl restart jupyterhub-proxy jupyterhub",
        )
    elif api and runs("jupyterhub-proxy") and api["status"] != 200:
        yield problem("proxy", f"the proxy's API does not answer ({_how(api)}): systemctl restart jupyterhub-proxy")
    if proxy and runs("jupyterhub-proxy") and runs("jupyterhub") and proxy["status"] != 200:
        yield problem(
            "proxy",
            f"the hub does not answer through the proxy ({_how(proxy)}): "
            "it may be starting, a minute at most; then journalctl -u "
            "jupyterhub -n 50, and that site.hub.address is an address of this host",
        )
    elif front and runs("davide-front") and front["status"] != 200 and (not proxy or proxy["status"] == 200):
        yield problem(
            "proxy",
            f"the front does not answer at port {site.hub.port} ({_how(front)}): "
            "systemctl reload davide-front; journalctl -u davide-front -n 50",
        )


def _how(answer: Told) -> str:
    return answer["why"] or f"status {answer['status']}"


def judge_firewall(told: Outcome) -> Iterator[Finding]:
    """Yield whether the hub's part of the firewall is loaded."""
    if told.code == 0:
        return
    yield problem(
        "ports",
        "the table inet davide_hub is not in the kernel, so any host may "
        "call the hub and the proxy: systemctl restart davide-firewall",
    )


def judge_internal_certificates(files: Mapping[str, str], now: float) -> Iterator[Finding]:
    """Yield which of the certificates between hub, proxy and sessions end; the plays renew a year before."""
    for path, text in files.items():
        try:
            certificates = x509.load_pem_x509_certificates(text.encode())
        except ValueError:
            yield problem(
                "certificate", f"{path} holds no certificate: restore /etc/davide-hub/tls, or davide-hub rotate ca"
            )
            continue
        for one in certificates:
            yield from dates(path, one, now, "run the plays, which renew it (an authority: davide-hub rotate ca)")


def judge_nodes(site: Site, told: Outcome) -> Iterator[Finding]:
    """Yield which nodes are out of service, from `sinfo`: name, partition, state, reason."""
    rows = [row.split("|", 3) for row in told.out.splitlines() if row.count("|") >= 3]
    for partition in site.slurm.partitions:
        ours = [row for row in rows if row[1].rstrip("*") == partition.name]
        out = [row for row in ours if row[2].endswith("*") or row[2].lower().startswith(_OUT_OF_SERVICE)]
        if not out:
            continue
        shown = ", ".join(f"{row[0]} ({row[2]}: {row[3][:60]})" for row in out[:4]) + (" ..." if len(out) > 4 else "")
        fix = f"see there slurmd, the clock and munge's key, then scontrol update NodeName={out[0][0]} State=RESUME"
        level, what = (
            (problem, "no node") if len(out) == len(ours) else (warning, f"{len(ours) - len(out)} of {len(ours)} nodes")
        )
        yield level("slurm", f"partition {partition.name} has {what} in service; out are {shown}: {fix}")


def judge_sessions(
    site: Site, told: Told, routes: Mapping[str, Told] | None, queue: Outcome, marks: Outcome, now: float
) -> Iterator[Finding]:
    """Yield where the ledger, Slurm and the proxy do not have the same sessions.

    Parameters
    ----------
    site
        The site's facts.
    told
        The ledger: `hub`, this hub's name in marks, and `entries`; or `why` the broker did not tell.
    routes
        The proxy's routes; None if it did not tell.
    queue, marks
        What Slurm said about the sessions' jobs, and about all jobs with a mark.
    now
        The time.
    """
    if "why" in told:
        yield problem(
            "sessions", f"the broker does not tell its sessions ({told['why']}): journalctl -u davide-broker -n 50"
        )
        return
    entries = {entry["key"]: entry for entry in told["entries"]}
    yield from _orphans(told["hub"], entries, marks)
    try:
        jobs = read_queue(queue) if any(entry["job"] for entry in entries.values()) else {}
    except SlurmSilent:
        return  # judge_slurm tells
    for entry in entries.values():
        if entry["state"] == "submitted" and entry["job"] and entry["job"] not in jobs:
            yield warning(
                "sessions",
                f"session {entry['key']} of {entry['user']} has job {entry['job']}, "
                "which Slurm does not list: it ended, and the hub has "
                "not noticed; if that stays, systemctl restart jupyterhub (no session ends)",
            )
    if routes is not None:
        yield from _routes(site, entries, jobs, routes, now)


def _orphans(hub: str, entries: Mapping[str, Told], marks: Outcome) -> Iterator[Finding]:
    try:
        ours = [one for one in read_marks(marks) if one.hub == hub]
    except SlurmSilent:
        return
    for one in ours:
        if one.key not in entries:
            yield problem(
                "sessions",
                f"job {one.job} of {one.user} is marked as a session of this "
                "hub, and the broker's ledger has none: the hub takes such "
                "jobs up within minutes; if it stays, journalctl -u "
                f"jupyterhub says why, and scancel {one.job} ends it",
            )
    for key, count in Counter(one.key for one in ours).items():
        if count > 1:
            numbers = ", ".join(one.job for one in ours if one.key == key)
            yield problem(
                "sessions",
                f"session {key} has {count} jobs: {numbers}; one is the session, cancel the others with scancel",
            )


def _routes(
    site: Site, entries: Mapping[str, Told], jobs: Mapping[str, Job], routes: Mapping[str, Told], now: float
) -> Iterator[Finding]:
    led: dict[str, str] = {}
    for path, route in routes.items():
        target = _TARGET.fullmatch(str(route.get("target", "")))
        if target is None:
            continue
        led[target[2]] = path
        entry = entries.get(target[2])
        job = jobs.get(entry["job"]) if entry else None
        node = target[1].replace("--", ".")
        if entry is None or (job and job.phase is Phase.ENDED):
            yield problem(
                "proxy",
                f"the proxy leads {path} to {node}:{target[3]}, where no session "
                "is any more: systemctl restart jupyterhub compares all "
                "routes (no session ends)",
            )
        elif job and job.node and job.node != node:
            yield problem(
                "proxy",
                f"the proxy leads {path} to {node}, and the session's job "
                f"{entry['job']} runs on {job.node}: systemctl restart jupyterhub "
                "compares all routes (no session ends)",
            )
    patience = site.session.start_timeout_minutes * 60
    for key, entry in entries.items():
        job = jobs.get(entry["job"])
        late = job and job.phase is Phase.RUNNING and job.starts and now - job.starts > patience
        if entry["state"] == "submitted" and late and key not in led:
            yield problem(
                "proxy",
                f"session {key} of {entry['user']} (job {entry['job']}) runs for "
                f"more than {site.session.start_timeout_minutes} minutes, and "
                "the proxy has no route to it: systemctl restart jupyterhub "
                "gives it one; if not, the end of its session.log says "
                "why it does not listen",
            )


def judge_kernels(told: Mapping[str, Told]) -> Iterator[Finding]:
    """Yield which kernels are not whole, or were never seen to work as they are."""
    for name, kernel in told.items():
        if not kernel["installed"]:
            yield problem(
                "kernels", f"kernel {name} is not installed in {kernel['folder']}: run the plays with --tags kernels"
            )
        elif kernel["missing"]:
            yield problem(
                "kernels",
                f"kernel {name} lacks {kernel['missing']}: run the plays with "
                "--tags kernels, or switch the link of its environment back",
            )
        elif not kernel["passed"]:
            yield warning(
                "kernels", f"the test of kernel {name} has not passed as it is now: davide-hub kernels test {name}"
            )


def unseen(host: str, folder: str) -> Finding:
    """Return that the shared folder is not there."""
    return warning(
        "files",
        f"{host} has no {folder}, so kernels were not looked at: mount the shared file system; or, where another host "
        "installs what lies there, --ignore files",
    )


def judge_job(user: str, status: int, said: str) -> Iterator[Finding]:
    """Yield why the doctor's own job told nothing: a node that can't be had is no fault, a job that fails is one."""
    last = " ".join(said.split())[-300:]
    if any(words in said for words in NO_NODE) or not last:
        yield warning(
            "reach", f"no node was free for a job of {user} ({last or 'it did not start'}): nothing was seen from there"
        )
        return
    yield problem("job", f"a job of {user} failed as a session would ({last}); {likely_cause(status, said)}")


def read_units(text: str) -> dict[str, dict[str, str]]:
    """Return what `systemctl show UNIT...` printed: by name, each unit's properties."""
    blocks = [dict(row.split("=", 1) for row in block.splitlines() if "=" in row) for block in text.split("\n\n")]
    return {block["Id"].removesuffix(".service"): block for block in blocks if "Id" in block}


def names_of(findings: Sequence[Finding]) -> set[str]:
    """Return the sentences of findings, to tell which of them are still there at a second look."""
    return {one.sentence for one in findings}
