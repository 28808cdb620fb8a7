"""The plays of production against the local cluster, as an administrator would run them by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from davide_lab.place import inventory, release
from davide_lab.provision import ansible_environ

from support.cluster import ROOT


def play(
    *words: str, variables: dict[str, Any] | None = None, folder: Path | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run ansible/deploy.yml, telling all there is to tell.

    Parameters
    ----------
    words
        More of the command line: --tags, --limit.
    variables
        Stand above those of the inventory; handed over in a file, since they may be secret.
    folder
        Another inventory than the local cluster's.
    timeout
        In seconds.
    """
    # Ansible's own way to print: ours leaves out nearly everything.
    environ = {**os.environ, **ansible_environ(ROOT, release()), "ANSIBLE_STDOUT_CALLBACK": "default"}
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-vvv", "--diff", "-i", folder or inventory(ROOT), "deploy.yml"]
    with tempfile.NamedTemporaryFile("w", prefix="davide-variables-", suffix=".json") as file:
        json.dump(variables or {}, file)
        file.flush()
        return subprocess.run(
            [*command, "--extra-vars", f"@{file.name}", *words],
            env=environ,
            cwd=ROOT / "ansible",
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
