"""Lesson 10: each known mistake gets its hint, and a line is judged on sizes that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_course_checks import solution


class Fake(SimpleNamespace):
    """Stands in for TensorFlow, of which the exercise needs a sum: the tests' environment has none."""


FAKE = Fake(reduce_sum=np.sum, constant=np.asarray, function=lambda one: one)
LOSS_MISTAKES = [
    (("(len(losses) * count)", "len(losses)"), "the mean over this worker's own rows"),
    ((" / (len(losses) * count)", ""), "the sum of the losses"),
    (("(len(losses) * count)", "count"), "Divided by the number of workers only"),
    (("(len(losses) * count)", "2"), "should add up to the mean loss"),
    (("return ", "_ = "), "Nothing comes back"),
]
RING_MISTAKES = [
    (("2 * (count - 1)", "(count - 1)"), "as many rounds again"),
    (("megabytes / count / bandwidth", "megabytes / bandwidth"), "Each message is a piece"),
    (("(count - 1)", "count"), "not p"),
    (("latency + ", ""), "The latency is missing"),
    (("latency + ", "megabytes + "), "2(p-1) rounds"),
]


@pytest.fixture
def lesson10(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the checks, with the stand-in where they import TensorFlow."""
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", FAKE)
    return importlib.import_module("davide_course.checks.lesson10")


def right(name: str, *changes: tuple[str, str]) -> Callable[..., Any]:
    """Return the lesson's solution, with some text changed."""
    found = solution("10_large_scale", name, *changes)
    found.__globals__["tf"] = FAKE
    return found


@pytest.mark.parametrize(("change", "hint"), LOSS_MISTAKES)
def test_each_mistake_in_the_loss_gets_its_hint(lesson10: Any, change: tuple[str, str], hint: str) -> None:
    outcome = lesson10.loss_of_worker(right("loss_of_worker", change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize(("change", "hint"), RING_MISTAKES)
def test_each_mistake_in_the_ring_gets_its_hint(lesson10: Any, change: tuple[str, str], hint: str) -> None:
    outcome = lesson10.ring_seconds(right("ring_seconds", change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize("name", ["loss_of_worker", "ring_seconds"])
def test_the_solutions_are_right(lesson10: Any, name: str) -> None:
    outcome = getattr(lesson10, name)(right(name))
    assert outcome.passed, outcome.text


def test_a_line_is_found_and_judged_on_sizes_that_it_was_not_fitted_to(lesson10: Any) -> None:
    sizes = [1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
    times = {str(size): 2e-3 + 4 * size * 5e-9 for size in sizes}
    fit = lesson10.line(times)
    assert (fit.a, fit.b) == (pytest.approx(2e-3), pytest.approx(5e-9))
    assert fit.worst == pytest.approx(1)
    assert lesson10.line(times | {"3000": 3 * times["3000"]}).worst == pytest.approx(3)
    assert lesson10.line(times | {"30000": times["30000"] / 3}).worst == pytest.approx(3)
