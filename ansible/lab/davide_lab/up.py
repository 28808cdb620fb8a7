"""`./davide up`: from whatever there is to a running cluster; `./davide down`: back again."""

from __future__ import annotations

import json
import platform
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from davide_lab import cgroups, host, names, network, relay
from davide_lab.accounts import make_accounts
from davide_lab.base import base_dir, is_root, make_base, require_room
from davide_lab.bundle import BUNDLE_PACKAGES, is_local, make_bundle
from davide_lab.keeper import CAPABILITIES
from davide_lab.place import (
    AUTHORITY,
    BRIDGE,
    RUNTIME,
    SHARED,
    STATE,
    Host,
    bundle_dir,
    hosts,
    read_json,
    remove_tree,
    site_facts,
    write_atomically,
)
from davide_lab.provision import provision, tell_changes, validate
from davide_lab.run import held, run
from davide_lab.say import Problem, line, minutes, stage, step
from davide_lab.toolbox import cache_dir, install_packages

MACHINE_PACKAGES = [
    *BUNDLE_PACKAGES,
    "iproute2",
    "openssh-client",
    "openssl",
    "systemd-container",
    "tar",
    "util-linux",
]
GIGABYTES = 12.0
STAGES = 6


def up(root: Path, release: str | None = None, verbose: bool = False) -> None:
    """Bring the local cluster up, as far as it isn't.

    Parameters
    ----------
    root
        The checkout.
    release
        Debian release of the hosts; None keeps the one there is.
    verbose
        Show all that ansible says.

    Raises
    ------
    Problem
        With one sentence that says what a person has to mend.
    """
    start = time.monotonic()
    require_machine()
    wanted = release or str(read_json(STATE / "cluster.json").get("release", "bookworm"))
    with alone():
        with stage(1, STAGES, "Checking this machine and the site facts"):
            install_packages(MACHINE_PACKAGES, {})
            relay.require_free_port()
            if not (STATE / "cluster.json").exists():
                require_room(cache_dir(), GIGABYTES)
                require_room(STATE, GIGABYTES)
            validate(root)
            accounts = make_accounts(root)
        with stage(
            2,
            STAGES,
            f"Base system and offline bundle (Debian {wanted}), the only step that needs the internet",
        ):
            make_base(wanted)
            make_bundle(root, wanted)
        with stage(3, STAGES, f"Booting {', '.join(found.name for found in hosts(root))}"):
            boot_all(root, wanted)
        with stage(4, STAGES, "Provisioning them with ansible/deploy.yml, the plays of production"):
            changes = provision(root, wanted, verbose)
            tell_changes(changes, [found.name for found in hosts(root)])
        with stage(5, STAGES, "Opening the way from this machine's browser"):
            hub = site_facts(root)["hub"]
            relay.start(hub["address"], hub["port"])
            keep_authority(root)
        with stage(6, STAGES, "Waiting for the log-in page"):
            wait_for_hub(root)
    tell_the_way_in(root, accounts, time.monotonic() - start)


def require_machine() -> None:
    """Refuse a machine on which the local cluster can't run.

    Raises
    ------
    Problem
        If we are not root, or the system isn't Debian 12 or newer on x86_64.
    """
    if not is_root():
        raise Problem("the local cluster boots real hosts and needs root; run it as root: sudo ./davide up")
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    if system.get("ID") != "debian" or int(system.get("VERSION_ID", "0")) < 12 or platform.machine() != "x86_64":
        name = system.get("PRETTY_NAME", platform.system())
        raise Problem(
            f"this machine runs {name} on {platform.machine()}; the local cluster needs Debian 12 or newer on x86_64"
        )


