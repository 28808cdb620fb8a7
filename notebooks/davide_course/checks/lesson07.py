"""Checks of lesson 07, variational autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from davide_course import data
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["divergence", "elbo", "judged", "prediction", "report"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("07", ("divergence", "elbo"))
SAMPLES = 64


def divergence(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `divergence(mean, log_variance)` returns the divergence of each code number."""
    praise = "It agrees with an integral over the two distributions, computed apart."
    return LESSON.run("divergence", _check_divergence, attempt, praise)


def elbo(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `elbo(by_pixel, by_number)` returns the ELBO in nats per image."""
    return LESSON.run("elbo", _check_elbo, attempt, "Sums within an image, then the mean over the images.")


def report(encoder: Any, decoder: Any, mode: str = "fast") -> Report:
    """Return how the lesson stands, from the trained networks; everything is computed anew on the test images.

    Parameters
    ----------
    encoder
        Images in, means and logarithms of the variances of the code numbers out, side by side.
    decoder
        Codes in, log p / (1 - p) of each pixel out.
    mode
        The lesson's mode. What is required was measured on the digits of mode "fast"; in "full" the numbers are shown.
    """
    bound, tighter, active = judged(encoder, decoder, data.load_images(mode).test)
    bands = (
        Band("ELBO on the test images (nats)", ">=", -94.0, bound),
        Band("importance-weighted bound, 64 codes (nats)", ">=", -89.0, tighter),
        Band("active code numbers, of 16", ">=", 13.0, active),
    )
    if mode != "fast":
        return LESSON.report(tuple(replace(band, comparison="") for band in bands))
    return LESSON.report(bands)


def judged(encoder: Any, decoder: Any, images: Array) -> tuple[float, float, float]:
    """Return the ELBO and the importance-weighted bound, in nats per image, and the number of active code numbers.

    A code number is active if its mean varies over the images by more than 0.01 (variance).
    """
    mean, log_variance = np.split(np.asarray(encoder(images), dtype=float), 2, axis=1)
    random = np.random.default_rng(7)
    rebuilt, weights = [], []
    for _ in range(SAMPLES):
        noise = random.normal(size=mean.shape)
        codes = mean + np.exp(log_variance / 2) * noise
        likelihood = log_likelihood(images, np.asarray(decoder(codes.astype(np.float32)), dtype=float))
        rebuilt.append(likelihood)
        weights.append(likelihood + 0.5 * np.sum(noise**2 + log_variance - codes**2, axis=1))
    bound = np.mean(rebuilt) - right_divergence(mean, log_variance).sum(axis=1).mean()
    tighter = np.mean(logsumexp(weights, axis=0) - np.log(SAMPLES))
    return float(bound), float(tighter), float(np.sum(mean.var(axis=0) > 0.01))


def log_likelihood(images: Array, outputs: Array) -> Array:
    """Return the log-probability of each image, in nats: a binomial count of 16 in each pixel."""
    counts = np.round(16 * images)
    ways = gammaln(17) - gammaln(counts + 1) - gammaln(17 - counts)
    by_pixel: Array = ways + counts * outputs - 16 * np.logaddexp(0, outputs)
    return np.asarray(by_pixel.sum(axis=1))


def right_divergence(mean: Array, log_variance: Array) -> Array:
    """Return the KL divergence of each code number from the standard normal distribution."""
    found: Array = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1)
    return found


def _check_divergence(attempt: Callable[..., Any]) -> None:
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        mean, log_variance = random.normal(size=(2, 5, 4))
        found = np.asarray(written(attempt(mean.copy(), log_variance.copy())), dtype=float)
        if found.shape != mean.shape:
            raise NotYet(f"Return one divergence per image and code number, here {mean.shape}, not {found.shape}.")
        if not np.allclose(found, right_divergence(mean, log_variance), rtol=1e-5):
            _explain_divergence(found, mean, log_variance)


def _explain_divergence(found: Array, mean: Array, log_variance: Array) -> None:
    right = right_divergence(mean, log_variance)
    mistakes = {
        "The factor one half is missing.": 2 * right,
        "The sign is turned: the divergence is never negative.": -right,
        "The second argument is the *logarithm* of the variance: the variance is `np.exp(log_variance)`.": 0.5
        * (mean**2 + log_variance - np.log(np.abs(log_variance)) - 1),
        "That takes `log_variance` for the logarithm of sigma; it is that of sigma squared.": 0.5
        * (mean**2 + np.exp(2 * log_variance) - 2 * log_variance - 1),
        "The mean has to be squared.": 0.5 * (mean + np.exp(log_variance) - log_variance - 1),
        "The -1 is missing: for mean 0 and variance 1 the divergence is 0.": right + 0.5,
    }
    for hint, value in mistakes.items():
        if np.allclose(found, value, rtol=1e-5):
            raise NotYet(hint)
    raise NotYet("The numbers are off. For mean 0 and variance 1 the divergence is 0; is yours?")


def _check_elbo(attempt: Callable[..., Any]) -> None:
    for seed, (rows, pixels, numbers) in ((0, (6, 20, 3)), (1, (9, 11, 5))):
        random = np.random.default_rng(seed)
        by_pixel, by_number = -random.gamma(2, 1, (rows, pixels)), random.gamma(1, 0.5, (rows, numbers))
        returned = np.asarray(written(attempt(by_pixel.copy(), by_number.copy())), dtype=float)
        if returned.shape != ():
            raise NotYet(f"Return one number, the mean over the images, not an array of shape {returned.shape}.")
        found, rebuilt, price = float(returned), by_pixel.sum(axis=1).mean(), by_number.sum(axis=1).mean()
        if not np.isclose(found, rebuilt - price):
            _explain_elbo(found, rebuilt, price, by_pixel, by_number)


def _explain_elbo(found: float, rebuilt: float, price: float, by_pixel: Array, by_number: Array) -> None:
    mistakes = {
        "The log-likelihood is averaged over the pixels. Probabilities of pixels multiply, so their logarithms *add*: "
        "with the mean, an image counts as much as one pixel, and the code collapses.": by_pixel.mean() - price,
        "The divergence is averaged over the code numbers; each of them has its price, so take the sum.": rebuilt
        - by_number.mean(),
        "Both terms are averaged within an image; take sums.": by_pixel.mean() - by_number.mean(),
        "The sign of the price is wrong: the divergence is *subtracted*.": rebuilt + price,
        "The sign is turned: that is the loss, minus the ELBO.": price - rebuilt,
        "That is the sum over the images; take their mean.": len(by_pixel) * (rebuilt - price),
    }
    for hint, value in mistakes.items():
        if np.isclose(found, value):
            raise NotYet(hint)
    raise NotYet("The number is off: sum over pixels, minus sum over code numbers, then the mean over the images.")
