"""What the preflight makes of what hosts tell: silence where all is right, else a sentence with the fix."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from davide_hub.cli import main
from davide_hub.facts import load_site
from davide_hub.health import look
from davide_hub.health.findings import ORDER, ordered, problem, warning
from davide_hub.health.judge import judge
from davide_hub.health.plan import Scene, asked, encoded, merged
from davide_hub.health.preflight import read_rounds
from davide_hub.questions import Outcome
from looked import AUTHORITY, GOOD, JOB, LOCAL, NOW, SCENE, SITE, SLURM, certificate, changed, ran

COMMANDS = ("hub01", "commands")
CLOCK = ("gpu01", "time")


def told(path: tuple[str, ...], value: Any, site: Any = SITE, scene: Scene = SCENE) -> list[str]:
    """Return what is found where one of the good answers is another."""
    return [f"{one.level}: {one.sentence}" for one in judge(site, scene, changed(path, value))]


def slurm(name: str, old: str, new: str) -> tuple[tuple[str, ...], Any]:
    """Return a change of one of Slurm's answers."""
    assert old in SLURM[name], old
    return (*COMMANDS, name), ran(SLURM[name].replace(old, new))


def test_where_all_is_right_nothing_is_told():
    assert judge(SITE, SCENE, GOOD) == []


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
    "no group": (("hub01", "accounts", "group"), None, ""),
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
        certificate("davide.localhost", "*.davide.localhost", days=9),
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
del BAD["no group"]  # told by a test of its own: None takes an answer away


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_is_wrong_is_told_with_its_fix(name):
    path, value, sentence = BAD[name]
    found = told(path, value)
    assert any(sentence in one for one in found), found
    assert all(": " in one and one.isprintable() for one in found)


def test_one_cause_is_told_once_and_nothing_beside_it():
    """A slip in one fact must not read like ten."""
    for name, (path, value, _) in BAD.items():
        found = told(path, value)
        # Another architecture, or GPUs of another type, concern what depends on them; no Slurm, no more of it.
        assert 1 <= len(found) <= (3 if name in ("other GPUs", "less memory", "another partition") else 2), (
            name,
            found,
        )


def test_a_group_that_nobody_knows_is_told():
    answers = changed(("hub01", "accounts", "numbers"), {})
    answers["hub01"]["accounts"]["group"] = None
    (found,) = judge(SITE, SCENE, answers)
    assert found.sentence.startswith("hub01 knows no group davide: set site.group")


def test_many_people_with_one_fault_are_one_sentence():
    """A node that asks another directory knows nobody: that is one thing to mend, not fifty."""
    answers = changed(("gpu01", "accounts", "numbers"), {})
    admin = answers["hub01"]["accounts"]["numbers"]["admin01"]
    people = [f"student{number:02d}" for number in range(1, 11)]
    answers["hub01"]["accounts"]["numbers"] |= dict.fromkeys(people, admin)
    answers["gpu01"]["accounts"]["numbers"] = dict.fromkeys(people)
    (found,) = judge(SITE, SCENE, answers)
    assert found.sentence.startswith("gpu01 knows no account student01, student02, student03 and 7 more, hub01 does")


def test_somebody_without_a_home_yet_is_no_missing_mount():
    answers = changed(("gpu01", "accounts", "numbers"), {})
    numbers = answers["hub01"]["accounts"]["numbers"]
    numbers["new"] = numbers["admin01"] | {"home": {"path": "/home/new", "why": "No such file or directory"}}
    (found,) = judge(SITE, SCENE, answers)
    assert (found.level, "/home/new" in found.sentence) == ("warning", True)
    numbers["admin01"]["home"] = numbers["new"]["home"]
    (found,) = judge(SITE, SCENE, answers)
    assert (found.level, found.sentence.endswith("mount the homes there")) == ("problem", True)


def test_a_hub_that_is_there_already_may_be_what_is_to_be_mended():
    """The plays bring the firewall's rules back: a preflight that refuses them would keep the fault for ever."""
    answers = changed(("gpu01", "called"), {"10.77.0.10:8081": {"heard": False, "from": "", "why": "refused"}})
    answers["hub01"]["listening"]["10.77.0.10:8081"]["by"] = "others"
    assert [one.level for one in judge(SITE, SCENE, answers)] == ["warning"]