@contextmanager
def alone_where_local(root: Path, site: Path) -> Iterator[None]:
    """Hold that lock where a site is the local cluster; another site is nobody else's business on this machine."""
    if not is_local(root, site):
        yield
        return
    with alone():
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock that keeps a second `up` or `down` from running at the same time.

    Raises
    ------
    Problem
        If another one is at work.
    """
    import fcntl

    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Problem(
                "another ./davide up or down, or what a killed one started, is at work on this machine; "
                "wait for it to end"
            ) from error
        held.append(lock.fileno())
        try:
            yield
        finally:
            held.remove(lock.fileno())


def boot_all(root: Path, release: str) -> None:
    """Boot every host that is off, on the network, from this release; hosts that run are left alone."""
    cluster = {
        "release": release,
        "base": str(base_dir(release)),
        "bundle": _identity(bundle_dir(release)),
        "base_id": (base_dir(release) / "etc/davide-base-id").read_text().strip(),
        "capabilities": CAPABILITIES,
    }
    if (noted := read_json(STATE / "cluster.json")) != cluster:
        for found in hosts(root):
            host.stop(found)
        if noted.get("base_id") != cluster["base_id"]:
            discard_disks(root)
        write_atomically(STATE / "cluster.json", json.dumps(cluster))
    for name in SHARED:
        (STATE / name).mkdir(mode=0o755, exist_ok=True)
    host.make_ssh_key()
    for found in hosts(root):
        if not host.is_running(found):
            clear(found)
            host.make_disk(found, base_dir(release))
    host.write_known_hosts(hosts(root))
    network.lay(hosts(root))
    for found in hosts(root):
        if host.state(found) == "frozen":
            cgroups.freeze(found, frozen=False)
        network.mend(found)
        if not host.is_running(found):
            host.boot(root, found)
    with ThreadPoolExecutor() as pool:
        list(pool.map(host.wait_until_up, hosts(root)))


def boot_one(root: Path, one: Host) -> None:
    """Boot one host that is off, with the disk it had or a new one, and wait until it is up.

    Raises
    ------
    Problem
        If there has been no cluster yet.
    """
    if host.is_running(one):
        return
    cluster = read_json(STATE / "cluster.json")
    if not cluster:
        raise Problem("there is no local cluster yet; make it with ./davide up")
    clear(one)
    host.make_disk(one, Path(cluster["base"]))
    host.write_known_hosts(hosts(root))
    network.lay([one])
    network.mend(one)
    host.boot(root, one)
    host.wait_until_up(one)


def discard_disks(root: Path) -> None:
    """Remove the hosts' disks: they were layers over another base system. /home and /software stay."""
    for found in hosts(root):
        clear(found)
        remove_tree(found.folder)
    remove_tree(STATE / "software")


def clear(found: Host) -> None:
    """Remove what a killed run left of a host that is off: processes, cgroups, network namespace."""
    if leftovers := cgroups.processes(found):
        step(f"{found.name}: ending {len(leftovers)} processes that an earlier run left")
    cgroups.remove(found)
    (RUNTIME / f"{found.name}.json").unlink(missing_ok=True)


def keep_authority(root: Path) -> None:
    """Keep a copy of what vouches for the hub's certificate, for browsers and tests."""
    hub = next(found for found in hosts(root) if found.role == "hub")
    file = Path(site_facts(root)["hub"]["certificate"]).with_name("authority.crt")
    write_atomically(AUTHORITY, run([*host.ssh(hub), f"cat {file}"]))


def wait_for_hub(root: Path) -> None:
    """Wait until the log-in page answers where a browser would ask for it."""
    names.lead_localhost_here()
    address = f"{site_facts(root)['public_url']}/hub/login"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=5, context=names.context()) as page:  # noqa: S310 - https
                return bool(page.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    hub = next(found for found in hosts(root) if found.role == "hub")
    more = f"Look at `./davide ssh {hub.name} journalctl -u jupyterhub -n 50`."
    host.wait_for(answers, "the log-in page to answer", 60, lambda: more)


def tell_the_way_in(root: Path, accounts: list[dict[str, str]], seconds: float) -> None:
    """Print the address and the demo accounts."""
    line(f"\n{site_facts(root)['name']} is up after {minutes(seconds)}.")
    line(f"  Open  {site_facts(root)['public_url']}  and log in as")
    for row in accounts:
        line(f"    {row['name']:<10} {row['password']}   {row['role']}")
    line(f"  Your browser will warn once, as nobody vouches for *.localhost: go on, or let it trust {AUTHORITY}")
    line("  Next: ./davide status, ./davide ssh hub01, ./davide test, ./davide down")


def down(root: Path, *, purge: bool = False) -> None:
    """Shut the local cluster down and clear what is left of it in memory; disks and homes stay.

    Parameters
    ----------
    root
        The checkout.
    purge
        Also remove the hosts' disks, the homes with all that students wrote, the software folder and the passwords.
    """
    if not is_root():
        raise Problem("the local cluster belongs to root; run it as root: sudo ./davide down")
    if not STATE.exists() and not RUNTIME.exists():
        line("There is no local cluster on this machine.")
        return
    with alone():
        relay.stop()
        with ThreadPoolExecutor() as pool:
            list(pool.map(host.stop, hosts(root)))
        for found in hosts(root):
            clear(found)
            network.remove(found)
        network.remove_bridge()
        shutil.rmtree(RUNTIME, ignore_errors=True)
        if purge:
            remove_tree(STATE)
    line(
        "The local cluster is down"
        + (" and removed." if purge else "; its disks and homes are kept (./davide down --purge removes them).")
    )


def leftovers(root: Path) -> list[str]:
    """Return what of the local cluster there is on this machine, for `status` and tests."""
    found = [f"namespace {name}" for name in sorted(network.namespaces()) if name.startswith("davide-")]
    found += [f"bridge {BRIDGE}"] if Path(f"/sys/class/net/{BRIDGE}").exists() else []
    return found + [f"process {pid} of {one.name}" for one in hosts(root) for pid in sorted(cgroups.processes(one))]


def _identity(folder: Path) -> str:
    shown = folder.stat()
    return f"{shown.st_dev}:{shown.st_ino}"
