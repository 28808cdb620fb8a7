"""The doctor on the local cluster: silent where all is right, and of each planted fault it tells the cause first."""

from __future__ import annotations

import json
import shlex

import pytest
from support.proxy import proxy_api
from support.web import request

DOCTOR = "/opt/davide/envs/hub/bin/davide-hub doctor --json"
# What is true of these hosts: nothing in Slurm bounds sessions, this machine's disk may be rather full, and no
# authority that browsers know vouches for *.localhost.
HARMLESS = {"limits", "room", "certificate"}
EXPIRED = """
from datetime import timedelta
from pathlib import Path
from cryptography import x509
from davide_hub.certificates import Pair, sign
folder = Path("/etc/davide-hub/front")
names = [x509.DNSName(name) for name in ("davide.localhost", "*.davide.localhost")]
signed = sign(Pair.read(folder, "authority"), "expired", names, timedelta(days=-1) + timedelta(hours=12))
(folder / "site.crt").write_text(signed.certificate_text)
(folder / "site.key").write_text(signed.key_text)
"""
NFT = (
    "nft add table inet test; nft 'add chain inet test {hook} {{ type "
    "filter hook {hook} priority -5; }}'; nft add rule inet test "
)


def doctor(cluster, *words: str) -> tuple[int, list[str]]:
    """Return the doctor's status, and its problems."""
    done = cluster.run("hub01", " ".join((DOCTOR, *words)), timeout=240)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, [one["sentence"] for one in findings if one["level"] == "problem"]


@pytest.fixture(autouse=True)
def in_service(cluster, wait_for):
    """Take the cluster in service, and give it back so."""

    def serves():
        states = cluster.run("hub01", "sinfo --noheader --Node --format=%t").stdout.split()
        health = request("GET", f"{cluster.hub_url}/hub/health", timeout=30)
        return set(states) <= {"idle", "mix", "alloc"} and health.status_code == 200

    wait_for(serves, "all nodes and the hub to be in service", 150)
    yield
    wait_for(serves, "all nodes and the hub to be in service", 150)


def test_a_healthy_cluster_is_told_to_be_and_nothing_stays_behind(cluster):
    done = cluster.run("hub01", DOCTOR, timeout=240)
    findings = json.loads(done.stdout)["findings"]
    assert {one["check"] for one in findings if one["level"] == "warning"} <= HARMLESS, findings
    assert [one for one in findings if one["level"] == "problem"] == []
    assert done.returncode in (0, 1)
    ignored = " ".join(f"--ignore {check}" for check in HARMLESS)
    assert cluster.run("hub01", f"{DOCTOR} {ignored}", timeout=240).returncode == 0
    look = (
        "find /software /tmp -maxdepth 2 -name '.davide-doctor*'; squeue "
        "--noheader --name=davide-hub-doctor,davide-hub-preflight"
    )
    assert cluster.output("hub01", look) == ""


