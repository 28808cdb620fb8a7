"""The table, the JSON file and the picture."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from davide_lab.host import ssh
from davide_lab.say import line

from bench.hosts import Lab
from bench.rows import Measured, Row, ratio

_VERDICTS = {True: "yes", False: "NO", None: ""}


def table(rows: list[Row], measured: Measured) -> str:
    """Return the table for a terminal; rows that were not measured are left out."""
    lines = [f"{'what':<62} {'ours':>9} {'stock':>9} {'ratio':>7}  {'asked':<14} reached"]
    for row in rows:
        if values := measured.get(row.key):
            part = "" if (found := ratio(values)) is None else f"{found:.2g}"
            what = f"{row.what}, {row.unit}" if row.unit else row.what
            lines.append(
                f"{what:<62} {_number(values.get('ours')):>9} {_number(values.get('stock')):>9} "
                f"{part:>7}  {row.asked:<14} {_VERDICTS[row.reached(values)]}"
            )
    return "\n".join(line.rstrip() for line in lines)


def as_data(rows: list[Row], measured: Measured, facts: dict[str, Any]) -> dict[str, Any]:
    """Return all that was measured, with the run's facts, as plain data."""
    shown = [
        {
            "key": row.key,
            "what": row.what.strip(),
            "unit": row.unit,
            "asked": row.asked,
            **measured[row.key],
            "ratio": ratio(measured[row.key]),
            "reached": row.reached(measured[row.key]),
        }
        for row in rows
        if row.key in measured
    ]
    return {**facts, "rows": shown}


def write(lab: Lab, folder: Path, data: dict[str, Any]) -> None:
    """Write the JSON file and the picture, and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hub.json").write_text(json.dumps(data, indent=1) + "\n")
    line(f"\n{folder / 'hub.json'}")
    if any(row["ratio"] is not None for row in data["rows"]):
        (folder / "hub.png").write_bytes(picture(lab, data))
        line(f"{folder / 'hub.png'}")


def picture(lab: Lab, data: dict[str, Any]) -> bytes:
    """Return the picture, drawn on the hub's host: the kernel's environment there has matplotlib."""
    software = lab.site["paths"]["software"]
    python = f"{software}/envs/kernel-{lab.site['session']['default_kernel']}/bin/python"
    program = (Path(__file__).parent / "files/plot.py").read_text()
    asked = json.dumps({"program": program, "data": data})
    start = "import json,sys; got = json.load(sys.stdin); exec(got['program'], {'data': got['data']})"
    command = [*ssh(lab.hub), f'MPLBACKEND=agg MPLCONFIGDIR=/tmp/matplotlib {python} -I -c "{start}"']
    return subprocess.run(command, input=asked.encode(), capture_output=True, check=True).stdout


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"