def test_names_that_lead_nowhere_or_apart_are_told(tmp_path):
    path = tmp_path / "site.yml"
    path.write_text(LOCAL.read_text().replace("https://davide.localhost:8000 #", "https://jupyter.example.org:8000 #"))
    site = load_site(path)
    names = {"jupyter.example.org": ["192.0.2.1"], "davide-hub-check.jupyter.example.org": ["192.0.2.1"]}
    text = certificate("jupyter.example.org", "*.jupyter.example.org")
    answers = changed(("hub01", "certificate", "text"), text)

    def found(names: dict[str, list[str]]) -> list[str]:
        answers["hub01"]["names"] = names
        return [one.sentence for one in judge(site, SCENE, answers)]

    assert found(names) == []
    (sentence,) = found(names | {"davide-hub-check.jupyter.example.org": []})
    assert "add *.jupyter.example.org to DNS, or write site.origins: shared" in sentence
    (sentence,) = found(names | {"davide-hub-check.jupyter.example.org": ["192.0.2.9"]})
    assert sentence.startswith("*.jupyter.example.org leads to 192.0.2.9, and jupyter.example.org to 192.0.2.1")
    assert found({key: [] for key in names})[0].startswith("nobody knows the name jupyter.example.org")


def test_a_site_whose_nodes_are_of_another_architecture_than_its_builder_is_told():
    partition = SITE.slurm.partitions[0].model_copy(update={"architecture": "ppc64le"})
    site = SITE.model_copy(update={"slurm": SITE.slurm.model_copy(update={"partitions": (partition,)})})
    (sentence,) = told(CLOCK, NOW, site)
    assert "hub01 is x86_64 and builds the session environment for nodes that are ppc64le" in sentence


def test_without_a_node_to_look_from_that_is_told():
    answers = {"hub01": changed(("hub01", "decoded"), None)["hub01"]}
    (found,) = judge(SITE, replace(SCENE, nodes=()), answers)
    assert (found.level, found.check) == ("warning", "reach")


def test_causes_come_before_what_follows_from_them():
    found = ordered([warning("room", "w"), problem("slurm", "s"), problem("munge", "m"), problem("slurm", "s")])
    assert [one.sentence for one in found] == ["m", "s", "w"]
    assert ORDER.index("room") < ORDER.index("munge") < ORDER.index("slurm") < ORDER.index("sessions")


def test_what_the_plays_set_up_themselves_is_not_asked_before():
    plan = asked(SITE, replace(SCENE, made=frozenset({"slurm", "certificate"})), 1, {})
    assert set(plan["hub01"]) == {"room", "written", "listening", "called", "commands"}
    assert set(plan["hub01"]["commands"]) == {"front"}
    full = asked(SITE, SCENE, 1, {})
    assert {"job", "accounts", "encoded", "certificate"} < set(full["hub01"])
    assert set(full["gpu01"]) == set()


def test_later_rounds_ask_about_what_earlier_ones_left():
    first = {"hub01": GOOD["hub01"]}
    second = asked(SITE, SCENE, 2, first)
    assert second["gpu01"]["read"] == "/software/davide/.davide-preflight-1"
    assert second["gpu01"]["decoded"] == {"hub01": "MUNGE:abc:"}
    assert second["gpu01"]["accounts"] == {"names": ["admin01"]}
    third = asked(SITE, SCENE, 3, GOOD)
    assert third["hub01"]["called"] == [["gpu01", 40001], ["gpu02", 40002]]
    assert third["hub01"]["removed"] == "/software/davide/.davide-preflight-1"
    assert third["hub01"]["ended"] == 7


def test_rounds_are_put_together():
    one, two = {"a": {"time": 1, "called": {"x": 1}}}, {"a": {"time": 2, "called": {"y": 2}, "read": "w"}}
    assert merged([one, two]) == {"a": {"time": 1, "called": {"x": 1, "y": 2}, "read": "w"}}


def test_a_host_without_an_answer_is_one_with_a_reason():
    results = {
        "good": {"stdout": json.dumps({"time": 5})},
        "gone": {"unreachable": True, "msg": "Failed to connect: No route to host"},
        "bare": {"stdout": "", "stderr": "/usr/bin/python3: not found\n"},
        "odd": {"stdout": "Welcome!"},
    }
    found = read_rounds([{"before": 4, "after": 6, "results": results}])
    assert found["good"] == {"time": 5, "clock": [4.0, 6.0]}
    assert found["gone"]["why"] == "Failed to connect: No route to host"
    assert found["bare"]["why"] == "/usr/bin/python3: not found"
    assert found["odd"]["why"] == "it gave no answer"


