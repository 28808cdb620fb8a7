"""The comparison: JupyterHub with stock batchspawner, beside ours on the hub's host, on other ports.

As batchspawner's documentation sets it up: an account of its own, a sudo rule for Slurm's three commands, a proxy
of its own, the spawner's own batch script. Units lie in /run: a reboot of the host removes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from secrets import token_hex

from davide_lab.bundle import fetch_debs, make_part, stamp_of
from davide_lab.host import ssh
from davide_lab.place import release
from davide_lab.run import run
from davide_lab.toolbox import cache_dir

from bench.hosts import Lab, on, put
from bench.systems import System, wait_until_it_answers

FOLDER = "/opt/davide-bench"
_ACCOUNT = "bench-stock"
_STATE = "/var/lib/davide-bench/stock"
_UNIT, _PROXY = "davide-bench-stock", "davide-bench-stock-proxy"
_ENV = "/opt/davide/envs/hub"
_PORT, _API_PORT, _PROXY_API_PORT = 8300, 8381, 8301
_HERE = Path(__file__).parent

_SUDO = f"""# As batchspawner's documentation has it.
Cmnd_Alias JUPYTER_CMD = /usr/bin/sbatch, /usr/bin/squeue, /usr/bin/scancel
{_ACCOUNT} ALL=(%{{group}}) NOPASSWD:SETENV: JUPYTER_CMD
"""
_HUB_UNIT = f"""[Service]
ExecStart={_ENV}/bin/jupyterhub --config {FOLDER}/stock_config.py
EnvironmentFile={FOLDER}/proxy.env
User={_ACCOUNT}
WorkingDirectory={_STATE}
LimitNOFILE=65536
"""
_PROXY_UNIT = f"""[Service]
ExecStart={_ENV}/bin/python -I -m davide_hub.node \\
    /opt/davide/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy \\
    --ip 0.0.0.0 --port {_PORT} --api-ip 127.0.0.1 --api-port {_PROXY_API_PORT} \\
    --default-target http://{{address}}:{_API_PORT} --error-target http://{{address}}:{_API_PORT}/hub/error
EnvironmentFile={FOLDER}/proxy.env
Environment=NODE_ENV=production
User={_ACCOUNT}
LimitNOFILE=65536
"""
# The program that batchspawner installs, for the session's environment, which has no batchspawner of its own.
_SINGLEUSER = """#!{python}
import sys

sys.path.append("{packages}")
from batchspawner.singleuser import main

sys.exit(main())
"""


def system(lab: Lab) -> System:
    """Return the stock hub as the load sees it."""
    address = lab.hub.address
    return System(
        name="stock",
        url=f"http://{address}:{_PORT}",
        form={},
        unit=_UNIT,
        # Node's proxy closes a connection after 5 s of silence, perhaps just when we use it.
        keeps_connections=2,
        log="jupyterhub_slurmspawner_*.log",
    )


def shared(lab: Lab) -> Path:
    """Return the bench's folder on the shared file system."""
    return Path(f"{lab.site['paths']['software']}-bench")


def install(lab: Lab, password: str) -> None:
    """Set the stock hub up, without starting it.

    Parameters
    ----------
    lab
        The cluster.
    password
        What its users log in with.
    """
    _install_sudo(lab)
    put(lab.hub, "/etc/sudoers.d/davide-bench", _SUDO.format(group=lab.site["group"]), 0o440)
    on(lab.hub, f"id {_ACCOUNT} > /dev/null 2>&1 || useradd --system --home-dir {_STATE} {_ACCOUNT}")
    on(lab.hub, f"install -d -m 700 -o {_ACCOUNT} {_STATE}; install -d {FOLDER}")
    put(lab.hub, f"{FOLDER}/stock_config.py", (_HERE / "files/stock_config.py").read_text())
    put(lab.hub, f"{FOLDER}/password", password, 0o600)
    put(lab.hub, f"{FOLDER}/proxy.env", f"CONFIGPROXY_AUTH_TOKEN={token_hex(32)}\n", 0o600)
    _install_singleuser(lab)
    put(lab.hub, f"/run/systemd/system/{_UNIT}.service", _HUB_UNIT)
    put(lab.hub, f"/run/systemd/system/{_PROXY}.service", _PROXY_UNIT.format(address=lab.hub.address))
    on(lab.hub, "systemctl daemon-reload")


