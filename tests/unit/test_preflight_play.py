"""The play preflight.yml, with this machine as hub and as node: it goes on where all is right, and refuses else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from looked import LOCAL

ANSIBLE = LOCAL.parents[4]
HOSTS = """
all:
  vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
  hosts: {here: {}, node: {}, later: {}}
  children:
    session: {hosts: {here: {}}}
    broker: {hosts: {here: {}}}
    jupyterhub: {hosts: {here: {}}}
    preflight: {hosts: {node: {}}}
"""
PLAYBOOK = f"""
- import_playbook: {ANSIBLE}/preflight.yml
- hosts: later
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{{{{ lookup('ansible.builtin.env', 'MARKER') }}}}"
        content: touched
        mode: "0600"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def play(tmp_path):
    """Return a function that plays, with some facts about the hub: to status, problems, and whether it went on."""
    facts = yaml.safe_load(LOCAL.read_text())
    facts["site"]["paths"]["software"] = str(tmp_path / "software/davide")
    facts["site"]["slurm"]["node_addresses"] = ["127.0.0.1"]
    facts["site"]["hub"] |= {"host": "here", "address": "127.0.0.1", "port": free_port(), "api_port": free_port()}
    inventory = tmp_path / "inventory"
    (inventory / "group_vars/all").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(HOSTS)
    (tmp_path / "play.yml").write_text(PLAYBOOK)

    def play(*words: str, **hub: Any) -> tuple[int, list[str], bool]:
        facts["site"]["hub"] |= hub
        (inventory / "group_vars/all/site.yml").write_text(yaml.safe_dump(facts))
        marker, verdict = tmp_path / "marker", tmp_path / "verdict.json"
        environ = os.environ | {
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "ansible"),
            "MARKER": str(marker),
            "DAVIDE_PREFLIGHT": str(verdict),
        }
        made = ["--extra-vars", json.dumps({"preflight_made": ["slurm", "certificate"]})]
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [program, "-i", inventory, tmp_path / "play.yml", *made, *words]
        done = subprocess.run(
            command, env=environ, cwd=ANSIBLE, capture_output=True, text=True, check=False, timeout=120
        )
        findings = json.loads(verdict.read_text())["findings"] if verdict.exists() else []
        return done.returncode, [one["sentence"] for one in findings if one["level"] == "problem"], marker.exists()

    yield play


def test_where_all_is_right_the_next_play_begins_and_nothing_stays(play, tmp_path):
    assert play() == (0, [], True)
    assert not list(tmp_path.glob(".davide-preflight*")), "the file that was written for the other side"


def test_where_something_is_wrong_no_later_play_begins_on_any_host(play):
    status, problems, went_on = play(address="192.0.2.1")
    assert status != 0
    assert "here can't listen at 192.0.2.1:" in problems[0]
    assert not went_on


def test_it_is_left_out_where_only_some_hosts_are_played(play):
    assert play("--limit", "later,node", address="192.0.2.1") == (0, [], True)