def test_the_verb_says_problems_and_its_status_does_too(monkeypatch, capsys, tmp_path):
    def verb(answers: dict[str, Any], *words: str) -> tuple[int, str]:
        results = {host: {"stdout": json.dumps(one)} for host, one in answers.items()}
        rounds = tmp_path / "rounds.json"
        rounds.write_text(json.dumps([{"before": NOW - 1, "after": NOW + 1, "results": results}]))
        scene = json.dumps({"session": "hub01", "nodes": ["gpu01", "gpu02"], "made": []})
        with rounds.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = main(["preflight", "judge", *words, "--site", str(LOCAL), "--scene", scene])
        said = capsys.readouterr()
        return status, said.out + said.err

    assert verb(GOOD) == (0, "all is right\n")
    bad = changed(("hub01", "room", "/opt/davide", "free_gb"), 0.1)
    assert verb(bad) == (
        1,
        "problem: hub01:/opt/davide has 0.1 GB free, 2 are needed: make room, or mount a larger disk\n",
    )
    status, said = verb(bad, "--json")
    assert (status, json.loads(said)["ok"], json.loads(said)["findings"][0]["check"]) == (1, False, "room")


def program(**plan: Any) -> dict[str, Any]:
    """Run the program that looks, as it runs on a host."""
    command = ["/usr/bin/python3", "-I", look.__file__, encoded(plan)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)


def test_the_program_needs_nothing_but_python_and_looks_at_this_host(tmp_path):
    found = program(
        room=[str(tmp_path / "not/there")],
        written={"folder": str(tmp_path / "not/there"), "name": "probe", "word": "abc"},
        accounts={"names": ["root", "nosuch"], "group": "nosuch"},
        commands={"good": {"argv": ["echo", "word"]}, "none": {"argv": ["nosuch-command"]}},
        names=["127.0.0.1"],
    )
    assert found["room"][str(tmp_path / "not/there")]["at"] == str(tmp_path)
    assert found["written"] == {"path": str(tmp_path / "probe"), "word": "abc", "why": ""}
    assert (found["accounts"]["group"], found["accounts"]["numbers"]["nosuch"]) == (None, None)
    assert found["accounts"]["numbers"]["root"]["uid"] == 0
    assert found["commands"]["good"] == {"code": 0, "out": "word\n", "err": ""}
    assert found["commands"]["none"]["code"] == -1
    assert found["names"] == {"127.0.0.1": ["127.0.0.1"]}
    again = program(read=found["written"]["path"], removed=found["written"]["path"])
    assert again["read"] == {"word": "abc", "why": ""}
    assert list(tmp_path.iterdir()) == []


def test_the_program_listens_where_nobody_does_until_it_is_ended():
    first = program(listening=[["127.0.0.1", 0], ["192.0.2.1", 80]])["listening"]
    port = first["127.0.0.1:0"]["port"]
    assert first["192.0.2.1:80"]["by"] == "nobody"
    try:
        assert program(called=[["127.0.0.1", port]])["called"][f"127.0.0.1:{port}"]["heard"]
        assert program(listening=[["127.0.0.1", port]])["listening"][f"127.0.0.1:{port}"]["by"] == "others"
    finally:
        assert program(ended=first["process"]["id"])["ended"] == {"why": ""}
    with pytest.raises(ConnectionRefusedError):
        for _ in range(100):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_the_program_tells_whether_a_key_is_a_certificates(tmp_path):
    AUTHORITY.write(tmp_path, "one")
    pair = {"certificate": str(tmp_path / "one.crt"), "key": str(tmp_path / "one.key")}
    assert program(certificate=pair)["certificate"]["key"] == "good"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pair["key"]], check=True)
    assert program(certificate=pair)["certificate"]["key"] == "KEY_VALUES_MISMATCH"
    Path(pair["key"]).unlink()
    assert program(certificate=pair)["certificate"]["why"] == f"{pair['key']}: No such file or directory"


def test_the_program_is_one_that_python_36_reads():
    """RHEL 8's own Python: compute nodes have it, whatever the hub has."""
    import ast

    ast.parse(Path(look.__file__).read_text(), feature_version=(3, 6))


def test_a_plan_passes_a_shell_as_one_word():
    word = encoded({"names": ["$(id); '\""]})
    assert json.loads(base64.b64decode(word)) == {"names": ["$(id); '\""]}
    assert set(word) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


def test_answers_of_commands_are_what_the_rest_of_the_hub_knows():
    from davide_hub.health.judge_slurm import outcomes

    assert outcomes({"x": ran("out", 1, "err")}) == {"x": Outcome(1, "out", "err")}
