"""The preflight on the local cluster, judged as at a site that has its own Slurm: silent where all is right, and each
planted fault is told with its fix, before any role runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from davide_lab.place import inventory, release
from davide_lab.provision import ansible_environ
from support.cluster import ROOT, davide

# What is true of these hosts: nothing in Slurm bounds sessions, this machine's disk may be rather full, and no
# authority that browsers know vouches for *.localhost.
HARMLESS = {"limits", "room", "certificate"}


def preflight(playbook: str = "preflight.yml", **variables: Any) -> tuple[int, list[dict[str, str]], str]:
    """Run the play as at a site whose Slurm and certificate are its own; return status, findings and output."""
    program = Path(sys.executable).with_name("ansible-playbook")
    with tempfile.TemporaryDirectory(prefix="davide-test-") as scratch:
        verdict, more = Path(scratch) / "verdict.json", Path(scratch) / "variables.json"
        more.write_text(json.dumps({"preflight_made": []} | variables))
        environ = {**os.environ, **ansible_environ(ROOT, release()), "DAVIDE_PREFLIGHT": str(verdict)}
        done = subprocess.run(
            [program, "-i", inventory(ROOT), playbook, "--extra-vars", f"@{more}"],
            env=environ,
            cwd=ROOT / "ansible",
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert verdict.exists(), said
        return done.returncode, json.loads(verdict.read_text())["findings"], said


def sentences(**variables: Any) -> list[str]:
    """Return what the preflight must find wrong, as sentences; it refuses to go on exactly if there is something."""
    status, findings, said = preflight(**variables)
    problems = [one["sentence"] for one in findings if one["level"] == "problem"]
    assert (status != 0) is bool(problems), said
    return problems


@contextmanager
def planted(cluster, host: str, make: str, mend: str):
    """Make something wrong on a host, and mend it whatever happens."""
    try:
        cluster.output(host, make)
        yield
    finally:
        cluster.output(host, mend)


@pytest.fixture(autouse=True)
def in_service(cluster, wait_for):
    """Give the nodes back in service."""
    yield
    idle = "sinfo --noheader --Node --format=%t"
    wait_for(lambda: set(cluster.run("hub01", idle).stdout.split()) <= {"idle", "mix", "alloc"}, "the nodes", 90)


def test_a_healthy_cluster_is_let_through_and_nothing_stays_behind(cluster):
    look = "find /software /home -maxdepth 2 -name '.davide-preflight*'; squeue --noheader --name=davide-hub-preflight"
    status, findings, said = preflight()
    assert status == 0, said
    assert {one["check"] for one in findings} <= HARMLESS, findings
    assert cluster.output("hub01", look) == ""
    done = davide("preflight", "local", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("host", "make", "mend", "sentence"),
    [
        ("gpu01", "systemctl stop munge", "systemctl start munge", "gpu01: munge does not work"),
        (
            "gpu01",
            "cp -p /etc/munge/munge.key /root/munge.key; head -c 128 /dev/urandom > /etc/munge/munge.key; "
            "systemctl restart munge",
            "cp -p /root/munge.key /etc/munge/munge.key; rm /root/munge.key; systemctl restart munge slurmd",
            "does not believe munge of",
        ),
        (
            "gpu02",
            "sed -i 's/^admin01:x:6021:/admin01:x:7021:/' /var/lib/extrausers/passwd",
            "sed -i 's/^admin01:x:7021:/admin01:x:6021:/' /var/lib/extrausers/passwd",
            "admin01 is 6021:6000 on hub01 and 7021:6000 on gpu02",
        ),
        ("gpu02", "mount -t tmpfs none /software", "umount /software", "gpu02 does not see what hub01 writes to"),
        (
            "hub01",
            "nft add table inet test; nft 'add chain inet test output { type filter hook output priority 0; }'; "
            "nft add rule inet test output ip daddr 10.77.0.22 tcp dport 32768-60999 ct state new reject",
            "nft delete table inet test",
            "hub01 does not reach gpu02 at port",
        ),
        (
            "hub01",
            "cp -p /etc/davide-hub/front/site.key /etc/davide-hub/front/kept; "
            "cat /etc/davide-hub/tls/hub.key > /etc/davide-hub/front/site.key",
            "mv -f /etc/davide-hub/front/kept /etc/davide-hub/front/site.key",
            "/etc/davide-hub/front/site.key is not the key of /etc/davide-hub/front/site.crt",
        ),
        (
            "ctl01",
            "scontrol update PartitionName=dvd_usr_prod AllocNodes=ctl01",
            "scontrol update PartitionName=dvd_usr_prod AllocNodes=ALL",
            "partition dvd_usr_prod takes jobs from ctl01 only, and sessions are submitted on hub01",
        ),
        (
            "ctl01",
            "cp -p /etc/slurm/job_submit.lua /root/; sed -i 's/   "
            'return slurm.SUCCESS/   job_desc.comment = "none"\\n&/\' '
            "/etc/slurm/job_submit.lua; touch /etc/slurm/job_submit.lua",
            "cp -p /root/job_submit.lua /etc/slurm/; touch /etc/slurm/job_submit.lua; rm /root/job_submit.lua",
            "Slurm takes a job's comment and keeps none: a job_submit plug-in of the site changes it",
        ),
    ],
    ids=["dead munge", "munge key", "uid", "mount", "firewall", "certificate's key", "AllocNodes", "job_submit"],
)
def test_a_planted_fault_is_told_with_its_fix(cluster, host, make, mend, sentence):
    with planted(cluster, host, make, mend):
        found = sentences()
        assert any(sentence in one for one in found), found
        assert sentence in found[0], "the cause comes first"


def test_the_plays_do_not_begin_where_the_preflight_refuses(cluster):
    with planted(cluster, "gpu02", "mount -t tmpfs none /software", "umount /software"):
        status, _, said = preflight("deploy.yml")
        assert status != 0
        assert "Common parts of every host" not in said


def test_a_clock_that_is_wrong_is_told(cluster):
    """The hosts share this machine's clock: so the answer of one is told as if it came from another time."""
    from davide_hub.facts import load_site
    from davide_hub.health.judge_hosts import judge_clocks
    from davide_hub.health.plan import Scene, encoded

    look = (ROOT / "hub/davide_hub/health/look.py").read_text()
    scene = Scene("hub01", "hub01", "hub01", ("gpu01",))
    told = {}
    for host in scene.hosts:
        found = json.loads(cluster.output(host, f"python3 - {encoded({})}", given=look))
        told[host] = found | {"clock": [found["time"] - 1, found["time"] + 1]}
    assert list(judge_clocks(scene, told)) == []
    told["gpu01"]["time"] += 400
    (found,) = judge_clocks(scene, told)
    assert "gpu01's clock is at least 398 s ahead of hub01's" in found.sentence
    assert load_site(inventory(ROOT) / "group_vars/all/site.yml").hub.host == scene.hub
