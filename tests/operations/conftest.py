"""One PostgreSQL, one hub on it, in the environment that a site's hub has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import yaml
from davide_lab.toolbox import uv_environ
from support.cluster import ROOT
from support.real_hub import real_hub

from operations.postgresql import PASSWORD, postgresql

METRICS_TOKEN = "made-up-token-of-prometheus"
_PYTHON = f"py3{sys.version_info.minor}"


@pytest.fixture(scope="session")
def hub_python(tmp_path_factory) -> str:
    """Return a Python with what the hub's lock has, and nothing else."""
    folder = tmp_path_factory.mktemp("hub-environment")
    tools = Path(sys.executable).parent.parent
    environment = uv_environ(dict(os.environ), tools)
    lock = ROOT / f"hub/locks/hub.{_PYTHON}.lock"
    python = folder / "bin/python"
    for words in (
        ["venv", "--allow-existing", f"--python={Path(sys.executable).resolve()}", str(folder)],
        ["pip", "install", "--require-hashes", "--quiet", f"--python={python}", f"--requirements={lock}"],
    ):
        subprocess.run([tools / "bin/uv", *words], env=environment, check=True, stdin=subprocess.DEVNULL)
    return str(python)


@pytest.fixture(scope="session")
def database():
    with postgresql() as made:
        yield made


@pytest.fixture(scope="session")
def hub(tmp_path_factory, hub_python, database):
    folder = tmp_path_factory.mktemp("hub")
    write_secrets(folder)
    with real_hub(folder, lambda site: site.update(database=facts_of(database)), "INFO", hub_python) as made:
        made.slurm.runs_at_once = True
        yield made


def facts_of(database) -> dict[str, object]:
    """Return what a site's facts say of a database."""
    authority = str(database.authority)
    return {"host": "localhost", "port": database.port, "name": "davide_hub", "user": "hub", "authority": authority}


def write_secrets(folder: Path) -> None:
    """Write what the role writes, the database's password as the role does it."""
    tasks = yaml.safe_load((ROOT / "ansible/roles/jupyterhub/tasks/configure.yml").read_text())
    content = next(task["ansible.builtin.copy"]["content"] for task in tasks if "at the database" in task["name"])
    path = folder / "database.pgpass"
    path.touch(0o600)
    path.write_text(jinja2.Template(content).render(jupyterhub_database_password=PASSWORD))
    (folder / "metrics-token").write_text(METRICS_TOKEN)
