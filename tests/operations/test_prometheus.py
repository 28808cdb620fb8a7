"""A real Prometheus reads a real hub, and understands dashboard and alerts."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from support.cluster import ROOT
from support.real_hub import free_ports, xsrf

from operations.conftest import METRICS_TOKEN

MONITORING = ROOT / "hub/monitoring"
ALERTS = MONITORING / "alerts.yml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
CASES = Path(__file__).with_name("alerts_test.yml")


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_alert_is_raised_by_what_must_raise_it_and_by_nothing_else(tmp_path):
    text = CASES.read_text().replace("ALERTS", str(ALERTS))
    for rule in RULES:
        # What an alert says is read here from its file: promtool compares all of it.
        text = text.replace(f"ANNOTATIONS_OF_{rule['alert']}\n", f"{json.dumps(rule['annotations'])}\n")
        assert f"alertname: {rule['alert']}\n" in text, f"{rule['alert']} has no case"
    (tmp_path / "cases.yml").write_text(text)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "cases.yml"))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, hub, wait_for):
    """Yield a function that asks a Prometheus, which reads the hub each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "token").write_text(METRICS_TOKEN)
    facts = yaml.safe_load((MONITORING / "scrape.yml").read_text())
    (job,) = facts["scrape_configs"]
    job["scrape_interval"] = "1s"
    job["authorization"]["credentials_file"] = str(folder / "token")
    job["static_configs"] = [{"targets": [hub.url.removeprefix("https://")]}]
    job["tls_config"] = {"ca_file": str(hub.folder / "front/authority.crt")}
    facts |= {"rule_files": [str(ALERTS)], "global": {"evaluation_interval": "1s"}}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(facts))
    with _running(folder) as url:

        def ask(expression: str) -> list[dict]:
            answer = requests.get(f"{url}/api/v1/query", params={"query": expression}, timeout=30).json()
            assert answer["status"] == "success", answer
            return answer["data"]["result"]

        def is_read() -> bool:
            try:
                return any(one["value"][1] == "1" for one in ask('up{job="davide-hub"}'))
            except requests.ConnectionError:
                return False

        wait_for(is_read, "Prometheus does not read the hub")
        yield ask


@contextmanager
def _running(folder):
    (port,) = free_ports(1)
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_a_session_is_seen_from_start_to_end(hub, prometheus, wait_for):
    def number(expression: str) -> float:
        return sum(float(one["value"][1]) for one in prometheus(expression))

    running, stopped = 'sum(davide_sessions{state="running"})', 'sum(davide_session_ends_total{reason="stopped"})'
    before, ended = number(running), number(stopped)
    browser = hub.log_in("student04")
    browser.post(f"{hub.url}/hub/spawn", data={"profile": "one-gpu", "_xsrf": xsrf(browser)}, timeout=30)
    wait_for(lambda: number(running) == before + 1, "the session is not seen")
    assert number('davide_session_gpus{state="running", profile="one-gpu"}') >= 1
    assert number("time() - davide_slurm_last_answer_timestamp_seconds{question='queue'}") < 120
    headers = {"X-XSRFToken": xsrf(browser)}
    browser.delete(f"{hub.url}/hub/api/users/student04/server", headers=headers, timeout=30)
    wait_for(lambda: number(stopped) == ended + 1, "the end is not seen")


def test_every_question_of_the_dashboard_is_one_that_prometheus_understands(prometheus):
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    answers = {
        target["expr"]: prometheus(target["expr"].replace("$instance", ".*"))
        for panel in panels
        for target in panel["targets"]
    }
    # What counts failures may have nothing to show, and rates need minutes.
    silent = [text for text, found in answers.items() if not found and "[" not in text and "failures" not in text]
    assert silent == []


def test_no_alert_is_raised_by_a_hub_that_is_well(prometheus):
    assert prometheus('ALERTS{alertstate="firing"}') == []
