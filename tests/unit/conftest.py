"""What several tests of sessions begin with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub import spawner
from davide_hub.spawner import DavideSpawner
from fake_session import session_over


@pytest.fixture
def session(monkeypatch):
    """Return a function that makes a session's spawner over some words of Slurm; it waits for nothing for long."""
    monkeypatch.setattr(spawner, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(spawner, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(
        DavideSpawner, "_save", lambda self: self.__dict__.setdefault("saved", []).append(self.get_state())
    )
    monkeypatch.setattr(DavideSpawner, "_use_token", lambda self, token: setattr(self, "api_token", token))
    environment = {"JUPYTERHUB_API_TOKEN": "t", "PATH": "/bin", "CONFIGPROXY_AUTH_TOKEN": "x"}
    monkeypatch.setattr(DavideSpawner, "get_env", lambda _self: environment)
    monkeypatch.setattr(DavideSpawner, "server", None)
    return session_over


@pytest.fixture
def hours(monkeypatch):
    """Let an hour pass between any two looks at the clock."""
    monkeypatch.setattr(spawner, "time", SimpleNamespace(monotonic=iter(range(0, 10**9, 3600)).__next__))


@pytest.fixture
def is_gone_soon(wait_for):
    """Return a function that waits for a process to be gone whose number stands in a file."""

    def wait(number_in: Path) -> None:
        status = Path("/proc", number_in.read_text().strip(), "stat")

        def is_gone():
            try:
                # Killed; until somebody reaps it, it is a zombie.
                return status.read_text().split()[2] in "ZX"
            except (FileNotFoundError, ProcessLookupError):
                return True

        wait_for(is_gone, "the process to be gone", 30)

    return wait