def use_real_servers(lab: Lab) -> None:
    """Let sessions be JupyterLab, started by batchspawner's own wrapper, and (re)start the hub."""
    profile = next(one for one in lab.site["profiles"] if one["name"] == "no-gpu")
    _start(
        lab,
        cmd=[f"{lab.site['paths']['software']}/envs/session/bin/jupyterhub-singleuser"],
        batchspawner_singleuser_cmd=str(shared(lab) / "batchspawner-singleuser"),
        cores=str(profile["cores"]),
        memory=f"{profile['memory_gb']}G",
    )


def use_stand_ins(lab: Lab, *, srun: bool = True, limit: int | None = None) -> None:
    """Let sessions be stand-in servers, and (re)start the hub.

    Parameters
    ----------
    lab
        The cluster.
    srun
        Whether the script starts the server by srun, as batchspawner's own does. Without it a job is half as many
        processes.
    limit
        How many sessions may start at once; JupyterHub's own limit if None.
    """
    _start(
        lab,
        cmd=["stand-in"],
        batchspawner_singleuser_cmd=f"/usr/bin/python3 -I -S {shared(lab) / 'stand_in.py'}",
        cores="1",
        memory="16M",
        srun="srun" if srun else "",
        concurrent_spawn_limit=100 if limit is None else limit,
    )


def remove(lab: Lab) -> None:
    """Remove all of it, from this run or from one that was killed."""
    units = " ".join(f"/run/systemd/system/{unit}.service" for unit in (_UNIT, _PROXY))
    on(
        lab.hub,
        f"systemctl stop {_UNIT} {_PROXY} 2> /dev/null || true; "
        f"rm -rf {units} {FOLDER} {_STATE} {shared(lab)} /etc/sudoers.d/davide-bench; systemctl daemon-reload; "
        "systemctl reset-failed; "
        f"! id {_ACCOUNT} > /dev/null 2>&1 || userdel {_ACCOUNT}; "
        # Without the variable sudo does not go where root has no password.
        "! test -e /usr/bin/sudo || SUDO_FORCE_REMOVE=yes dpkg --purge sudo > /dev/null 2>&1",
    )


def _start(lab: Lab, **changed: object) -> None:
    facts = {
        "port": _PORT,
        "api_port": _API_PORT,
        "proxy_api_port": _PROXY_API_PORT,
        "address": lab.hub.address,
        "state": _STATE,
        "password": on(lab.hub, f"cat {FOLDER}/password"),
        "partition": lab.partition["name"],
        "account": lab.site["slurm"]["account"],
        "srun": "srun",
        "concurrent_spawn_limit": 100,
    }
    put(lab.hub, f"{FOLDER}/stock.json", json.dumps(facts | changed))
    on(lab.hub, f"chown {_ACCOUNT} {FOLDER}/stock.json; systemctl start {_PROXY}; systemctl restart {_UNIT}")
    wait_until_it_answers(system(lab))


def _install_sudo(lab: Lab) -> None:
    debs = cache_dir() / f"bench-{release()}"
    debs.mkdir(parents=True, exist_ok=True)
    make_part(debs, "sudo", stamp_of(release()), lambda to: fetch_debs(["sudo"], release(), to))
    packages = sorted((debs / "sudo").glob("*.deb"))
    copy = ["scp", *ssh(lab.hub)[1:-1], *packages, f"root@{lab.hub.address}:/tmp/"]
    run(copy)
    on(lab.hub, f"dpkg --install {' '.join(f'/tmp/{deb.name}' for deb in packages)}")


def _install_singleuser(lab: Lab) -> None:
    folder = shared(lab)
    python = f"{lab.site['paths']['software']}/envs/session/bin/python"
    on(lab.hub, f"install -d {folder}; cp -a {_ENV}/lib/python3.*/site-packages/batchspawner {folder}/")
    wrapper = _SINGLEUSER.format(python=python, packages=folder)
    put(lab.hub, folder / "batchspawner-singleuser", wrapper, 0o755)
    put(lab.hub, folder / "stand_in.py", (_HERE / "files/stand_in.py").read_text())