FAULTS = {
    "dead hub": (
        "hub01",
        "systemctl stop jupyterhub",
        "systemctl start jupyterhub",
        "jupyterhub is not running (inactive",
    ),
    "dead broker": (
        "hub01",
        "systemctl stop davide-broker",
        "systemctl start davide-broker",
        "davide-broker is not running",
    ),
    "dead proxy": (
        "hub01",
        "systemctl stop jupyterhub-proxy",
        "systemctl start jupyterhub-proxy",
        "jupyterhub-proxy is not running",
    ),
    "dead munge": ("hub01", "systemctl stop munge", "systemctl start munge", "hub01: munge does not work"),
    "flushed firewall": (
        "hub01",
        "nft delete table inet davide_hub",
        "systemctl restart davide-firewall",
        "the table inet davide_hub is not in the kernel",
    ),
    "firewall before the hub": (
        "hub01",
        NFT.format(hook="input") + "input ip saddr '{ 10.77.0.21, 10.77.0.22 }' tcp dport 8081 reject with tcp reset",
        "nft delete table inet test",
        "does not reach the hub at 10.77.0.10:8081",
    ),
    "firewall before the nodes": (
        "hub01",
        NFT.format(hook="output")
        + "output ip daddr '{ 10.77.0.21, 10.77.0.22 }' tcp dport 32768-60999 ct state new reject with tcp reset",
        "nft delete table inet test",
        "one of those that sessions listen at",
    ),
    "full disk": ("hub01", "mount -t tmpfs -o size=1m none /tmp", "umount /tmp", "hub01:/tmp has 0 GB free"),
    "expired certificate": (
        "hub01",
        "cp -a /etc/davide-hub/front /root/front; /opt/davide/envs/hub/bin/python -c " + shlex.quote(EXPIRED),
        "cat /root/front/site.crt > /etc/davide-hub/front/site.crt; cat "
        "/root/front/site.key > /etc/davide-hub/front/site.key; rm -r /root/front",
        "/etc/davide-hub/front/site.crt ended on",
    ),
    "kernel without its environment": (
        "hub01",
        "mv /software/davide/envs/kernel-tf-cpu /software/davide/envs/.kept",
        "mv /software/davide/envs/.kept /software/davide/envs/kernel-tf-cpu",
        "kernel tf-cpu lacks /software/davide/envs/kernel-tf-cpu/bin/python",
    ),
    "dead front": (
        "hub01",
        "systemctl stop davide-front",
        "systemctl start davide-front",
        "davide-front is not running",
    ),
    "another munge key": (
        "hub01",
        "cp -p /etc/munge/munge.key /root/munge.key; head -c 128 /dev/urandom > /etc/munge/munge.key; "
        "systemctl restart munge",
        "cp -p /root/munge.key /etc/munge/munge.key; rm /root/munge.key; systemctl restart munge",
        "hub01: Slurm does not believe this host",
    ),
    "another token": (
        "hub01",
        "cp -p /etc/davide-hub/proxy.env /root/proxy.env; echo "
        "CONFIGPROXY_AUTH_TOKEN=other > /etc/davide-hub/proxy.env",
        "cp -p /root/proxy.env /etc/davide-hub/proxy.env; rm /root/proxy.env",
        "the proxy does not take the token of /etc/davide-hub/proxy.env",
    ),
    "no node in service": (
        "ctl01",
        # Not down: one that answers, Slurm takes back by itself.
        "scontrol update NodeName=gpu01,gpu02 State=DRAIN Reason=test",
        "scontrol update NodeName=gpu01,gpu02 State=RESUME",
        "partition dvd_usr_prod has no node in service",
    ),
    "a plug-in that takes the mark": (
        "ctl01",
        "cp -p /etc/slurm/job_submit.lua /root/; sed -i "
        "'s/   return slurm.SUCCESS/   job_desc.comment = \"none\"\\n&/' /etc/slurm/job_submit.lua",
        "cp -p /root/job_submit.lua /etc/slurm/; touch /etc/slurm/job_submit.lua; rm /root/job_submit.lua",
        "Slurm takes a job's comment and keeps none",
    ),
    "jobs from another host only": (
        "ctl01",
        "scontrol update PartitionName=dvd_usr_prod AllocNodes=ctl01",
        "scontrol update PartitionName=dvd_usr_prod AllocNodes=ALL",
        "partition dvd_usr_prod takes jobs from ctl01 only",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_of_a_planted_fault_comes_first(cluster, name):
    host, make, mend, sentence = FAULTS[name]
    try:
        cluster.output(host, make)
        status, found = doctor(cluster)
        assert status == 2
        assert sentence in found[0], found
    finally:
        cluster.output(host, mend)


@pytest.mark.parametrize(
    ("make", "mend", "sentence"),
    [
        ("mount -t tmpfs none /software", "umount /software", "is the software folder mounted there"),
        (
            "sed -i 's/^admin01:x:6021:6000:/admin01:x:6021:6001:/' /var/lib/extrausers/passwd",
            "sed -i 's/^admin01:x:6021:6001:/admin01:x:6021:6000:/' /var/lib/extrausers/passwd",
            "admin01 is 6021:6000 on hub01 and 6021:6001 on gpu0",
        ),
    ],
    ids=["mount", "group"],
)
def test_what_is_wrong_on_the_nodes_is_seen_from_a_job(cluster, make, mend, sentence):
    try:
        for node in ("gpu01", "gpu02"):
            cluster.output(node, make)
        status, found = doctor(cluster)
        assert status == 2
        assert sentence in found[0], found
        assert doctor(cluster, "--no-job")[1] == [], "from the hub's host it can't be seen"
    finally:
        for node in ("gpu01", "gpu02"):
            cluster.output(node, mend)


def test_a_route_to_no_session_is_told(cluster):
    path = "/davide.localhost/stale"
    proxy_api(cluster, "POST", path, json.dumps({"target": "https://gpu01.0123456789abcdef.sessions.internal:1"}))
    try:
        status, found = doctor(cluster, "--no-job")
    finally:
        proxy_api(cluster, "DELETE", path)
    assert (status, len(found)) == (2, 1)
    assert f"the proxy leads {path} to gpu01:1, where no session is any more" in found[0]


def test_a_marked_job_that_no_session_knows_is_told(cluster):
    """Its mark is forged, so the hub never takes it up: an orphan for as long as it runs."""
    hub = json.loads(cluster.output("hub01", "cat /var/lib/davide-broker/mark.json"))["hub"]
    mark = f"davide-hub:{hub}:0123456789abcdef:{32 * '0'}"
    submit = f"sbatch --parsable -A tra26_davide --mem=100M --output=/dev/null --comment={mark} --wrap='sleep 300'"
    job = cluster.as_user("student03", submit).stdout.strip()
    try:
        status, found = doctor(cluster, "--no-job")
    finally:
        cluster.as_user("student03", f"scancel {job}")
    assert (status, len(found)) == (2, 1)
    assert f"job {job} of student03 is marked as a session of this hub" in found[0]
