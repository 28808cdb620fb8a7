"""The form of the attack suite's rows; what the attacks come to needs the cluster."""

import re

import pytest
from attacks.attack import AREAS
from attacks.rows import ROWS
from attacks.weaken import WEAK, host_scripts, weaknesses

EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@EVERY_ROW
def test_a_row_is_complete(row):
    assert row.area in AREAS
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", row.name)
    assert row.unit in ("jupyterhub", "davide-broker", "jupyterhub-proxy", "davide-front")
    assert row.refused
    re.compile(row.refused)
    re.compile(row.logged)
    assert (row.attempt.__doc__ or "").startswith("Wants "), "say what the attacker wants"


@EVERY_ROW
def test_a_row_names_a_weakness_that_exists(row):
    assert row.weakness in weaknesses()


def test_there_are_as_many_as_is_promised():
    assert len(ROWS) >= 40
    assert {row.area for row in ROWS} == set(AREAS)


def test_names_are_unique():
    names = [row.name for row in ROWS]
    assert sorted(set(names)) == sorted(names)


def test_every_weakness_is_used():
    assert set(weaknesses()) == {row.weakness for row in ROWS}


def test_host_scripts_say_where_they_run_and_can_be_undone():
    for script in host_scripts():
        assert script.hosts, f"{script.stem}: say '# on: HOST'"
        assert "undo" in script.text, f"{script.stem}: has no undo"


def test_nothing_else_lies_among_the_weaknesses():
    others = {path.relative_to(WEAK).as_posix() for path in WEAK.rglob("*.*")} - {"run_broker.py", "in_session.py"}
    assert others - {f"{name}{path.suffix}" for name, path in weaknesses().items()} == set()
