"""What the hosts of the local cluster tell where all is right, for tests that then make something wrong."""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from davide_hub.certificates import make_authority, sign
from davide_hub.facts import load_site
from davide_hub.health.plan import MARK, Scene

DATA = Path(__file__).parent / "data"
LOCAL = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
SITE = load_site(LOCAL)
SCENE = Scene("hub01", "hub01", "hub01", ("gpu01", "gpu02"))
NOW = time.time()
AUTHORITY = make_authority("an authority")

SLURM = {
    "config": (DATA / "scontrol-config-22.05.txt").read_text(),
    "partitions": (DATA / "scontrol-partition-22.05.txt").read_text(),
    "associations": (DATA / "sacctmgr-associations-22.05.txt").read_text(),
    "qos": (DATA / "sacctmgr-qos-limited-22.05.txt").read_text(),
    "version": "slurm-wlm 22.05.8\n",
    "nodes": "gpu01|dvd_usr_prod*|16|24576|gpu:tesla:4\ngpu02|dvd_usr_prod*|16|24576|gpu:tesla:4\n",
}
JOB = (
    "JobId=12 JobName=davide-hub-preflight UserId=admin01(6021) GroupId=davide(6000) MCS_label=N/A Priority=0 Nice=0 "
    "Account=tra26_davide QOS=normal JobState=PENDING Reason=JobHeldUser Dependency=(null) Requeue=0 Restarts=0 "
    "BatchFlag=1 Reboot=0 ExitCode=0:0 RunTime=00:00:00 TimeLimit=02:00:00 Partition=dvd_usr_prod "
    "AllocNode:Sid=hub01:431 TRES=cpu=4,mem=6G,node=1,billing=4,gres/gpu=1 Command=(null) WorkDir=/ "
    f"Comment={MARK} StdErr=/dev/null StdIn=/dev/null StdOut=/dev/null\n"
)


def ran(out: str = "", code: int = 0, err: str = "") -> dict[str, Any]:
    """Return what a command left behind."""
    return {"code": code, "out": out, "err": err}


def _host(name: str, **more: Any) -> dict[str, Any]:
    system = {"time": NOW, "python": "3.11.2", "machine": "x86_64", "glibc": "2.36", "hostname": name}
    return {**system, "clock": [NOW - 1, NOW + 1], **more}


def _room(path: str) -> dict[str, Any]:
    return {"at": path, "free_gb": 100.0, "free_files": 10_000_000, "read_only": False}


def _account(uid: int, name: str) -> dict[str, Any]:
    home = {"path": f"/home/{name}", "inode": uid, "uid": uid, "free_gb": 5.0}
    return {"uid": uid, "gid": 6000, "home": home}


def _node(name: str, address: str, port: int) -> dict[str, Any]:
    return _host(
        name,
        room={"/tmp": _room("/tmp"), "/software/davide": _room("/software/davide")},
        called={"10.77.0.10:8081": {"heard": True, "from": address, "why": ""}},
        listening={"0.0.0.0:0": {"port": port, "by": "us", "why": ""}, "process": {"id": 9}},
        read={"word": "abc", "why": ""},
        accounts={"group": None, "numbers": {"admin01": _account(6021, "admin01")}},
        encoded=ran("MUNGE:xyz:"),
        decoded={"hub01": ran("STATUS: Success (0)")},
    )


def certificate(*names: str, days: float = 90) -> str:
    """Return a certificate for some names, with its authority's below."""
    signed = sign(AUTHORITY, "a site", [x509.DNSName(name) for name in names], timedelta(days=days))
    return signed.certificate_text + AUTHORITY.certificate_text


GOOD: dict[str, dict[str, Any]] = {
    "hub01": _host(
        "hub01",
        room={path: _room(path) for path in ("/software/davide", "/opt/davide", "/var/lib/davide-hub", "/tmp")},
        written={"path": "/software/davide/.davide-preflight-1", "word": "abc", "why": ""},
        removed={"why": ""},
        listening={"10.77.0.10:8081": {"port": 8081, "by": "us", "why": ""}, "process": {"id": 7}},
        called={
            "127.0.0.1:8000": {"heard": False, "from": "", "why": "Connection refused"},
            "gpu01:40001": {"heard": True, "from": "10.77.0.10", "why": ""},
            "gpu02:40002": {"heard": True, "from": "10.77.0.10", "why": ""},
        },
        commands={"front": ran("inactive\n", 3), **{name: ran(text) for name, text in SLURM.items()}},
        accounts={
            "group": {"gid": 6000, "members": ["admin01"]},
            "numbers": {"admin01": _account(6021, "admin01")},
        },
        certificate={"text": certificate("davide.localhost", "*.davide.localhost"), "key": "good", "why": ""},
        encoded=ran("MUNGE:abc:"),
        decoded={"gpu01": ran("STATUS: Success (0)"), "gpu02": ran("STATUS: Success (0)")},
        job={"submitted": ran("12\n"), "shown": ran(JOB), "cancelled": ran()},
    ),
    "gpu01": _node("gpu01", "10.77.0.21", 40001),
    "gpu02": _node("gpu02", "10.77.0.22", 40002),
}


def changed(path: tuple[str, ...], value: Any) -> dict[str, dict[str, Any]]:
    """Return the good answers with one of them another; None takes it away, and text replaces text: (old, new)."""
    told = copy.deepcopy(GOOD)
    inside: Any = told
    for step in path[:-1]:
        inside = inside[step]
    if isinstance(value, tuple):
        assert value[0] in inside[path[-1]], value
        value = inside[path[-1]].replace(*value)
    if value is None:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return told
