"""The checks of lesson 05: the solution passes, and each known mistake gets its hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from davide_course import data
from davide_course.checks import lesson05
from solved import solved

SPREADS = [
    (("axis=0", "axis=1"), "Take the standard deviation over the *images*"),
    (("np.std(images, axis=0).mean()", "np.std(images)"), "over images and units together"),
    (("np.std(images", "np.var(images"), "That is the variance"),
    (("images = layer(images)\n        found", "found"), "The numbers are off"),
    (("np.std(images, axis=0).mean()", "3 * np.std(images, axis=0).mean()"), "The numbers are off"),
    (("return found", "return found[1:]"), "Return one number per layer, here 3"),
    (("return found", "..."), "Nothing comes back"),
]


def written(*changes: tuple[str, str]) -> Callable[..., Any]:
    """Return the solution of exercise 1."""
    return solved("05_deep_or_shallow", "spreads", {"np": np}, *changes)


def test_the_solution_passes() -> None:
    assert lesson05.spreads(written()).passed


@pytest.mark.parametrize(("change", "hint"), SPREADS)
def test_each_mistake_in_the_spreads_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson05.spreads(written(change))
    assert not outcome.passed
    assert hint in outcome.text


def test_measuring_before_the_layer_gets_its_hint() -> None:
    line = "found.append(float(np.std(images, axis=0).mean()))"
    change = (f"images = layer(images)\n        {line}", f"{line}\n        images = layer(images)")
    assert "Call the layer before you measure" in lesson05.spreads(written(change)).text


def test_the_report_tells_a_dead_network_from_one_that_copies() -> None:
    mean = data.digits().train.mean(axis=0)

    def dead(images: Any) -> Any:
        return np.zeros_like(images) + mean

    def copies(images: Any) -> Any:
        return images

    states = [band.passed for band in lesson05.report(dead, copies, copies, copies).bands]
    assert states == [True, True, True, True]
    states = [band.passed for band in lesson05.report(copies, dead, dead, dead).bands]
    assert states == [False, False, False, True]  # the last is only shown
