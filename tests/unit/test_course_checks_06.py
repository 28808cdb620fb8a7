"""The checks of lesson 06: the solutions pass, each known mistake gets its hint, and the table is what it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from davide_course import cards
from davide_course.checks import lesson06
from davide_course.data import DatasetError
from sklearn.metrics import average_precision_score, precision_recall_curve
from solved import solved

MEASURES = [
    (("return precision, found / fraud.sum()", "return found / fraud.sum(), precision"), "The two are exchanged"),
    (("found / alarm.sum() if alarm.any() else 0.0", "np.mean(alarm == fraud)"), "One of the two is the accuracy"),
    (("if alarm.any() else 0.0", ""), "Without any alarm, precision is 0 / 0"),
    (("found / fraud.sum()", "found / alarm.sum()"), "TP + FN, all frauds"),
    (("found / alarm.sum()", "found / len(alarm)"), "TP + FP, all alarms"),
    (("return precision, found / fraud.sum()", "return precision"), "Return 2 numbers"),
    (("return precision, found / fraud.sum()", "..."), "Nothing comes back"),
]
JUDGE = [
    # The planted mistake of lesson 06: the threshold is chosen on the test part.
    (("scores, fraud = validation", "scores, fraud = test"), "it was chosen there"),
    (("scores, fraud = test", "pass"), "those of the validation part"),
    ((">= least", ">= 0.5"), "not always one half"),
    ((".min()", ".max()"), "but a recall of only"),
    ((">= least", ">= 0.1"), "less than 0.5"),
    (("scores >= threshold", "scores > 1.1 * threshold"), "precision or recall on the test is not"),
    (("fraud[alarm].mean(), alarm[fraud].mean()", "alarm[fraud].mean(), fraud[alarm].mean()"), "are exchanged"),
    (("return threshold, fraud[alarm].mean(), alarm[fraud].mean()", "..."), "Nothing comes back"),
]


def written(name: str, *changes: tuple[str, str]) -> Callable[..., Any]:
    """Return the solution of an exercise of lesson 06."""
    scope = {"np": np, "precision_recall_curve": precision_recall_curve}
    return solved("06_anomaly_detection", name, scope, *changes)


def test_the_solutions_pass() -> None:
    assert lesson06.measures(written("measures")).passed
    assert lesson06.judge(written("judge")).passed


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(("change", "hint"), MEASURES)
def test_each_mistake_in_the_measures_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson06.measures(written("measures", change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize(("change", "hint"), JUDGE)
def test_each_mistake_in_the_judgement_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson06.judge(written("judge", change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize("attempt", [None, 3, lambda *_: None, lambda *_: 1 / 0, lambda *_: (None, None, None)])
def test_whatever_a_student_leaves_there_the_check_says_not_yet(attempt: object) -> None:
    for check in (lesson06.measures, lesson06.judge):
        assert not check(attempt).passed  # type: ignore[arg-type]


def test_no_column_of_the_synthetic_table_finds_the_frauds_and_no_two_are_correlated() -> None:
    table = cards.load_cards("fast", seed=3)
    assert (len(table.fraud), table.fraud.sum(), table.features.shape[1]) == (284_807, 492, 29)
    assert np.all(np.diff(table.seconds) >= 0) and table.seconds[-1] <= 172_800
    assert np.abs(np.corrcoef(table.features[:, :28].T) - np.eye(28)).max() < 1e-3
    assert all(average_precision_score(table.fraud, np.abs(column)) < 0.25 for column in table.features.T)


def test_the_parts_are_cut_by_time() -> None:
    table = cards.load_cards("fast", seed=3)
    train, validation, test = (table.seconds[part] for part in cards.by_time(table))
    assert train.max() <= validation.min() and validation.max() <= test.min()
    assert [round(len(part) / 284_807, 3) for part in (train, validation, test)] == [0.6, 0.2, 0.2]


def test_the_real_table_comes_with_the_command_that_stages_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    with pytest.raises(DatasetError, match=r"creditcard\.csv is missing; .*curl -fo .*sha256 76274b69"):
        cards.load_cards("full")
    with pytest.raises(DatasetError, match='choose "fast" or "full"'):
        cards.load_cards("slow")


def test_a_table_in_the_real_format_is_read_and_counted(tmp_path: Path) -> None:
    names = ",".join(f'"{name}"' for name in ("Time", *cards.COLUMNS[:28], "Amount", "Class"))
    rows = [
        f"{time}," + ",".join(["0.5"] * 28) + f',{amount},"{kind}"' for time, amount, kind in ((0, 9, 0), (2, 0, 1))
    ]
    (tmp_path / "small.csv").write_text("\n".join([names, *rows]) + "\n")
    table = cards.read(tmp_path / "small.csv", rows=2, frauds=1)
    assert table.seconds.tolist() == [0, 2]
    assert table.fraud.tolist() == [False, True]
    assert np.allclose(table.features[:, 28], [np.log(10), 0])
    with pytest.raises(DatasetError, match="has 2 rows and 1 frauds, not 284807 and 492"):
        cards.read(tmp_path / "small.csv")
