"""The session form while a hundred people look at it: on a real hub of this machine alone, with a pretended Slurm.

Each has the form open, whose script asks for figures every 15 s, and loads it anew now and then. The hub's log says
how long it took to answer with each page; a loader's clock says how long somebody waited. All share the machine's
cores.

The hub makes one page after the other, so what its log says of a crowd that comes in one moment is mostly the wait for
those before. How long it takes to make a page is what the log says while they come one by one, and what the hub's
process spends on each.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from davide_lab.say import line
from requests.adapters import HTTPAdapter
from support.real_hub import RealHub, real_hub, xsrf
from support.slurm_says import associations, node, sinfo
from urllib3.util import Retry

LOOKERS = 100
SECONDS = 60
_FORM = re.compile(r"200 GET /hub/spawn \(\S+\) ([0-9.]+)ms")
_FIGURES = re.compile(r"200 GET /hub/api/davide/figures\S* \(\S+\) ([0-9.]+)ms")
_POLL_SECONDS, _LOAD_SECONDS = 15, 30


def run(root: Path, lookers: int = LOOKERS, seconds: int = SECONDS) -> dict[str, Any]:
    """Measure, print a table, and write .davide/bench/pages.json."""
    with (
        tempfile.TemporaryDirectory(prefix="davide-pages-") as scratch,
        real_hub(Path(scratch), log_level="INFO") as hub,  # as a site's hub has it
    ):
        hub.slurm.says["sinfo"] = sinfo(node("gpu01", used=4), node("gpu02", used=4))
        hub.slurm.says["scontrol"] = "No reservations in the system\n"
        hub.slurm.says["sacctmgr"] = associations(student01=("tra26_davide",))
        hub.slurm.estimates = dict.fromkeys(("one-gpu", "four-gpus", "no-gpu"), time.time() + 1200)
        with ThreadPoolExecutor(8) as pool:
            browsers = list(pool.map(hub.log_in, [f"student{number:03}" for number in range(1, lookers + 1)]))
        for browser in browsers:
            # As every browser does where the other side has closed a connection that lay idle.
            browser.mount("https://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0.1)))
        measured = {
            "lookers": lookers,
            "one_by_one": _one_by_one(hub, browsers),
            "a_while": _looked_at(hub, browsers, seconds),
            "all_in_one_moment": _in_one_moment(hub, browsers),
        }
        hub.slurm.freeze()
        measured["slurm_frozen"] = _looked_at(hub, browsers, 30)
    for name, figures in measured.items():
        line(f"{name:<20} {json.dumps(figures)}")
    folder = root / ".davide/bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pages.json").write_text(json.dumps(measured, indent=1) + "\n")
    return measured


def _looked_at(hub: RealHub, browsers: list[requests.Session], seconds: int) -> dict[str, Any]:
    """Let everybody look for a while, beginning at times of their own."""
    log, asked, began = hub.log.stat().st_size, len(hub.slurm.asked), time.monotonic()
    waited: list[float] = []
    over = threading.Event()

    def look(number: int) -> None:
        crumb = xsrf(browsers[number])
        next_load = began + _LOAD_SECONDS * number / len(browsers)
        next_poll = next_load + 0.2
        while not over.wait(max(0, min(next_load, next_poll) - time.monotonic())):
            if next_load <= next_poll:
                waited.append(_load(hub, browsers[number]))
                next_load += _LOAD_SECONDS
            else:
                url = f"{hub.url}/hub/api/davide/figures?profile=one-gpu&_xsrf={crumb}"
                browsers[number].get(url, timeout=60)
                next_poll += _POLL_SECONDS

    with ThreadPoolExecutor(len(browsers)) as pool:
        lookers = [pool.submit(look, number) for number in range(len(browsers))]
        over.wait(seconds)
        over.set()
    for looker in lookers:
        looker.result()  # raises what it met
    lasted = time.monotonic() - began
    questions = [argv[0] for argv in hub.slurm.asked[asked:]]
    return _times(hub, log, waited) | {
        "seconds": round(lasted),
        "questions": {name: questions.count(name) for name in sorted(set(questions))},
        "most_sinfo_allowed": 1 + int(lasted // 15),
    }


def _one_by_one(hub: RealHub, browsers: list[requests.Session]) -> dict[str, Any]:
    """Let everybody load the form, each after the one before has it."""
    with _processor(hub, browsers) as told:
        log = hub.log.stat().st_size
        waited = [_load(hub, browser) for browser in browsers]
    return _times(hub, log, waited) | told


def _in_one_moment(hub: RealHub, browsers: list[requests.Session]) -> dict[str, Any]:
    """Let everybody load the form at once."""
    log, together = hub.log.stat().st_size, threading.Barrier(len(browsers))

    def load(browser: requests.Session) -> float:
        together.wait()
        return _load(hub, browser)

    with _processor(hub, browsers) as told, ThreadPoolExecutor(len(browsers)) as pool:
        waited = list(pool.map(load, browsers))
    return _times(hub, log, waited) | told


@contextmanager
def _processor(hub: RealHub, browsers: list[requests.Session]) -> Iterator[dict[str, float]]:
    """Fill in how long a page of each browser takes on a core of its own, whoever else uses these."""
    told: dict[str, float] = {}
    before = _processor_seconds(hub.process)
    yield told
    told["processor_ms_per_form"] = round(1000 * (_processor_seconds(hub.process) - before) / len(browsers), 1)


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _load(hub: RealHub, browser: requests.Session) -> float:
    began = time.monotonic()
    page = browser.get(f"{hub.url}/hub/spawn", timeout=60)
    assert page.status_code == 200, page.text[:500]
    return 1000 * (time.monotonic() - began)


def _times(hub: RealHub, log: int, waited: list[float]) -> dict[str, Any]:
    with hub.log.open("rb") as file:
        file.seek(log)
        text = file.read().decode()
    forms, figures = ([float(ms) for ms in pattern.findall(text)] for pattern in (_FORM, _FIGURES))
    return {
        "forms": len(waited),
        "server_ms_median": round(statistics.median(forms), 1),
        "server_ms_worst": round(max(forms), 1),
        "waited_ms_median": round(statistics.median(waited), 1),
        "waited_ms_worst": round(max(waited), 1),
        "figures": len(figures),
        "figures_ms_median": round(statistics.median(figures), 1) if figures else None,
    }
