"""Accounts for the load, on every host and in Slurm's accounting; gone after the run."""

from __future__ import annotations

import secrets
import subprocess

from bench.hosts import Lab, on

PREFIX = "bench"
_FIRST_UID = 7001
_FILES = "/var/lib/extrausers"


def names(count: int) -> list[str]:
    """Return the names of the first so many load users."""
    return [f"{PREFIX}{number:03d}" for number in range(1, count + 1)]


def make(lab: Lab, count: int) -> str:
    """Make accounts with homes, and let them use the site's Slurm account; return the password of all of them."""
    password = secrets.token_urlsafe(12)
    hashed = _hash(password)
    group = lab.site["group"]
    gid = on(lab.hub, f"getent group {group}").split(":")[2]
    accounts = list(enumerate(names(count), _FIRST_UID))
    people = "".join(f"{name}:x:{uid}:{gid}:load:/home/{name}:/bin/bash\n" for uid, name in accounts)
    for host in lab.all:
        known = hashed if host == lab.hub else "*"
        shadow = "".join(f"{name}:{known}:20000:0:99999:7:::\n" for _, name in accounts)
        on(host, f"cat >> {_FILES}/passwd", stdin=people)
        on(host, f"cat >> {_FILES}/shadow", stdin=shadow)
    homes = " ".join(f"/home/{name}" for _, name in accounts)
    on(lab.hub, f'for home in {homes}; do install -d -m 700 -o "${{home##*/}}" -g {gid} "$home"; done')
    account = lab.site["slurm"]["account"]
    on(lab.controller, f"sacctmgr --immediate --quiet add user {','.join(names(count))} account={account}")
    return password


def remove(lab: Lab) -> None:
    """Remove what `make` made, by this run or by one that was killed."""
    for host in lab.all:
        on(host, f"sed -i '/^{PREFIX}[0-9]\\{{3\\}}:/d' {_FILES}/passwd {_FILES}/shadow")
    on(lab.hub, f"rm -rf /home/{PREFIX}[0-9][0-9][0-9]")
    listed = on(lab.controller, "sacctmgr --noheader --parsable2 list users format=user").split()
    ours = [name for name in listed if name.startswith(PREFIX) and name[len(PREFIX) :].isdigit()]
    if ours:
        on(lab.controller, f"sacctmgr --immediate --quiet delete user {','.join(ours)}")


def _hash(password: str) -> str:
    command = ["openssl", "passwd", "-6", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()
