"""What a kernel's imports ask of the file system, counted by strace: without and with our pack of modules.

The pack is kernels/import_pack.py. Counts, because on a shared file system a call costs what the server takes.
And how long a notebook waits for TensorFlow (warm.py).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from davide_lab.place import bundle_dir, site_facts
from davide_lab.run import run as run_program
from davide_lab.say import Problem

from bench import warm

RELEASE = "bookworm"
ROUNDS = 3
IMPORTS = {
    "Python alone": "pass",
    "what a kernel starts with": "import ipykernel.kernelapp",
    "import tensorflow": "import tensorflow",
    "the imports of lesson 01": "import tensorflow, keras, numpy, matplotlib.pyplot",
}


def run(root: Path) -> dict[str, Any]:
    """Install the site's default kernel twice into a temporary folder, and measure its imports and its start.

    Raises
    ------
    Problem
        If strace or the bundle is missing.
    """
    if not shutil.which("strace"):
        raise Problem("strace is missing on this machine; apt-get install strace")
    with tempfile.TemporaryDirectory(prefix="davide-bench-", dir="/var/tmp") as folder:
        plain, packed = (Path(folder) / name for name in ("plain", "packed"))
        _install(root, plain)
        shutil.copytree(plain, packed, symlinks=True, copy_function=os.link)
        run_program([packed / "bin/python", root / "kernels/import_pack.py"])
        started = warm.measure(root, packed, Path(tempfile.mkdtemp(dir=folder)))
        imported = [
            {"what": what, "plain": measure(plain, code), "packed": measure(packed, code)}
            for what, code in IMPORTS.items()
        ]
        return {"imports": imported, "start": started}


def _install(root: Path, target: Path) -> None:
    bundle = bundle_dir(RELEASE)
    try:
        manifest = json.loads((bundle / "manifest.json").read_text())
    except FileNotFoundError:
        raise Problem(f"{bundle} has no bundle; ./davide up makes it") from None
    facts = manifest["environments"][f"kernel-{site_facts(root)['session']['default_kernel']}"]
    script = root / "ansible/roles/python_env/files/install-environment"
    run_program(["bash", script, bundle, facts["folder"], target, *facts["own"]])


def measure(environment: Path, code: str) -> dict[str, float]:
    """Return how often some code looks up a path, how many files it opens, and the median of its seconds."""
    command = [str(environment / "bin/python"), "-c", code]
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONNOUSERSITE": "1"}
    with tempfile.NamedTemporaryFile("r") as trace:
        calls = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", trace.name]
        subprocess.run([*calls, *command], env=environ, capture_output=True, check=True)
        counted = count(trace.read(), str(environment))
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(command, env=environ, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    return {**counted, "seconds": round(statistics.median(seconds), 2)}


def count(trace: str, folder: str) -> dict[str, float]:
    """Return what strace saw below a folder: lookups of paths (a file that is open already costs none), and opens."""
    lines = [line for line in trace.splitlines() if f'"{folder}' in line]
    return {"lookups": len(lines), "opens": len([line for line in lines if "openat(" in line and "ENOENT" not in line])}


def table(measured: dict[str, Any]) -> str:
    """Return the table for a terminal."""
    lines = [f"{'below the environment':<28} {'lookups':>16} {'opens':>16} {'seconds, warm':>16}"]
    lines.append(f"{'':<28} " + " ".join(f"{'plain > packed':>16}" for _ in range(3)))
    for row in measured["imports"]:
        pairs = (f"{row['plain'][key]:>7} > {row['packed'][key]:<6}" for key in ("lookups", "opens", "seconds"))
        lines.append(f"{row['what']:<28} " + " ".join(f"{pair:>16}" for pair in pairs))
    return "\n".join([*lines, warm.table(measured["start"])])
