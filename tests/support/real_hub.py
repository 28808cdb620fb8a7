"""A real hub, broker and proxy on this machine's loopback address, for pages as a browser gets them.

Nothing of a cluster is needed: Slurm and the accounts are pretended (`pretended_cluster.py`), all else is the code and
the proxy of production. Everybody's password is `PASSWORD`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from davide_hub.broker import server
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import Marker
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.verbs import SiteFile, Verbs
from davide_hub.certificates import prepare, prepare_trial
from davide_lab.npm import installed

from support.again import ask_again
from support.broker import verbs_over
from support.cluster import ROOT
from support.pretended_cluster import NODE, PASSWORD, PretendedCluster

LOCAL = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
HUB_UID = 990
CONFIG = """
from pathlib import Path
from davide_hub.configure import configure
from davide_hub.facts import load_site

here = Path(HERE)
c = get_config()
configure(
    c,
    load_site(here / "site.yml"),
    state=here,
    tls=here / "tls",
    broker=here / "socket",
    passfile=here / "database.pgpass",
    metrics_token=here / "metrics-token",
    announcement=here / "announcement.json",
    drain=here / "drain.json",
)
c.JupyterHub.log_level = LOG_LEVEL
"""


class RealHub:
    """A hub that runs.

    Attributes
    ----------
    url
        Its public address, without a path.
    slurm
        What stands in for Slurm.
    broker
        The broker's verbs, in this process.
    log
        The hub's log.
    process
        The number of the hub's process.
    """

    process: int

    def __init__(self, url: str, folder: Path, slurm: PretendedCluster, broker: Verbs, command: list[str]) -> None:
        self.url, self.folder, self.slurm, self.broker = url, folder, slurm, broker
        self._command = command
        self.log = folder / "log"
        self._hub = ExitStack()

    def run(self) -> None:
        """Start the hub itself, and wait until it answers."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        self._hub = ExitStack()
        process = self._hub.enter_context(_running(self.log, self._command, PATH=path))
        self.process = process.pid
        _wait_until_it_answers(self, process)

    def end(self) -> None:
        """End the hub itself; broker, proxy and sessions go on."""
        self._hub.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """End the hub, and run it again afterwards, whatever happened meanwhile."""
        self.end()
        try:
            yield
        finally:
            self.run()

    def browser(self) -> requests.Session:
        """Return a browser without cookies."""
        # The proxy closes a connection that was idle for five seconds.
        made = ask_again(requests.Session())
        made.trust_env = False  # else this machine's own authorities would stand in for ours
        made.verify = str(self.folder / "front/authority.crt")
        return made

    def log_in(self, name: str) -> requests.Session:
        """Return a browser in which somebody is logged in."""
        browser = self.browser()
        page = browser.get(f"{self.url}/hub/login", timeout=30)
        form = {"username": name, "password": PASSWORD, "_xsrf": xsrf(browser)}
        page = browser.post(f"{self.url}/hub/login?next=/hub/token", data=form, timeout=30)
        assert page.status_code == 200, page.text[:2000]
        return browser


def xsrf(browser: requests.Session) -> str:
    """Return what a form has to repeat."""
    found = [cookie for cookie in browser.cookies if cookie.name == "_xsrf"]
    # Several folders of the address may have one; a browser sends the most specific first.
    return str(max(found, key=lambda cookie: len(cookie.path)).value)


@contextmanager
def real_hub(
    folder: Path,
    change: Callable[[dict[str, Any]], object] = dict,
    log_level: str = "DEBUG",
    python: str = sys.executable,
) -> Iterator[RealHub]:
    """Start broker, proxy and hub; end them afterwards.

    Parameters
    ----------
    folder
        An empty folder for all that they keep.
    change
        Changes the site's facts (those of the local cluster) before anything reads them.
    log_level
        How much the hub tells in its log.
    python
        The environment that the hub itself runs in.
    """
    ports = free_ports(3)
    url = f"https://localhost:{ports[0]}"
    _write_site(folder / "site.yml", url, ports, change)
    prepare(folder / "tls", "127.0.0.1")
    prepare_trial(folder / "front/site.crt", folder / "front/site.key", "localhost")
    slurm = PretendedCluster(folder)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        slurm.patched(patch)
        patch.setattr(server, "peer_uid", lambda _connection: HUB_UID)
        slurm.start()
        stack.callback(slurm.stop)
        hub = RealHub(url, folder, slurm, stack.enter_context(_broker(folder)), _hub(folder, log_level, python))
        stack.enter_context(_running(folder / "proxy.log", _proxy(folder, ports)))
        stack.callback(hub.end)
        hub.run()
        yield hub


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _write_site(path: Path, url: str, ports: list[int], change: Callable[[dict[str, Any]], object]) -> None:
    facts = yaml.safe_load(LOCAL.read_text())
    site = facts["site"]
    site["hub"] |= {"address": "127.0.0.1", "proxy_port": ports[0], "api_port": ports[1], "proxy_api_port": ports[2]}
    site |= {"public_url": url, "origins": "shared"}
    site["slurm"]["partitions"][0]["nodes"].append(NODE)
    change(site)
    path.write_text(yaml.safe_dump(facts))


@contextmanager
def _broker(folder: Path) -> Iterator[Verbs]:
    site = SiteFile(folder / "site.yml")
    keeper = SessionKeeper(
        site.read,
        ROOT / "spawner_templates",
        Tickets(folder / "tickets"),
        Ledger(folder / "ledger"),
        Marker("0" * 8, b"key"),
    )
    verbs = verbs_over(folder, site, keeper)
    with server.Server(folder / "socket", verbs, {HUB_UID}) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.05,)).start()
        try:
            yield verbs
        finally:
            listening.shutdown()


@contextmanager
def _running(log: Path, command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    everywhere = {"PYTHONPATH": str(ROOT / "hub"), "CONFIGPROXY_AUTH_TOKEN": "made-up"}
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            cwd=log.parent,
            env=os.environ | everywhere | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def _hub(folder: Path, log_level: str, python: str) -> list[str]:
    config = folder / "config.py"
    config.write_text(f"HERE, LOG_LEVEL = {str(folder)!r}, {log_level!r}\n{CONFIG}")
    return [python, "-m", "davide_hub.app", "--config", str(config)]


def _proxy(folder: Path, ports: list[int]) -> list[str]:
    """Return the proxy's command as its unit has it, but with TLS of its own, since there is no front before it."""
    proxy = installed(ROOT / "hub/locks/proxy") / "configurable-http-proxy/bin/configurable-http-proxy"
    tls, front, hub = folder / "tls", folder / "front", f"https://127.0.0.1:{ports[1]}"
    return [
        sys.executable, "-m", "davide_hub.node", str(proxy),
        "--ip", "127.0.0.1", "--port", str(ports[0]), "--no-x-forward",
        "--ssl-key", str(front / "site.key"), "--ssl-cert", str(front / "site.crt"),
        "--api-ip", "127.0.0.1", "--api-port", str(ports[2]),
        "--client-ssl-key", str(tls / "proxy.key"), "--client-ssl-cert", str(tls / "proxy.crt"),
        "--client-ssl-ca", str(tls / "known.crt"), "--default-target", hub, "--error-target", f"{hub}/hub/error",
    ]  # fmt: skip


def _wait_until_it_answers(hub: RealHub, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, hub.log.read_text()[-3000:]
        try:
            if hub.browser().get(f"{hub.url}/hub/health", timeout=10).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        threading.Event().wait(0.1)
    pytest.fail(f"the hub does not answer: {hub.log.read_text()[-3000:]}")
