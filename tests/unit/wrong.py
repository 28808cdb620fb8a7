"""What can be wrong on the hosts that `looked.py` shows in order: which answer is another, and how that is told."""

from __future__ import annotations

from typing import Any

from looked import JOB, NOW, SLURM, certificate, ran

COMMANDS = ("hub01", "commands")
CLOCK = ("gpu01", "time")


def slurm(name: str, old: str, new: str) -> tuple[tuple[str, ...], Any]:
    """Return a change of one of Slurm's answers."""
    assert old in SLURM[name], old
    return (*COMMANDS, name), ran(SLURM[name].replace(old, new))


# By a name: which answer, what it is instead, and words of the sentence.
BAD = {
    "a host that does not answer": (
        ("gpu02",),
        {"why": "No route to host"},
        "problem: gpu02 is out of reach for ansible (No route",
    ),
    "the hub's host does not answer": (
        ("hub01",),
        {"why": "timeout"},
        "problem: hub01 is out of reach for ansible (timeout): see that ssh",
    ),
    "a full disk": (
        ("hub01", "room", "/software/davide", "free_gb"),
        0.3,
        "problem: hub01:/software/davide has 0.3 GB free, 8 are needed: make",
    ),
    "a disk that fills": (
        ("hub01", "room", "/opt/davide", "free_gb"),
        1.0,
        "warning: hub01:/opt/davide has 1 GB free; a new version needs up",
    ),
    "no inodes": (
        ("hub01", "room", "/software/davide", "free_files"),
        12,
        "problem: hub01:/software/davide can hold 12 more files (df -i)",
    ),
    "a full /tmp of a node": (("gpu01", "room", "/tmp", "free_gb"), 0.0, "problem: gpu01:/tmp has 0 GB free"),
    "software that can't be written": (
        ("hub01", "room", "/software/davide", "read_only"),
        True,
        "problem: hub01:/software/davide is read-only",
    ),
    "a clock far ahead": (
        CLOCK,
        NOW + 300,
        "problem: gpu01's clock is at least 298 s ahead of hub01's: munge refuses from 300",
    ),
    "a clock far behind": (CLOCK, NOW - 100, "problem: gpu01's clock is at least 98 s behind hub01's"),
    "a clock a little ahead": (
        CLOCK,
        NOW + 20,
        "warning: gpu01's clock is at least 18 s ahead of hub01's: run chronyd",
    ),
    "an old Python on the hub": (
        ("hub01", "python"),
        "3.9.2",
        "problem: hub01 has Python 3.9.2 at /usr/bin/python3, and the locks are for",
    ),
    "another Python on a node": (
        ("gpu01", "python"),
        "3.6.8",
        "problem: gpu01 has Python 3.6.8 at /usr/bin/python3, and environments are",
    ),
    "a node of another architecture": (
        ("gpu01", "machine"),
        "ppc64le",
        "problem: gpu01 is ppc64le, and hub01 builds the session environment",
    ),
    "an old C library": (("hub01", "glibc"), "2.17", "problem: hub01 has glibc 2.17, and the wheels need 2.28"),
    "an account that is missing on a node": (
        ("gpu01", "accounts", "numbers"),
        {"admin01": None},
        "problem: gpu01 knows no account admin01, hub01 does",
    ),
    "another uid on a node": (
        ("gpu01", "accounts", "numbers", "admin01", "uid"),
        6999,
        "problem: admin01 is 6021:6000 on hub01 and 6999:6000 on gpu01: jobs would run as somebody else",
    ),
    "no home on a node": (
        ("gpu01", "accounts", "numbers", "admin01", "home"),
        {"path": "/home/admin01", "why": "No such file or directory"},
        "problem: gpu01: the home of admin01, such as /home/admin01, can't be entered (No such file or directory):",
    ),
    "another home on a node": (
        ("gpu01", "accounts", "numbers", "admin01", "home", "inode"),
        1,
        "problem: the home of admin01 is one folder on hub01 (/home/admin01) and another on gpu01",
    ),
    "a full home": (
        ("hub01", "accounts", "numbers", "admin01", "home", "free_gb"),
        0.0,
        "warning: hub01: the home of admin01 is full",
    ),
    "a mount that is missing on a node": (
        ("gpu02", "read"),
        {"word": "", "why": "No such file or directory"},
        "problem: gpu02 does not see what hub01 writes to /software/davide (No such file or directory): mount",
    ),
    "another file system on a node": (
        ("gpu02", "read"),
        {"word": "xyz", "why": ""},
        "problem: gpu02 does not see what hub01 writes to",
    ),
    "a root that may not write": (
        ("hub01", "written"),
        {"path": "/software/x", "word": "", "why": "Permission denied"},
        "problem: hub01: /software/x can't be written (Permission denied): mount the shared file system for root there",
    ),
    "a file that stays": (
        ("hub01", "removed"),
        {"why": "Stale file handle"},
        "warning: hub01: /software/davide/.davide-preflight-1 of this",
    ),
    "no munge": (
        ("gpu01", "encoded"),
        ran(code=-1, err="munge can't be run: no"),
        "problem: gpu01: munge does not work (munge can't be run: no): install",
    ),
    "a dead munge": (
        ("gpu01", "encoded"),
        ran(code=6, err="munge: Error: Failed to access /run/munge/munge.socket.2"),
        "problem: gpu01: munge does not work (munge: Error: Failed to "
        "access /run/munge/munge.socket.2): systemctl restart munge",
    ),
    "another munge key": (
        ("gpu01", "decoded"),
        {"hub01": ran("", 15, "unmunge: Error: Invalid credential")},
        "problem: gpu01 does not believe munge of hub01 (unmunge: Error: Invalid credential): the keys differ",
    ),
    "a credential from another time": (
        ("hub01", "decoded", "gpu02"),
        ran("", 15, "unmunge: Error: Expired credential"),
        "problem: hub01 does not believe munge of gpu02 (unmunge: Error: Expired credential): the clocks differ",
    ),
    "a firewall before the hub": (
        ("gpu01", "called"),
        {"10.77.0.10:8081": {"heard": False, "from": "", "why": "timed out"}},
        "problem: gpu01 does not reach the hub at 10.77.0.10:8081 "
        "(timed out): open TCP port 8081 of hub01 to the nodes",
    ),
    "a firewall before the nodes": (
        ("hub01", "called", "gpu02:40002"),
        {"heard": False, "from": "", "why": "Connection refused"},
        "problem: hub01 does not reach gpu02 at port 40002 (Connection refused), one of those that sessions listen at",
    ),
    "a node with another address": (
        ("gpu01", "called", "10.77.0.10:8081", "from"),
        "10.99.0.5",
        "problem: gpu01 calls the hub from 10.99.0.5, which is not in site.slurm.node_addresses",
    ),
    "an address that is not the hub's": (
        ("hub01", "listening", "10.77.0.10:8081"),
        {"port": 8081, "by": "nobody", "why": "Cannot assign requested address"},
        "problem: hub01 can't listen at 10.77.0.10:8081 (Cannot assign requested address): write an address of hub01",
    ),
    "another web server": (
        ("hub01", "called", "127.0.0.1:8000", "heard"),
        True,
        "problem: another program listens at port 8000 of hub01: stop it (ss -ltnp shows it)",
    ),
    "no certificate": (
        ("hub01", "certificate"),
        {"text": "", "key": "", "why": "/etc/x.crt: No such file or directory"},
        "problem: /etc/x.crt: No such file or directory: put the "
        "certificate for davide.localhost and *.davide.localhost",
    ),
    "a certificate that is none": (
        ("hub01", "certificate", "text"),
        "hello",
        "problem: /etc/davide-hub/front/site.crt holds no certificate",
    ),
    "another key": (
        ("hub01", "certificate", "key"),
        "KEY_VALUES_MISMATCH",
        "problem: /etc/davide-hub/front/site.key is not the key of",
    ),
    "a key with a password": (
        ("hub01", "certificate", "key"),
        "BAD_DECRYPT",
        "problem: /etc/davide-hub/front/site.key can't be read as a key",
    ),
    "an expired certificate": (
        ("hub01", "certificate", "text"),
        certificate("davide.localhost", "*.davide.localhost", days=-1),
        "problem: /etc/davide-hub/front/site.crt ended on",
    ),
    "a certificate that ends soon": (
        ("hub01", "certificate", "text"),
        certificate("davide.localhost", "*.davide.localhost", days=8.5),
        "in 8 days: put a new one there, then systemctl reload davide-front",
    ),
    "a certificate of others": (
        ("hub01", "certificate", "text"),
        certificate("www.example.org", "*.davide.localhost"),
        "problem: /etc/davide-hub/front/site.crt is for www.example.org, "
        "*.davide.localhost, and people type davide.localhost",
    ),
    "no wildcard": (
        ("hub01", "certificate", "text"),
        certificate("davide.localhost"),
        "problem: /etc/davide-hub/front/site.crt is not for *.davide.localhost, where sessions are",
    ),
    "a chain without its middle": (
        ("hub01", "certificate", "text"),
        certificate("davide.localhost", "*.davide.localhost").split("-----END CERTIFICATE-----")[0]
        + "-----END CERTIFICATE-----\n",
        "warning: /etc/davide-hub/front/site.crt holds one certificate only, signed by CN=an authority",
    ),
    "no commands of Slurm": (
        (*COMMANDS, "config"),
        ran(code=-1, err="scontrol can't be run"),
        "problem: hub01: Slurm's commands are missing here",
    ),
    "a Slurm that does not answer": (
        (*COMMANDS, "config"),
        ran(code=1, err="slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"),
        "problem: hub01: Slurm's controller does not answer (slurm_load_ctl_conf error: Unable to contact",
    ),
    "a Slurm that does not believe us": (
        (*COMMANDS, "config"),
        ran(code=1, err="error: Munge encode failed: Failed to access socket"),
        "problem: hub01: Slurm does not believe this host (error: Munge encode failed: Failed to access socket)",
    ),
    "an old Slurm": (
        *slurm("config", "22.05.8", "19.05.2"),
        "problem: Slurm is 19.05.2; the oldest that this is known to work with is 22.05",
    ),
    "commands that are too new": (
        *slurm("version", "22.05.8", "24.11.5"),
        "problem: hub01 has commands of Slurm 24.11.5, newer than the controller's",
    ),
    "jobs are private": (
        *slurm("config", "PrivateData             = none", "PrivateData = jobs"),
        "warning: PrivateData has jobs: squeue shows the hub",
    ),
    "nodes are private": (
        *slurm("config", "PrivateData             = none", "PrivateData = accounts,nodes"),
        "warning: PrivateData has accounts, nodes: the session form can't tell",
    ),
    "a new Slurm": (
        *slurm("config", "22.05.8", "26.11.0"),
        "warning: Slurm is 26.11.0; the newest that this was tried",
    ),
    "another cluster": (
        *slurm("config", "ClusterName             = davide", "ClusterName = m100"),
        "problem: Slurm calls itself m100",
    ),
    "no accounting": (
        *slurm("config", "accounting_storage/slurmdbd", "accounting_storage/none"),
        "problem: Slurm keeps no accounting",
    ),
    "jobs are soon forgotten": (
        *slurm("config", "MinJobAge               = 300 sec", "MinJobAge = 10 sec"),
        "warning: MinJobAge is 10 s",
    ),
    "another partition": (
        *slurm("partitions", "dvd_usr_prod", "boost"),
        "problem: Slurm has no partition dvd_usr_prod; write one of boost in",
    ),
    "a partition that is down": (
        *slurm("partitions", "State=UP", "State=DOWN"),
        "problem: partition dvd_usr_prod is DOWN: scontrol update",
    ),
    "jobs from other hosts only": (
        *slurm("partitions", "AllocNodes=ALL", "AllocNodes=login[1-2]"),
        "problem: partition dvd_usr_prod takes jobs from login[1-2] "
        "only, and sessions are submitted on hub01: add it to AllocNodes",
    ),
    "other accounts only": (
        *slurm("partitions", "AllowAccounts=ALL", "AllowAccounts=fusion"),
        "problem: partition dvd_usr_prod does not take account tra26_davide: add it to AllowAccounts",
    ),
    "other groups only": (
        *slurm("partitions", "AllowGroups=ALL", "AllowGroups=staff"),
        "warning: partition dvd_usr_prod takes jobs of the groups staff",
    ),
    "root only": (
        *slurm("partitions", "RootOnly=NO", "RootOnly=YES"),
        "problem: partition dvd_usr_prod takes jobs of root only",
    ),
    "reservations only": (
        *slurm("partitions", "ReqResv=NO", "ReqResv=YES"),
        "problem: partition dvd_usr_prod takes jobs within a reservation only",
    ),
    "fewer hours": (
        *slurm("partitions", "MaxTime=08:00:00", "MaxTime=04:30:00"),
        "problem: partition dvd_usr_prod allows 4.5 hours, site.yml says 8",
    ),
    "more nodes": (
        *slurm("partitions", "gpu[01-02]", "gpu[01-09]"),
        "warning: partition dvd_usr_prod: Slurm has nodes that site.yml has not: gpu03",
    ),
    "less memory": (
        *slurm("nodes", "24576", "16000"),
        "problem: no node of dvd_usr_prod can ever hold profile "
        "four-gpus: it wants 16 cores, 24576 MB and 4 GPUs of type tesla",
    ),
    "other GPUs": (
        *slurm("nodes", "gpu:tesla:4", "gpu:v100:4(S:0-1)"),
        "problem: no node of dvd_usr_prod can ever hold profile one-gpu",
    ),
    "no limits": (
        (*COMMANDS, "config"),
        ran(SLURM["config"].replace("associations,limits,qos", "associations")),
        "warning: Slurm does not enforce limits: AccountingStorageEnforce is associations",
    ),
    "a plug-in that takes the mark": (
        ("hub01", "job", "shown", "out"),
        JOB.partition(" Comment=")[0] + " Comment=(null)\n",
        "problem: Slurm takes a job's comment and keeps (null): a job_submit plug-in of the site changes it",
    ),
    "a plug-in that moves jobs": (
        ("hub01", "job", "shown", "out"),
        JOB.replace("Partition=dvd_usr_prod", "Partition=other"),
        "warning: a session asks for Partition=dvd_usr_prod, and its job has Partition=other",
    ),
    "a plug-in that lets jobs run twice": (
        ("hub01", "job", "shown", "out"),
        JOB.replace("Requeue=0", "Requeue=1"),
        "problem: a session asks for Requeue=0, and its job has Requeue=1",
    ),
    "an account that admins may not use": (
        ("hub01", "job"),
        {
            "submitted": ran(
                code=1,
                err="sbatch: error: Batch job submission failed: Invalid account or account/partition combination",
            ),
            "shown": None,
        },
        "let the people of the site use it: sacctmgr add user NAME account=tra26_davide cluster=davide",
    ),
    "a job that stays": (
        ("hub01", "job", "cancelled"),
        ran(code=1, err="no"),
        "warning: job 12 of the preflight was not cancelled: scancel 12",
    ),
}
