"""A session as home and overview list it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub.facts import load_site
from davide_hub.news import News
from davide_hub.shown import shown
from davide_hub.states import Job, phase_of

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")


def session(state: str, *, pending: str | None = None) -> SimpleNamespace:
    """Return a session that is up, whose job is in one of Slurm's states."""
    job = Job(phase_of(state), state, "gpu01")
    return SimpleNamespace(
        proof=SimpleNamespace(view=SimpleNamespace(last=lambda _number: job)),
        site=SITE,
        user=SimpleNamespace(name="student01"),
        name="",
        job_id="7",
        node="gpu01",
        profile_name="no-gpu",
        pending=pending,
        ready=True,
        user_options={},
        news=News(),
        asked_at=None,
        report=None,
        gpu_use=None,
        orm_spawner=SimpleNamespace(last_activity=None, started=None),
    )


@pytest.mark.parametrize(("state", "is_so"), [("RUNNING", False), ("SUSPENDED", True), ("STOPPED", True)])
def test_a_session_that_slurm_has_suspended_is_said_to_be(state, is_so):
    found = shown(session(state))
    assert (found.state, found.suspended) == ("running", is_so)


def test_a_suspended_session_that_is_being_ended_is_ending():
    assert not shown(session("SUSPENDED", pending="stop")).suspended
