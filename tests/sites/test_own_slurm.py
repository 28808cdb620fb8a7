"""A cluster that has Slurm already: nothing of it is touched by the plays of production, on any host.

Long form: `./davide test --long own-slurm`. The hub's host is made anew; the local cluster's own roles give it what a
site's administrators would (packages, accounts, Slurm's client), and the rest comes with an inventory without them.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path

import yaml
from davide_lab.place import inventory
from davide_lab.up import keep_authority
from faults.people import Person
from faults.target import Target
from support.cluster import ROOT, Cluster, davide
from support.plays import play

HUB, CONTROLLER, NODES = "hub01", "ctl01", ("gpu01", "gpu02")
HOSTS = (HUB, CONTROLLER, *NODES)
OF_THE_SITE = ("common", "accounts", "slurm", "slurm_controller", "slurm_node")
USER = "student07"
# All that Slurm's and munge's packages brought, what was written beside it, and the units as they run: with owner,
# mode and content. What they write by themselves while they run is left out (spool, logs, seeds).
LOOK = r"""
list=$(mktemp)
{ dpkg-query --show --showformat='${Package}\n' '*slurm*' '*munge*' | xargs dpkg --listfiles 2> /dev/null
  find /etc/slurm /etc/munge /etc/mysql /etc/systemd/system -name '*davide*' -prune -o -name 'jupyterhub*' -prune -o \
    -name 'nginx*' -prune -o -type f -print 2> /dev/null
} | sort --unique | grep --invert-match '^/var/' | while read -r path; do
  [ ! -f "$path" ] || printf '%s\n' "$path"
done > $list
xargs --delimiter='\n' stat --format='%n %a %U:%G %s %Y' < $list
xargs --delimiter='\n' sha256sum < $list
rm $list
for folder in /etc/slurm /etc/munge /etc/mysql; do [ ! -d $folder ] || stat --format='%n %a %U:%G' $folder; done
systemctl show --property=Id,MainPID,ActiveEnterTimestampMonotonic,FragmentPath,DropInPaths,UnitFileState \
  munge slurmctld slurmdbd slurmd mariadb
"""


def fingerprint(cluster: Cluster, host: str) -> list[str]:
    """Return what there is of Slurm on a host."""
    lines = cluster.output(host, LOOK, timeout=120).splitlines()
    assert any(line.startswith("/etc/slurm/slurm.conf ") for line in lines), f"{host} has no Slurm"
    assert any(line.startswith("/etc/munge/munge.key 400 munge") for line in lines), f"{host} has no key"
    return lines


def with_a_slurm_of_its_own(folder: Path) -> Path:
    """Write the inventory of a site that has Slurm and accounts: without the groups of the local cluster's roles."""
    shutil.copytree(inventory(ROOT), folder)
    hosts = yaml.safe_load((folder / "hosts.yml").read_text())
    for name in OF_THE_SITE:
        del hosts["all"]["children"][name]
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    return folder


@contextmanager
def given_back(cluster: Cluster):
    """Leave the cluster as `./davide up` makes it."""
    try:
        yield
    finally:
        cluster.run(CONTROLLER, f"scancel --user {USER}")
        done = davide("up")
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_a_sites_own_slurm_is_touched(cluster, wait_for, tmp_path):
    with given_back(cluster):
        for action in ("destroy", "boot"):
            assert davide("host", action, HUB).returncode == 0
        made = play("--tags", ",".join(OF_THE_SITE))
        assert made.returncode == 0, made.stdout[-3000:]
        assert cluster.run(HUB, "test -e /etc/davide-hub").returncode != 0, "the hub is here already"
        before = {host: fingerprint(cluster, host) for host in HOSTS}

        done = play(folder=with_a_slurm_of_its_own(tmp_path / "inventory"), timeout=500)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        assert "PLAY [JupyterHub]" in done.stdout
        assert {host: fingerprint(cluster, host) for host in HOSTS} == before

        cluster.output(NODES[0], "echo '# by the test' >> /etc/slurm/cgroup.conf")
        try:
            assert fingerprint(cluster, NODES[0]) != before[NODES[0]], "a change would not be seen"
        finally:
            cluster.output(NODES[0], "sed -i '/# by the test/d' /etc/slurm/cgroup.conf")

        keep_authority(ROOT)
        person = Person(USER, cluster.password(USER), Target("ours", cluster.hub_url))
        person.start()
        person.wait_until_ready()
        person.begin_counting()
        wait_for(person.counts_on, "the kernel to count")
        person.stop()
        wait_for(person.is_stopped, "the end of the session", 60)
