"""Dashboard and alerts in hub/monitoring: whatever they name is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from davide_hub import counted
from davide_hub.facts import load_site
from davide_hub.metrics import STATES, Sessions
from davide_hub.spawner import DavideSpawner
from jupyterhub import metrics as jupyterhubs
from prometheus_client import REGISTRY

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "hub/monitoring"
SITE = load_site(ROOT / "ansible/inventory/local/group_vars/all/site.yml")
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
SCRAPE = yaml.safe_load((MONITORING / "scrape.yml").read_text())["scrape_configs"][0]
# Prometheus' own, one for each scrape.
UP = "up"
_METRIC = re.compile(r"\b(?:davide|jupyterhub)_[a-z_]+\b|\bup\b")
_LABELS = re.compile(r'\b([a-z]+)(=~|!=|=)"([^"]*)"')


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [one["definition"] for one in DASHBOARD["templating"]["list"] if "definition" in one]
    return [*panels, *variables, *(rule["expr"] for rule in RULES)]


@pytest.fixture(scope="module")
def offered():
    """Return the names of all numbers that the hub shows."""
    patch = pytest.MonkeyPatch()
    proof = SimpleNamespace(view=SimpleNamespace(silent=False))
    patch.setattr(DavideSpawner, "proof", proof, raising=False)
    now = Sessions(SimpleNamespace(users={}), SITE).collect()
    names = {one.name for family in now for one in family.samples}
    names |= {name for name in REGISTRY._names_to_collectors if name.startswith(("davide_", "jupyterhub_"))}
    patch.undo()
    assert jupyterhubs.RUNNING_SERVERS is not None
    return names


def test_every_number_that_dashboard_and_alerts_name_is_shown_by_the_hub(offered):
    named = {name for text in expressions() for name in _METRIC.findall(text)}
    assert UP in named, "this test looks for the wrong thing"
    assert named - {UP} <= offered


def test_every_value_of_a_label_that_they_name_is_one_that_there_is():
    known = {
        "state": set(STATES),
        "reason": {*counted.KNOWN_ENDS, *counted.KNOWN_FAILURES},
        "question": set(counted.COMMANDS),
        "job": {SCRAPE["job_name"]},
        "instance": {"$instance"},
    }
    for text in expressions():
        for label, _, values in _LABELS.findall(text):
            assert set(values.split("|")) <= known[label], text


def test_every_alert_says_what_to_do():
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]


def test_panels_have_numbers_of_their_own_and_do_not_cover_each_other():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
