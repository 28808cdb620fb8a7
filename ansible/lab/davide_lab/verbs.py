"""What each verb of `./davide` does, as far as it is more than one call."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from davide_lab import archive, cgroups, network, parts, relay, release, sites
from davide_lab import host as hosts_
from davide_lab import up as cluster
from davide_lab.accounts import FILE as ACCOUNTS
from davide_lab.base import is_root
from davide_lab.place import AUTHORITY, RELEASES, Host, hosts, read_json, site_facts
from davide_lab.run import run
from davide_lab.say import Problem, line, step
from davide_lab.toolbox import uv_environ

Options = argparse.Namespace
HOST_ACTIONS: dict[str, Callable[[Host], None]] = {
    "stop": hosts_.stop,
    "crash": hosts_.crash,
    "cut": network.cut,
    "mend": network.mend,
    "freeze": lambda one: cgroups.freeze(one, frozen=True),
    "thaw": lambda one: cgroups.freeze(one, frozen=False),
    "destroy": hosts_.destroy,
    "reboot": hosts_.reboot,
}


def up(root: Path, options: Options) -> None:
    """Bring the local cluster up."""
    cluster.up(root, options.release, options.verbose)


def down(root: Path, options: Options) -> None:
    """Shut the local cluster down."""
    cluster.down(root, purge=options.purge)


def status(root: Path, options: Options) -> None:
    """Show the local cluster, for a person or as JSON."""
    shown = describe(root)
    if options.json:
        line(json.dumps(shown, indent=1))
        return
    line(f"{site_facts(root)['name']}: {shown['state']}")
    line(f"  {shown['hub_url']}")
    for row in shown["hosts"]:
        line(f"  {row['name']:<8} {row['address']:<12} {row['role']:<11} {row['state']}")
    for row in shown["accounts"]:
        line(f"  {row['name']:<10} {row['password']}   {row['role']}")
    if not is_root():
        line("  (run as root to see states and passwords)")


def describe(root: Path) -> dict[str, Any]:
    """Return the state of the local cluster as plain data.

    Returns
    -------
    dict
        `hub_url`; `authority`: the file of what vouches for its certificate; `state`: up, down or partial;
        `accounts`: name, password, role; `hosts`: name, address, role, state.
    """
    rows = [
        {"name": one.name, "address": one.address, "role": one.role, "state": hosts_.state(one)} for one in hosts(root)
    ]
    running = [row["state"] == "running" for row in rows]
    state = "up" if all(running) and relay.is_running() else "partial" if any(running) else "down"
    known = read_json(ACCOUNTS).get("accounts", []) if is_root() else []
    accounts = [{key: row[key] for key in ("name", "password", "role")} for row in known]
    return {
        "hub_url": site_facts(root)["public_url"],
        "authority": str(AUTHORITY),
        "state": state,
        "accounts": accounts,
        "hosts": rows,
    }


def ssh(root: Path, options: Options) -> int:
    """Replace this process by ssh to a host."""
    one = find(root, options.host)
    if not hosts_.is_running(one):
        raise Problem(
            f"{one.name} is off; start the cluster with ./davide up, or the host with ./davide host boot {one.name}"
        )
    command = hosts_.ssh(one)
    os.execvp(command[0], [*command, *options.command])


def host(root: Path, options: Options) -> None:
    """Do something to one host."""
    if not is_root():
        raise Problem("hosts belong to root; run it as root")
    one = find(root, options.host)
    if options.action == "boot":
        cluster.boot_one(root, one)
        return
    if not hosts_.is_running(one) and options.action != "destroy":
        raise Problem(f"{one.name} is off; boot it first: ./davide host boot {one.name}")
    HOST_ACTIONS[options.action](one)


def find(root: Path, name: str) -> Host:
    """Return the host called `name`."""
    for one in hosts(root):
        if one.name == name:
            return one
    raise Problem(f"no host '{name}'; the local cluster has {', '.join(one.name for one in hosts(root))}")


def check(root: Path, options: Options) -> int:
    """Run the checks that need no cluster and no root: of the project, or of one site's inventory."""
    return sites.check_site(root, options.site) if options.site else parts.check(root)


def preflight(root: Path, options: Options) -> int:
    """Look at a site's hosts before anything is installed there."""
    return sites.preflight(root, options.site, as_json=options.json)


def bundle(root: Path, options: Options) -> int:
    """Make one file of a site's offline bundle."""
    return archive.bundle(root, sites.inventory_of(root, options.site), options.release, options.out)


def deploy(root: Path, options: Options) -> int:
    """Bring a site to this checkout's release."""
    return release.deploy(root, options.site, options.bundle)


def rollback(root: Path, options: Options) -> int:
    """Bring a site back to the release before."""
    return release.rollback(root, options.site)


def test(root: Path, options: Options) -> int:
    """Run the test suite, some of its parts, or one of the long parts."""
    return parts.long_form(root, options.long) if options.long else parts.suite(root, options.part)


def bench(root: Path, options: Options) -> int:
    """Measure something on the running cluster; the code lies beside the tests."""
    if not is_root():
        raise Problem("the bench changes the local cluster's hosts; run it as root")
    flags = [f"--{name}" for name in ("quick", "large", "json") if getattr(options, name)]
    subject = [options.subject] if options.subject else []
    chosen = [f"--part={name}" for name in options.part or []]
    return parts.bench(root, [*subject, *flags, *chosen])


def render(root: Path, options: Options) -> int:
    """Write what a cluster would get."""
    facts = options.site if options.site.endswith(".yml") else sites.facts_of(sites.inventory_of(root, options.site))
    command = [sys.executable, "-m", "davide_hub.cli", "render", "--site", str(facts), "--out", options.out]
    return subprocess.run(command, cwd=root, check=False).returncode


def lock(root: Path, options: Options) -> None:
    """Resolve every lock anew, for the Python of each release; the tools last, held to what the others chose."""
    del options
    inputs = [
        *sorted((root / "hub" / "locks").glob("*.in")),
        *sorted((root / "kernels").glob("*/requirements.in")),
    ]
    jobs = [(source, tag, ()) for source in inputs for tag in RELEASES.values()]
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda job: resolve(*job), jobs))
    held = tuple(root / "hub" / "locks" / f"{name}.py311.lock" for name in ("hub", "session"))
    resolve(root / "ansible" / "lab" / "tools.in", "py311", held, root / "ansible" / "lab" / "tools.lock")


def resolve(source: Path, tag: str, held: tuple[Path, ...], to: Path | None = None) -> None:
    """Resolve one list of requirements into a lock with hashes."""
    target = to or source.with_suffix(f".{tag}.lock")
    tools = Path(sys.executable).parent.parent
    run(
        [
            tools / "bin" / "uv",
            "pip",
            "compile",
            source,
            "--quiet",
            "--upgrade",
            "--generate-hashes",
            "--no-annotate",
            "--no-header",
            f"--python-version={tag[2]}.{tag[3:]}",
            "--python-platform=x86_64-manylinux_2_28",
            "--only-binary=:all:",
            *(f"--constraints={path}" for path in held),
            "-o",
            target,
        ],
        environ=uv_environ(dict(os.environ), tools),
    )
    step(f"{target.name}: {sum('==' in row for row in target.read_text().splitlines())} packages")
