"""The demo accounts of the local cluster: random passwords, made once, readable by root only."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml

from davide_lab.place import STATE, inventory, read_json, write_atomically

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that people mistake for another when they type it
FILE = STATE / "accounts.json"


def make_accounts(root: Path) -> list[dict[str, str]]:
    """Give every demo account of the inventory a password unless it has one.

    Returns
    -------
    list
        Per account `name`, `role`, `password` and its `hash` for /etc/shadow.
    """
    known = {row["name"]: row for row in read_json(FILE).get("accounts", [])}
    rows = [known.get(facts["name"]) or new_account(facts) for facts in listed(root)]
    if rows != list(known.values()):
        write_atomically(FILE, json.dumps({"accounts": rows}, indent=1) + "\n", 0o600)
    return rows


def listed(root: Path) -> list[dict[str, Any]]:
    """Return the demo accounts that the inventory names."""
    facts: list[dict[str, Any]] = yaml.safe_load((inventory(root) / "group_vars/all/accounts.yml").read_text())[
        "accounts"
    ]
    return facts


def password() -> str:
    """Return a random password of 60 bits, in groups of four."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(3))


def new_account(facts: dict[str, Any]) -> dict[str, str]:
    """Return a demo account with a new password and its hash."""
    made = password()
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=made, capture_output=True, text=True, check=True
    )
    return {"name": facts["name"], "role": facts["role"], "password": made, "hash": hashed.stdout.strip()}
