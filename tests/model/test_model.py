"""A model of the life of a session: whatever happens, in whatever order, everything is right once it comes to rest.

At rest there are no two live jobs of one server, no live job without an owner, no dead job that is believed alive, no
server that runs and that nobody is let into, and nothing that the ledger keeps open for nothing. On the way there are
never two servers of one session, and no session is ended that runs and that its user wants.

The model is the real code (broker, ledger, marks, spawner, resumption, reconciliation, proof) in a world in memory:
`world.py`, `broker_process.py` and `hub_process.py`. What is exhaustive: all orders of all events and mishaps within
the bounds of each test below; within a step each answer of Slurm, the broker, the disk and the home is a choice, too.
What is sampled: the long lives at the end.

Bounds of the world itself: one user with one server; sbatch's orders arrive within the time that the broker waits for
them, or never; nobody touches comments or reuses numbers (`tests/unit` does); a step of the hub is interrupted by its
user only while the hub is comparing with the ledger, and by death anywhere.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from choices import Choices
from frozen import Frozen, freeze
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from life import Life
from mutants import MUTANTS
from search import search
from world import World

# The long form allows more of them.
MISHAPS = int(os.environ.get("DAVIDE_MODEL_MISHAPS", "2"))


def told(way: list[str]) -> str:
    return "\n  ".join(["", *way])


@pytest.fixture
def life(monkeypatch):
    return Life(monkeypatch)


@pytest.mark.parametrize(
    ("depth", "mishaps"), [(12, MISHAPS), (7, 7)], ids=["twelve events", "seven events, any of them mishaps"]
)
def test_everything_comes_right_in_all_orders(life, capsys, depth, mishaps):
    found = search(life, depth, mishaps)
    with capsys.disabled():
        print(f"\n{found.worlds} worlds, {found.steps} steps: depth {depth}, at most {mishaps} mishaps")
    assert found.wrong == "", told(found.way)
    assert found.worlds > 1000


@pytest.mark.parametrize(("mutant", "wrong"), MUTANTS.items(), ids=[mutant.__name__ for mutant in MUTANTS])
def test_planted_bugs_are_found(monkeypatch, mutant, wrong):
    mutant(monkeypatch)
    found = search(Life(monkeypatch), 9, 2)
    assert wrong in found.wrong
    assert found.wrong, "the model does not notice"


class _Drawn(Choices):
    """Choices that hypothesis makes."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__()
        self._data = data

    def among(self, *options: Any) -> Any:
        # Mostly all goes well: else hardly any session would come up.
        well = self._data.draw(st.integers(0, 9)) > 0
        return options[0] if well else self._data.draw(st.sampled_from(options))


def test_long_lives_come_right_too(monkeypatch):
    life = Life(monkeypatch)

    class Lives(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.state: Frozen = freeze(World())

        @rule(data=st.data())
        def something_happens(self, data: st.DataObject) -> None:
            event = data.draw(st.sampled_from(life.events(self.state)))
            self.state = life.happen(self.state, event, _Drawn(data))

        @invariant()
        def all_comes_right(self) -> None:
            assert life.unrest(self.state) == ""

    many = settings(
        max_examples=100,
        stateful_step_count=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Lives, settings=many)
