"""Our hub, as the plays set it up; the bench changes its batch script, and puts everything back."""

from __future__ import annotations

import re
from pathlib import Path

from bench.hosts import Lab, on, put
from bench.stock import shared
from bench.systems import System, wait_until_it_answers

_TEMPLATE = "/etc/davide-hub/spawner_templates/session.sbatch.j2"
_KEPT = "/var/lib/davide-bench/ours"
_UNITS = ("jupyterhub", "davide-broker")


def system(lab: Lab) -> System:
    """Return our hub as the load sees it."""
    return System(
        name="ours",
        url=lab.site["public_url"],
        own_names=lab.site["origins"] == "per-user",
        form={"profile": "no-gpu"},
        unit=_UNITS[0],
        helpers=_UNITS[1:],
        # nginx keeps them for 75 s, and the form asks for its figures every 15 s.
        keeps_connections=60,
        log=".local/share/davide-hub/*/session.log",
    )


def keep(lab: Lab) -> None:
    """Keep the batch script, and what hub and broker remember, for `restore`."""
    on(
        lab.hub,
        f"mkdir -p -m 700 {_KEPT}; cp -a {_TEMPLATE} {_KEPT}/session.sbatch.j2; systemctl stop {' '.join(_UNITS)}; "
        f"tar -cf {_KEPT}/state.tar -C /var/lib davide-hub davide-broker; systemctl start {' '.join(_UNITS)}",
    )
    wait_until_it_answers(system(lab))


def restore(lab: Lab) -> None:
    """Put back what `keep` kept, by this run or by one that was killed: no load user is left in the hub's memory."""
    on(
        lab.hub,
        f"test -e {_KEPT}/state.tar || exit 0; systemctl stop {' '.join(_UNITS)}; "
        "rm -rf /var/lib/davide-hub/* /var/lib/davide-broker/*; "
        f"tar -xf {_KEPT}/state.tar -C /var/lib; cp -a {_KEPT}/session.sbatch.j2 {_TEMPLATE}; "
        f"systemctl start {' '.join(_UNITS)}; rm -rf {_KEPT}",
    )
    wait_until_it_answers(system(lab))


def use_real_servers(lab: Lab) -> None:
    """Let sessions be JupyterLab, with one line more in the script that says when it began."""
    put(lab.hub, _TEMPLATE, with_start_time(_kept_template(lab)))


def use_stand_ins(lab: Lab) -> None:
    """Let sessions be stand-in servers."""
    put(lab.hub, _TEMPLATE, with_stand_in(_kept_template(lab), shared(lab) / "stand_in.py"))


def _kept_template(lab: Lab) -> str:
    return on(lab.hub, f"cat {_KEPT}/session.sbatch.j2")


def with_start_time(template: str) -> str:
    """Return the template with a line that logs when the script began; bash tells without starting a process."""
    head, body = _parted(template)
    return f'{head}echo "bench: script $EPOCHREALTIME"\n{body}'


def with_stand_in(template: str, program: Path) -> str:
    """Return the template with a stand-in for the session, which takes next to nothing of a node."""
    head, _ = _parted(template)
    head = re.sub(r"--cpus-per-task=.*", "--cpus-per-task=1", head)
    head = re.sub(r"--mem=.*", "--mem=16M", head)
    return f"{head}exec /usr/bin/python3 -I -S {program} {{{{ environment_path }}}}\n"


def _parted(template: str) -> tuple[str, str]:
    """Return the lines up to the first command, and the rest."""
    lines = template.splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if line.strip() and not line.startswith(("#", "{%")))
    return "".join(lines[:first]), "".join(lines[first:])
