"""How long a notebook waits for a kernel with a job of its own, beside what `srun hostname` takes for the same job."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from davide_lab.say import Problem

from bench.hosts import Lab, on, put, wait_until

USER = "student01"
ROUNDS = 7
_SECONDS = 300


def run(root: Path) -> dict[str, Any]:
    """Measure both in turns, from a session's job that takes all of the first node.

    Raises
    ------
    Problem
        If the cluster is not up, or does not finish.
    """
    lab = Lab.of(root)
    site, home = lab.site, f"/home/{USER}"
    script, told = f"{home}/bench-own-job.py", f"{home}/bench-own-job.log"
    put(lab.hub, script, (root / "tests/bench/files/own_job.py").read_text())
    software, account = site["paths"]["software"], site["slurm"]["account"]
    words = f"{software} {site['session']['default_kernel']} {account} {ROUNDS}"
    command = f"$(realpath {software}/envs/session)/bin/python -I {script} {words}"
    cores = lab.partition["cores"]
    order = (
        f"sbatch --parsable -A {account} -p {lab.partition['name']} --nodelist={lab.nodes[0].name} "
        f"--cpus-per-task={cores} --mem=2G --time=10 --output={told} --wrap='{command}'"
    )
    on(lab.hub, f"rm -f {told}; cd {home} && runuser -u {USER} -- {order}")
    try:
        wait_until(lambda: _is_over(_read(lab, told)), f"the rounds to end, see {told}", _SECONDS)
        said = _read(lab, told)
    finally:
        on(lab.hub, f"scancel --user {USER}")
    rows = [json.loads(text) for text in said.splitlines() if text.startswith("{")]
    if not rows or rows[-1]["what"] != "over":
        raise Problem(f"the rounds did not come to their end:\n{said[-2000:]}")
    seconds = {name: [row["seconds"] for row in rows if row["what"] == name] for name in ("srun", "kernel")}
    medians = {name: statistics.median(measured) for name, measured in seconds.items()}
    return {"seconds": seconds, "medians": medians, "beyond": medians["kernel"] - medians["srun"]}


def _is_over(said: str) -> bool:
    return '"over"' in said or "Traceback" in said


def _read(lab: Lab, file: str) -> str:
    return on(lab.hub, f"cat {file} 2>/dev/null || true")


def table(measured: dict[str, Any]) -> str:
    """Return the lines for a terminal."""
    medians, count = measured["medians"], len(measured["seconds"]["kernel"])
    return (
        f"A kernel with a job of its own on another node, median of {count}: first cell after "
        f"{medians['kernel']:.2f} s; srun hostname takes {medians['srun']:.2f} s for such a job: "
        f"{measured['beyond']:.2f} s beyond"
    )
