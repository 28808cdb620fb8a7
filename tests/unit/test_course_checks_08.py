"""The checks of lesson 08: the solutions pass, each known mistake gets its hint, and copied images do not pass."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import xlogy
from solved import solved

OPTIMUM = [
    (("p_data / (p_data", "p_model / (p_data"), "the probability that a sample is forged"),
    (("p_data / (p_data + p_model)", "p_data"), "The best discriminator is off"),
    (("xlogy(p_data, best)", "p_data * np.log(best)"), "The value is not a number"),
    ((" + xlogy(p_model, 1 - best)", ""), "lacks the second term"),
    (("np.sum(", "-np.sum("), "the wrong sign"),
    (("np.sum(", "np.mean("), "averaged over the bins"),
    (("1 - best)", "best)"), "The value is off"),
    (("return best, ", "return "), "Return two things"),
    (("best, np.sum", "best[1:], np.sum"), "one number a bin"),
    (("return ", "_ = "), "Nothing comes back"),
]
START = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([5.0])]
STEP = [np.array([[0.1, -0.2], [0.3, 0.0]]), np.array([-0.4])]
MOVES = {
    # The planted mistake of lesson 08: the discriminator is never trained.
    0: "The discriminator didn't move",
    -1: "walked uphill",
    2: "not by one step down its loss",
}


@pytest.fixture
def lesson08(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the checks without TensorFlow, which the tests' environment hasn't got; what needs it isn't called here.

    That exercise 2 is checked with real networks is seen in tests/notebooks.
    """
    names = {"keras": ("initializers", "optimizers"), "keras.layers": ("Dense",), "tensorflow": ()}
    for module, parts in names.items():
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**dict.fromkeys(parts)))
    yield importlib.import_module("davide_course.checks.lesson08")
    for module in ("davide_course.checks.lesson08", "davide_course.judge"):
        sys.modules.pop(module, None)


def optimum(*changes: tuple[str, str]) -> Callable[..., Any]:
    """Return the solution of exercise 1."""
    return solved("08_generative_adversarial_networks", "optimum", {"np": np, "xlogy": xlogy}, *changes)


def test_the_solution_passes(lesson08: Any) -> None:
    assert lesson08.optimum(optimum()).passed


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # 0 * log(0) is one of the mistakes
@pytest.mark.parametrize(("change", "hint"), OPTIMUM)
def test_each_mistake_in_the_optimum_gets_its_hint(lesson08: Any, change: tuple[str, str], hint: str) -> None:
    outcome = lesson08.optimum(optimum(change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize("factor", MOVES)
def test_a_step_that_is_none_or_not_the_right_one_gets_its_hint(lesson08: Any, factor: int) -> None:
    moved, right = ([a + times * b for a, b in zip(START, STEP, strict=True)] for times in (factor, 1))
    with pytest.raises(lesson08.NotYet, match=MOVES[factor]):
        lesson08.compare_weights(moved, START, right)
    lesson08.compare_weights(right, START, right)


def verdict(lesson08: Any, **changes: float) -> Any:
    """Return what the judge says of good digits, some of it changed."""
    good = {"distance": 1.2, "single": 1.6, "spread": 0.1, "rarest": 0.09, "confidence": 0.94, "novelty": 1.05}
    return lesson08.Verdict(**(good | changes))


def test_good_digits_reach_every_band(lesson08: Any) -> None:
    bands = lesson08.on_digits(verdict(lesson08), verdict(lesson08, distance=9.0))
    assert [band.name for band in bands if not band.passed] == []


@pytest.mark.parametrize(
    ("changes", "band"),
    [
        ({"distance": 1.0, "confidence": 0.98, "novelty": 0.0}, "digits: distance to training images / test's"),
        ({"rarest": 0.01}, "digits: share of the rarest class"),
        ({"distance": 4.0}, "digits: Frechet distance / floor"),
        ({"confidence": 0.9}, "digits: confidence of the judge"),
    ],
    ids=["copies of the training images", "a class that is missing", "far away", "smudges"],
)
def test_digits_that_are_not_good_miss_a_band(lesson08: Any, changes: dict[str, float], band: str) -> None:
    bands = lesson08.on_digits(verdict(lesson08, **changes), verdict(lesson08, distance=99.0))
    assert [one.name for one in bands if not one.passed] == [band]


def test_a_game_that_needs_no_cure_shows_nothing(lesson08: Any) -> None:
    bands = lesson08.on_digits(verdict(lesson08), verdict(lesson08))
    assert [one.name for one in bands if not one.passed] == ["without the cures: Frechet distance / with them"]


def test_other_images_are_shown_and_not_judged(lesson08: Any) -> None:
    bands = lesson08.on_digits(verdict(lesson08, distance=50.0), verdict(lesson08), "full")
    assert all(band.passed and not band.requirement.strip("-") for band in bands)


def test_the_distance_is_that_of_two_normal_distributions(lesson08: Any) -> None:
    from davide_course.judge import frechet

    some = np.random.default_rng(0).normal(size=(500, 3))
    assert frechet(some, some) == pytest.approx(0, abs=1e-6)
    assert frechet(some, some + np.array([3, 0, 4])) == pytest.approx(25)
    # Twice the spread: the trace of (2 - 1)^2 times the covariance.
    assert frechet(some, 2 * some - some.mean(axis=0)) == pytest.approx(np.trace(np.cov(some.T)))


def test_copies_are_at_no_distance_from_the_training_images(lesson08: Any) -> None:
    from davide_course.judge import to_nearest

    train = np.random.default_rng(0).random((40, 6))
    assert to_nearest(train[:10], train) == pytest.approx(0, abs=1e-6)
    assert to_nearest(train[:10] + np.array([0, 0, 0, 0, 0, 9]), train) > 8
