"""The control: stock batchspawner on an ordinary JupyterHub, as a second hub on the hub's host, on other ports.

Its settings are those of batchspawner's documentation, for the same jobs as ours. It runs as root, as an ordinary
JupyterHub does that checks passwords by PAM; so `runuser` becomes the user where the documentation has `sudo -E -u`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

from davide_lab.place import site_facts
from support.cluster import ROOT

from faults.hosts import HUB, Hosts
from faults.target import Target
from faults.waiting import wait_for

PORT, API_PORT, PROXY_API_PORT = 8010, 8091, 8011
STATE, SETTINGS = "/var/lib/davide-stock", "/etc/davide-stock"
UNITS = ("stock-jupyterhub", "stock-proxy")

CONFIGURATION = """
import batchspawner, json
from pathlib import Path
facts = json.loads(Path("{settings}/facts.json").read_text())
c.JupyterHub.bind_url = "http://:{port}"
c.JupyterHub.hub_bind_url = "http://{address}:{api_port}"
c.JupyterHub.db_url = "sqlite:///{state}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{state}/jupyterhub_cookie_secret"
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allow_all = True
c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.SlurmSpawner.exec_prefix = "runuser -u {{username}} --"
c.SlurmSpawner.req_partition = facts["partition"]
c.SlurmSpawner.req_options = "--account=" + facts["account"]
c.SlurmSpawner.req_nprocs = "2"
c.SlurmSpawner.req_memory = "4G"
c.SlurmSpawner.req_runtime = "4:00:00"
# srun hands on what keepvars names, and nothing of the prologue's.
paths = "PATH=/usr/local/bin:/usr/bin:/bin PYTHONPATH={software}-stock JUPYTER_PATH={software}/share/jupyter"
python = "{software}/envs/session/bin/python"
c.SlurmSpawner.batchspawner_singleuser_cmd = "/usr/bin/env " + paths + " " + python + " -m batchspawner.singleuser"
c.SlurmSpawner.cmd = ["{software}/envs/session/bin/jupyterhub-singleuser"]
"""

UNIT = """
[Unit]
Description={title}
[Service]
ExecStart={command}
EnvironmentFile={settings}/proxy.env
WorkingDirectory={state}
Restart=always
[Install]
WantedBy=multi-user.target
"""


@contextlib.contextmanager
def stock_hub() -> Iterator[Target]:
    """Run the stock hub beside ours, and leave nothing of it."""
    hosts, facts = Hosts(), site_facts(ROOT)
    target = Target(
        name="stock",
        url=f"http://{facts['hub']['address']}:{PORT}",
        hub_unit=UNITS[0],
        proxy_unit=UNITS[1],
        broker_unit="",
        state=STATE,
        database=f"{STATE}/jupyterhub.sqlite",
        proxy_api=f"http://127.0.0.1:{PROXY_API_PORT}",
        proxy_token_file=f"{SETTINGS}/proxy.env",
        start_options={},
    )
    try:
        _install(hosts, facts)
        wait_for(lambda: "200" in _health(hosts), "the stock hub to answer", 60)
        yield target
    finally:
        hosts.output(
            HUB, f"systemctl disable --now --quiet {' '.join(UNITS)}; rm -f /etc/systemd/system/stock-*.service"
        )
        hosts.output(HUB, "systemctl daemon-reload; systemctl reset-failed --quiet")
        hosts.output(HUB, f"rm -rf {STATE} {SETTINGS} {facts['paths']['software']}-stock")


def _health(hosts: Hosts) -> str:
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/hub/health', timeout=5).status)"
    return hosts.run(HUB, f'python3 -c "{ask}"').stdout


def _install(hosts: Hosts, facts: dict[str, Any]) -> None:
    software, address = facts["paths"]["software"], facts["hub"]["address"]
    places = {"settings": SETTINGS, "state": STATE, "software": software, "address": address}
    ports = {"port": PORT, "api_port": API_PORT, "proxy_api_port": PROXY_API_PORT}
    site = {"partition": facts["slurm"]["partitions"][0]["name"], "account": facts["slurm"]["account"]}
    hosts.output(HUB, f"mkdir -p {STATE} {SETTINGS} && chmod 0700 {STATE} {SETTINGS}")
    hosts.write(HUB, f"{SETTINGS}/facts.json", json.dumps(site), "0600")
    hosts.write(HUB, f"{SETTINGS}/jupyterhub_config.py", CONFIGURATION.format(**places, **ports), "0600")
    hosts.write(HUB, f"{SETTINGS}/proxy.env", f"CONFIGPROXY_AUTH_TOKEN={secrets.token_hex(32)}\n", "0600")
    # The session's environment has no batchspawner: a copy of the hub's stands beside it on the shared file system.
    source = "/opt/davide/envs/hub/lib/python3*/site-packages/batchspawner"
    hosts.output(
        HUB, f"mkdir -p {software}-stock && cp -r {source} {software}-stock/ && chmod -R a+rX {software}-stock"
    )
    hub = f"/opt/davide/envs/hub/bin/jupyterhub --config {SETTINGS}/jupyterhub_config.py"
    proxy = (
        "/opt/davide/envs/hub/bin/python -I -m davide_hub.node "
        "/opt/davide/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy "
        f"--ip 0.0.0.0 --port {PORT} --api-ip 127.0.0.1 --api-port {PROXY_API_PORT} "
        f"--default-target http://{address}:{API_PORT} --error-target http://{address}:{API_PORT}/hub/error"
    )
    for name, command in zip(UNITS, (hub, proxy), strict=True):
        unit = UNIT.format(title=name, command=command, settings=SETTINGS, state=STATE)
        hosts.write(HUB, f"/etc/systemd/system/{name}.service", unit, "0644")
    hosts.output(HUB, f"systemctl daemon-reload; systemctl enable --now --quiet {UNITS[1]} {UNITS[0]}")
