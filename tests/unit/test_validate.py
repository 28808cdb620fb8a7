"""A bad inventory is refused by validate.yml before any host is touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ANSIBLE = Path(__file__).parents[2] / "ansible"

# What deploy.yml does, with a marker in place of the roles.
PLAYBOOK = f"""
- import_playbook: {ANSIBLE}/validate.yml
- hosts: hub01
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{{{{ lookup('ansible.builtin.env', 'MARKER') }}}}"
        content: touched
        mode: "0600"
"""


@pytest.fixture
def site(tmp_path):
    """Return a function that changes a copy of the local inventory, plays, and gives the output and the marker."""
    inventory = tmp_path / "inventory"
    shutil.copytree(ANSIBLE / "inventory/local", inventory)
    playbook = tmp_path / "play.yml"
    playbook.write_text(PLAYBOOK)

    def change(file: str, old: str, new: str) -> None:
        changed = inventory / file
        assert old in changed.read_text()
        changed.write_text(changed.read_text().replace(old, new))

    def play(file: str, old: str, new: str) -> tuple[int, str, bool]:
        change(file, old, new)
        marker = tmp_path / "marker"
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(tmp_path / "no.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "ansible"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "MARKER": str(marker),
        }
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        return result.returncode, result.stdout + result.stderr, marker.exists()

    play.change = change  # type: ignore[attr-defined]
    return play


SITE = "group_vars/all/site.yml"
FAR = "  broker: {host: ctl01, address: 192.0.2.11, port: 8443}\n  paths:\n"


def test_a_good_inventory_is_let_through(site):
    status, output, touched = site(SITE, "title: One GPU", "title: Another title")
    assert status == 0, output
    assert touched


def test_a_broker_on_another_host_is_let_through(site):
    site.change("hosts.yml", "    broker: {hosts: {hub01: {}}}", "    broker: {hosts: {ctl01: {}}}")
    status, output, touched = site(SITE, "  paths:\n", FAR)
    assert status == 0, output
    assert touched


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (SITE, "memory_gb: 6\n", "memory_gb: lots\n", "site.profiles[0].memory_gb: 'lots' is not a whole number"),
        (SITE, "[gpu01, gpu02]", "[gpu01, gpu09]", "host gpu09 stands in site.yml"),
        (SITE, "host: hub01", "host: gpu01", "group proxy has hub01, but site.hub.host is gpu01"),
        (SITE, "  paths:\n", FAR, "group broker has hub01, but site.broker.host is ctl01"),
        (SITE, "  paths:\n", FAR.replace("ctl01", "ctl09"), "host ctl09 stands in site.yml"),
        (
            "hosts.yml",
            "broker: {hosts: {hub01",
            "broker: {hosts: {ctl01",
            "group broker has ctl01, but site.hub.host is",
        ),
        ("hosts.yml", "    broker:", "    barker:", "group broker is missing or empty"),
    ],
)
def test_a_bad_inventory_is_refused_and_no_host_is_touched(site, file, old, new, sentence):
    status, output, touched = site(file, old, new)
    assert status != 0
    assert sentence in output
    assert not touched


LOGIN = """\
  login:
    kind: oidc
    title: University log-in
    issuer: https://login.example.org
    authorize_url: https://login.example.org/authorize
    token_url: https://login.example.org/token
    keys: https://login.example.org/keys
    client_id: davide-hub
    client_secret_file: /etc/davide-hub/oidc-client-secret
    claim: preferred_username
"""


def test_a_provider_of_log_ins_needs_the_hubs_secret_there(site):
    status, output, touched = site(SITE, "  group: davide #", f"{LOGIN}  group: davide #")
    assert status != 0
    assert "jupyterhub_oidc_client_secret is not set" in output
    assert "encrypt that file with ansible-vault" in output
    assert not touched
    secret = "accounts_gid: 6000\njupyterhub_oidc_client_secret: made-up-secret"
    status, output, touched = site("group_vars/all/accounts.yml", "accounts_gid: 6000", secret)
    assert status == 0, output
    assert touched
    assert "made-up-secret" not in output


def test_a_database_needs_the_hubs_password_there(site):
    facts = "  database: {host: 127.0.0.1, name: davide_hub, user: davide_hub}\n  group: davide #"
    status, output, touched = site(SITE, "  group: davide #", facts)
    assert status != 0
    assert "jupyterhub_database_password is not set" in output
    assert not touched
