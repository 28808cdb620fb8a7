"""Sites beside the local cluster: their inventories, and `./davide check SITE` for one's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from davide_hub.facts import load_site
from davide_lab import sites
from davide_lab.say import Problem

TOP = Path(__file__).parents[2]
INVENTORY = TOP / "ansible/inventory"
sys.path.insert(0, str(TOP / "ansible/inventory_plugins"))
from davide_site import groups_of  # noqa: E402


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a copy of the folder to copy, and leave the linter out: it looks at the whole project anyway."""
    monkeypatch.setattr(sites, "_lint", lambda *_: subprocess.CompletedProcess([], 0, "", ""))
    return Path(shutil.copytree(INVENTORY / "leonardo", tmp_path / "own"))


def edit(folder: Path, old: str, new: str) -> None:
    facts = sites.facts_of(folder)
    text = facts.read_text()
    assert text.count(old) == 1, old
    facts.write_text(text.replace(old, new))


def test_davide_is_what_its_users_wrote_down():
    site = load_site(INVENTORY / "davide/group_vars/all/site.yml")
    (partition,) = site.slurm.partitions
    assert (partition.name, partition.gpu_model, partition.gpus, partition.architecture) == (
        "dvd_usr_prod",
        "p100",
        4,
        "ppc64le",
    )
    assert partition.node_names[0::44] == ["davide01", "davide45"]


def test_leonardo_logs_in_by_openid_connect_to_a100s():
    site = load_site(INVENTORY / "leonardo/group_vars/all/site.yml")
    assert site.login.kind == "oidc"
    assert {(one.gpu_model, one.architecture) for one in site.slurm.partitions} == {("a100", "x86_64")}


@pytest.mark.parametrize("site", ["davide", "leonardo"])
def test_what_is_made_up_is_marked(site):
    """An address or a name that no one published must not pass for one that somebody did."""
    rows = sites.facts_of(INVENTORY / site).read_text().splitlines()
    made_up = [row for row in rows if ("example.org" in row or "192.0.2." in row) and not row.lstrip().startswith("#")]
    unmarked = [row for row in made_up if "# reconstructed" not in row]
    # The provider's addresses and the users' names are marked by the line above them.
    assert all("sso.example.org" in row or "origins:" in row for row in unmarked), unmarked
    assert made_up


def test_the_folder_to_copy_is_good_and_names_what_is_not_yours_yet(own, capsys):
    assert sites.check_site(TOP, str(own)) == 0
    told = capsys.readouterr().out
    assert "site facts: all right" in told
    assert "made up, not yours, is what lines" in told
    assert "jupyterhub_oidc_client_secret" in told
    assert told.rstrip().endswith("all right")


def test_a_database_needs_a_password_that_is_not_there_yet(own):
    facts = "site:\n  database: {host: 127.0.0.1, name: davide_hub, user: davide_hub}\n"
    edit(own, "site:\n", facts)
    assert "jupyterhub_oidc_client_secret and jupyterhub_database_password there" in "".join(sites._notes(own))


def test_a_wrong_fact_is_told_with_its_key_and_nothing_else_is_tried(own, capsys):
    edit(own, "      memory_gb: 480\n", "      memory_gb: 999\n")
    assert sites.check_site(TOP, str(own)) == 1
    told = capsys.readouterr().out
    assert "site.profiles[1].memory_gb: 999 is more than the 482 gigabytes of a node" in told
    assert "the plays" not in told


def test_hosts_that_disagree_with_the_facts_are_told(own, capsys):
    shutil.copy(INVENTORY / "davide/hosts.yml", own / "hosts.yml")
    assert sites.check_site(TOP, str(own)) == 1
    told = capsys.readouterr().out
    assert "hosts and groups: not right" in told
    assert "host lrdnhub stands in site.yml" in told


def test_an_unknown_site_names_the_known_ones_and_how_to_begin():
    with pytest.raises(Problem, match="no site 'nowhere'; there are davide, leonardo, local; to begin one: cp -r"):
        sites.inventory_of(TOP, "nowhere")


def test_hosts_follow_from_the_facts():
    site = {
        "hub": {"host": "hub"},
        "broker": {"host": "login"},
        "slurm": {"partitions": [{"nodes": ["gpu[03-09]"]}, {"nodes": ["gpu03"]}, {"nodes": ["fat1", "fat2"]}]},
    }
    groups = groups_of(site)
    assert groups["broker"] == ["login"]
    assert groups["jupyterhub"] == groups["session"] == ["hub"]
    assert groups["preflight"] == ["gpu03", "fat1"]
    assert groups_of(site | {"broker": None})["broker"] == ["hub"]
