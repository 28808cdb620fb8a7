"""The session form on a full cluster: estimates, and how seldom Slurm is asked for them."""

from __future__ import annotations

import time

from playwright.sync_api import expect
from support.slurm_says import node, reservation, sinfo


def test_a_full_cluster_has_estimates(hub, seat, picture):
    now = time.time()
    # All GPUs are taken, and some cores are left; the GPU of a node that is drained does not count.
    full = node("gpu01", used=4).replace("16/0/0/16|24576|24576", "12/4/0/16|24576|18432")
    hub.slurm.says["sinfo"] = sinfo(full, node("gpu02", used=3, state="mixed+drain"))
    hub.slurm.says["scontrol"] = reservation("root_1", now, now + 7200, users="root")
    hub.slurm.says["sacctmgr"] = "Cluster|Account|User|QOS\n"
    hub.slurm.estimates = {"one-gpu": now + 1210, "four-gpus": now + 7230}
    page = seat("student01")
    page.goto(f"{hub.url}/hub/spawn")
    card = page.locator("[data-profile=one-gpu] .davide-live")
    expect(card).to_contain_text("0 of 8 GPUs free", timeout=20_000)
    expect(card).to_contain_text("Starts: in about 20 min", timeout=40_000)
    expect(page.locator("[data-profile=four-gpus] .davide-live")).to_contain_text(
        "Starts: after the reservation", timeout=90_000
    )
    expect(page.locator("[data-profile=no-gpu] .davide-live")).to_contain_text("Starts: now")
    # What is free is not asked for.
    assert hub.slurm.estimated == ["student01 one-gpu", "student01 four-gpus"]
    picture(page, "form-full")
