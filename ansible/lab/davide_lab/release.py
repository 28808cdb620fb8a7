"""`./davide deploy SITE` and `./davide rollback SITE`: one release to the next, and back, while sessions run.

The plays do it (ansible/release.yml, deploy.yml, rollback.yml); here stands in which order, and what follows when
something goes wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_lab.archive import MANIFEST, Archive, make_archive, read_archive, require_ours, usual_release
from davide_lab.bundle import is_local
from davide_lab.parts import tool
from davide_lab.place import release as release_of_hosts
from davide_lab.provision import ansible_environ
from davide_lab.run import held
from davide_lab.say import Problem, line, minutes, stage, step
from davide_lab.sites import inventory_of, preflight
from davide_lab.up import alone_where_local

HOST_BUNDLES = "/var/lib/davide-bundles"
STAGES = 5
# Of one check: what is wrong, as sentences.
Problems = dict[str, list[str]]


@dataclass(frozen=True)
class Plays:
    """The plays of a checkout on a site's hosts."""

    root: Path
    site: Path
    environ: dict[str, str]

    def run(self, playbook: str, *words: str, **more: str) -> bool:
        """Run a playbook, showing what it does; return whether it went well."""
        command = [tool("ansible-playbook"), "-i", str(self.site), playbook, *words]
        environ = {**os.environ, **self.environ, **more}
        return not subprocess.run(
            command,
            env=environ,
            cwd=self.root / "ansible",
            check=False,
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(held),
        ).returncode

    def health(self) -> Problems | None:
        """Return what the doctor finds wrong, by check; None where no hub is installed.

        Raises
        ------
        Problem
            If the hosts could not be asked.
        """
        with tempfile.TemporaryDirectory(prefix="davide-health-") as folder:
            if not self.run("release.yml", "--tags=health", DAVIDE_HEALTH=folder):
                raise Problem("the hosts could not be asked whether all is well, see the lines above")
            return problems_in([json.loads(path.read_text()) for path in sorted(Path(folder).iterdir())])


def problems_in(told: list[dict[str, Any]]) -> Problems | None:
    """Return the problems that doctors told; None where none is installed."""
    if not any(one["installed"] for one in told):
        return None
    found: Problems = {}
    for one in told:
        if not one["out"].startswith("{"):
            found.setdefault("doctor", []).append(f"the doctor came to no verdict: {one['error'][-500:].strip()}")
            continue
        for finding in json.loads(one["out"])["findings"]:
            if finding["level"] == "problem":
                found.setdefault(finding["check"], []).append(finding["sentence"])
    return found


def worse(before: Problems | None, after: Problems | None) -> list[str]:
    """Return what is wrong now in whatever was well before: what a release has to answer for."""
    if after is None:
        return ["there is no hub on the hub's host"]
    return [text for check, texts in after.items() if check not in (before or {}) for text in texts]


def plays_of(root: Path, site: Path, archive: Archive | None, scratch: Path) -> Plays:
    """Return the plays, told where the bundle is."""
    environ = {
        "ANSIBLE_CONFIG": str(root / "ansible" / "ansible.cfg"),
        # Groups of the local cluster are empty elsewhere.
        "ANSIBLE_HOST_PATTERN_MISMATCH": "ignore",
    }
    if is_local(root, site):
        environ |= ansible_environ(root, release_of_hosts())
    if archive:
        (scratch / MANIFEST).write_text(archive.text)
        environ |= {
            "DAVIDE_BUNDLE": str(scratch),
            "DAVIDE_ARCHIVE": str(archive.file.resolve()),
            "DAVIDE_ARCHIVE_IDENTITY": archive.identity,
            "DAVIDE_HOST_BUNDLE": f"{HOST_BUNDLES}/{archive.identity[:12]}",
        }
    return Plays(root, site, environ)


def deploy(root: Path, name: str, file: Path | None) -> int:
    """Bring a site to this checkout's release; back to the one before if it is not well then.

    Parameters
    ----------
    root
        The checkout.
    name
        The site: a folder of ansible/inventory, or the path of another.
    file
        A bundle that `./davide bundle` made; None makes one.

    Returns
    -------
    int
        0 if the site is at this release and as well as before.
    """
    site = inventory_of(root, name)
    start = time.monotonic()
    with alone_where_local(root, site), tempfile.TemporaryDirectory(prefix="davide-deploy-") as scratch:
        with stage(1, STAGES, "The bundle"):
            archive = read_archive(file) if file else make_archive(root, site, usual_release(root, site))
            require_ours(root, archive)
            step(archive.file.name)
        plays = plays_of(root, site, archive, Path(scratch))
        with stage(2, STAGES, "Looking at the hosts before anything is touched"):
            if preflight(root, name, as_json=False):
                return 1
            before = plays.health()
        with stage(3, STAGES, "Bringing the bundle, and keeping the release that there is"):
            called = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            if not plays.run("release.yml", "--tags=begin", DAVIDE_RELEASE=called):
                raise Problem("the release was not begun, see the lines above; the one that there is runs on")
        with stage(4, STAGES, "The plays"):
            played = plays.run("deploy.yml", "--skip-tags=preflight")
        with stage(5, STAGES, "Looking whether all is well, from a job too"):
            wrong = worse(before, plays.health()) if played else ["a play failed, see the lines above"]
        if not wrong and plays.run("release.yml", "--tags=end"):
            line(f"{site.name} is at release {called}, after {minutes(time.monotonic() - start)}.")
            return 0
        return undo(plays, before, wrong)


def undo(plays: Plays, before: Problems | None, wrong: list[str]) -> int:
    """Go back from a release that is not well; return 1."""
    for text in wrong:
        line(f"not well: {text}")
    if before is None:
        raise Problem(
            "the release is not well, and there was none before it; mend what is named above and deploy again"
        )
    line("Going back to the release before")
    if not plays.run("rollback.yml"):
        raise Problem("going back failed, see the lines above; mend that and run ./davide rollback SITE")
    left = worse(before, plays.health())
    for text in left:
        line(f"not well: {text}")
    line("The release was not well, and " + ("what is named above is still to mend." if left else "was taken back."))
    return 1


def rollback(root: Path, name: str) -> int:
    """Go back to the release before the latest deploy; return 0 if all is well then."""
    site = inventory_of(root, name)
    start = time.monotonic()
    with alone_where_local(root, site), tempfile.TemporaryDirectory(prefix="davide-rollback-") as scratch:
        plays = plays_of(root, site, None, Path(scratch))
        before = plays.health()
        if not plays.run("rollback.yml"):
            raise Problem("going back failed, see the lines above; mend that and run the same command again")
        wrong = worse(before, plays.health())
    for text in wrong:
        line(f"not well: {text}")
    line(f"{site.name} is back at the release before, after {minutes(time.monotonic() - start)}.")
    return int(bool(wrong))
