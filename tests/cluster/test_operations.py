"""What administrators are told of a hub that is used: metrics, GPU-hours, and a line of JSON for each event."""

from __future__ import annotations

import json
import time

from support.web import request

HUB = "/opt/davide/envs/hub/bin/davide-hub"
# The next line of a name that looks like one of the report's.
FORGED = r"x\n99|student08|tra26_davide||1796030151|COMPLETED|3600000|gres/gpu=4|x"
JOB = f"""
name=$(printf "{FORGED}")
srun --quiet --account=tra26_davide --partition=dvd_usr_prod --gres=gpu:2 --time=5 --job-name="$name" sleep 6
"""


def report(cluster, user: str) -> dict:
    return json.loads(cluster.output("hub01", f"{HUB} report --json --user {user}"))


def test_gpu_hours_are_what_slurm_counted_and_no_name_adds_to_them(cluster, wait_for):
    before, others = (report(cluster, user)["gpu_hours"] for user in ("student07", "student08"))
    done = cluster.as_user("student07", JOB, timeout=120)
    assert done.returncode == 0, done.stderr
    used = wait_for(lambda: report(cluster, "student07")["gpu_hours"] - before, "accounting does not tell of the job")
    assert 2 * 6 / 3600 - 0.001 <= used < 2 * 30 / 3600
    assert report(cluster, "student08")["gpu_hours"] == others


def test_the_token_that_the_plays_made_opens_the_metrics_and_nothing_else(cluster):
    token = cluster.output("hub01", "cat /etc/davide-hub/metrics-token")
    shown = cluster.output("hub01", "stat --format='%a %U %G' /etc/davide-hub/metrics-token")
    assert shown == "640 root davide-hub"

    bearer = {"Authorization": f"Bearer {token}"}
    metrics = request("GET", f"{cluster.hub_url}/hub/metrics", headers=bearer, timeout=30)
    assert metrics.status_code == 200
    numbers = dict(line.rsplit(" ", 1) for line in metrics.text.splitlines() if line.startswith("davide_"))
    assert numbers['davide_partition_gpus{partition="dvd_usr_prod"}'] == "8.0"
    assert float(numbers["davide_slurm_silent"]) in (0, 1)
    assert request("GET", f"{cluster.hub_url}/hub/api/users", headers=bearer, timeout=30).status_code == 403
    assert request("GET", f"{cluster.hub_url}/hub/metrics", timeout=30).status_code == 403


def test_the_journal_has_a_line_of_json_for_each_event(cluster, wait_for):
    begun = int(time.time())
    # Something that nobody gets.
    answer = request("POST", f"{cluster.hub_url}/hub/api/users", timeout=30)
    number = answer.headers["X-Request-Id"]

    def lines() -> list[dict]:
        command = f"journalctl -u jupyterhub -o cat --since=@{begun} | grep '^{{' || true"
        return [json.loads(line) for line in cluster.output("hub01", command).splitlines()]

    (line,) = wait_for(lambda: [one for one in lines() if one.get("request") == number], "the request is not told")
    assert (line["event"], line["method"], line["path"], line["status"]) == ("request", "POST", "/hub/api/users", 403)
