"""The checks of lesson 07: the solutions pass, each known mistake gets its hint, and the report measures nats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from davide_course import data
from davide_course.checks import lesson07
from solved import solved

DIVERGENCE = [
    (("0.5 * ", ""), "The factor one half is missing"),
    (("return 0.5", "return -0.5"), "The sign is turned"),
    (("np.exp(log_variance) - log_variance", "log_variance - np.log(np.abs(log_variance))"), "is the *logarithm*"),
    (("np.exp(log_variance) - log_variance", "np.exp(2 * log_variance) - 2 * log_variance"), "logarithm of sigma"),
    (("mean**2", "mean"), "The mean has to be squared"),
    ((" - 1)", ")"), "The -1 is missing"),
    (("mean**2", "3 * mean**2"), "The numbers are off"),
    ((" - 1)", " - 1).sum(axis=1)"), "one divergence per image and code number"),
    (("return 0.5", "0.5"), "Nothing comes back"),
]
ELBO = [
    # The planted mistake of lesson 07: the log-likelihood is averaged over the pixels.
    (("np.sum(by_pixel, axis=1)", "np.mean(by_pixel, axis=1)"), "is averaged over the pixels"),
    (("np.sum(by_number, axis=1)", "np.mean(by_number, axis=1)"), "is averaged over the code numbers"),
    (("np.sum(", "np.mean("), "Both terms are averaged"),
    (("rebuilt - price", "rebuilt + price"), "is *subtracted*"),
    (("rebuilt - price", "price - rebuilt"), "minus the ELBO"),
    (("np.mean(rebuilt - price)", "np.sum(rebuilt - price)"), "the sum over the images"),
    (("np.mean(rebuilt - price)", "rebuilt - price"), "Return one number"),
    (("np.mean(rebuilt - price)", "np.mean(rebuilt)"), "The number is off"),
    (("return np.mean", "np.mean"), "Nothing comes back"),
]


def written(name: str, *changes: tuple[str, str]) -> Callable[..., Any]:
    """Return the solution of an exercise of lesson 07."""
    return solved("07_variational_autoencoder", name, {"np": np}, *changes)


def test_the_solutions_pass() -> None:
    assert lesson07.divergence(written("divergence")).passed
    assert lesson07.elbo(written("elbo")).passed


@pytest.mark.parametrize(("change", "hint"), DIVERGENCE)
def test_each_mistake_in_the_divergence_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson07.divergence(written("divergence", change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize(("change", "hint"), ELBO)
def test_each_mistake_in_the_elbo_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson07.elbo(written("elbo", change))
    assert not outcome.passed
    assert hint in outcome.text


def test_a_code_that_says_nothing_has_the_score_of_independent_pixels() -> None:
    images = data.digits()
    share = np.clip(images.train.mean(axis=0), 1e-4, 1 - 1e-4)
    outputs = np.log(share / (1 - share))

    def encoder(some: Any) -> Any:
        return np.zeros((len(some), 32))

    def decoder(codes: Any) -> Any:
        return np.tile(outputs, (len(codes), 1))

    bound, tighter, active = lesson07.judged(encoder, decoder, images.test)
    assert bound == pytest.approx(-254, abs=3)  # the binomial distribution of each pixel by itself
    assert tighter == pytest.approx(bound)
    assert active == 0
    assert [band.passed for band in lesson07.report(encoder, decoder).bands] == [False, False, False]
