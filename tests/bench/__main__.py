"""What `./davide bench` runs: `python -m bench ROOT [SUBJECT]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from davide_lab.names import lead_localhost_here
from davide_lab.say import Problem, line, problem

from bench import hub, kernels, own_job, pages

SUBJECTS = {
    "hub": "the hub beside stock batchspawner: requests to Slurm, times to ready, freezes, restarts",
    "pages": "the session form while a hundred people look at it; needs no cluster",
    "kernels": "a kernel's imports and start, with our pack and warmth and without; needs no cluster",
    "own-job": "a kernel with a job of its own beside `srun hostname`",
}


def main(arguments: Sequence[str]) -> int:
    """Run one subject, or list them; return the exit status."""
    parser = argparse.ArgumentParser(prog="davide bench")
    parser.add_argument("root", type=Path)
    parser.add_argument("subject", nargs="?", choices=list(SUBJECTS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--part", action="append", choices=hub.PARTS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.subject is None:
        for name, text in SUBJECTS.items():
            line(f"{name:<8} {text}")
        return 0
    if options.subject in ("kernels", "own-job"):
        return _measured(options, kernels if options.subject == "kernels" else own_job)
    parts = tuple(options.part or (hub.PARTS if options.large else hub.PARTS[:-1]))
    lead_localhost_here()
    try:
        if options.subject == "pages":
            measured = pages.run(options.root)
        else:
            measured = hub.run(options.root, hub.QUICK if options.quick else hub.Sizes(), parts)
    except Problem as found:
        problem(str(found))
        return 1
    if options.json:
        line(json.dumps(measured, indent=1))
    return 0


def _measured(options: argparse.Namespace, subject: ModuleType) -> int:
    try:
        measured = subject.run(options.root)
    except Problem as found:
        problem(str(found))
        return 1
    line(json.dumps(measured, indent=1) if options.json else subject.table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
