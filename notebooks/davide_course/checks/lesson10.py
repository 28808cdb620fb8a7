"""Checks of lesson 10, large-scale deep learning, and the measuring that its cells would be too long for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from davide_course import slurm
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["alone", "difference", "line", "loss_of_worker", "prediction", "report", "ring_seconds", "scaling"]

Array = NDArray[np.floating[Any]]
LESSON = Lesson("10", ("loss_of_worker", "ring_seconds"))
BATCH = 256


def loss_of_worker(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: the sum over workers of `loss_of_worker(losses, count)` is the mean over the global batch."""
    return LESSON.run(
        "loss_of_worker", _check_loss, attempt, "The workers' parts add up to the loss of the whole batch."
    )


def ring_seconds(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `ring_seconds(count, megabytes, latency, bandwidth)`."""
    return LESSON.run(
        "ring_seconds", _check_ring, attempt, "Right for few and many workers, small and large gradients."
    )


def place() -> Path | None:
    """Return where workers on all nodes see files: the current folder under Slurm, else the system's choice (None)."""
    return Path.cwd() if slurm.in_reach() else None


def loss_of(weights: Sequence[Any], x: Any, y: Any) -> Any:
    """Return the mean cross-entropy of the lesson's network: tanh of one layer, then one more."""
    scores = tf.tanh(x @ weights[0] + weights[1]) @ weights[2] + weights[3]
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))


def step_of(variables: Sequence[Any], rate: Any) -> Callable[[Any, Any], Any]:
    """Return a step of gradient descent with momentum 0.9; variables are four weights, then their momenta."""
    weights, momenta = variables[:4], variables[4:]

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(weights, x, y)
        for weight, momentum, slope in zip(weights, momenta, tape.gradient(loss, weights), strict=True):
            momentum.assign(0.9 * momentum + slope)
            weight.assign_sub(rate * momentum)

    return step  # type: ignore[no-any-return]


def alone(start: Sequence[Array], x: Array, y: Any, steps: int) -> dict[str, Any]:
    """Return weights and seconds of a step, trained in one process with whole batches."""
    variables = [tf.Variable(value) for value in start]
    step = step_of(variables, tf.constant(0.1))
    for number in range(steps):
        first = number * BATCH % len(x)
        step(x[first : first + BATCH], y[first : first + BATCH])
    weights = [one.numpy() for one in variables[:4]]
    took = []
    for _ in range(15):
        begin = time.perf_counter()
        step(x[:BATCH], y[:BATCH])
        took.append(time.perf_counter() - begin)
    return {"weights": weights, "steps": min(took)}


def difference(weights: Sequence[Any], others: Sequence[Any]) -> float:
    """Return the largest difference of two networks' weights; not a number if they have other shapes."""
    pairs = [(np.asarray(one), np.asarray(other)) for one, other in zip(weights, others, strict=True)]
    if any(one.shape != other.shape for one, other in pairs):
        return float("nan")
    return float(max(np.abs(one - other).max() for one, other in pairs))


@dataclass(frozen=True)
class Line:
    """A straight line through times of an all-reduce: `a` seconds + `b` seconds per byte."""

    a: float
    b: float
    bytes: Array
    measured: Array
    fitted: NDArray[np.bool_]

    @property
    def seconds(self) -> Array:
        """What the line says for each size."""
        return self.a + self.b * self.bytes

    @property
    def worst(self) -> float:
        """The largest factor between line and measurement, over the sizes that it was not fitted to."""
        ratio = self.measured[~self.fitted] / self.seconds[~self.fitted]
        return float(np.max(np.maximum(ratio, 1 / ratio)))


def line(times: Mapping[str, float]) -> Line:
    """Fit a line to every other size from the smallest on; deviations are relative, neither number is negative.

    Parameters
    ----------
    times
        Size in numbers of 4 bytes -> seconds.
    """
    from scipy.optimize import nnls

    sizes = np.array(sorted(map(int, times)), dtype=float)
    measured = np.array([times[str(int(size))] for size in sizes])
    fitted = np.arange(len(sizes)) % 2 == 0  # with an odd number of sizes, both ends: no extrapolation
    count = 4 * sizes
    rows = np.stack([1 / measured[fitted], count[fitted] / 1e6 / measured[fitted]], axis=1)
    a, b = nnls(rows, np.ones(len(rows)))[0]
    return Line(float(a), float(b) / 1e6, count, measured, fitted)


@dataclass(frozen=True)
class Row:
    """One line of the scaling table; times in seconds."""

    kind: str
    count: int
    measured: float
    predicted: float
    communication: float
    efficiency: float
    images: float


@dataclass(frozen=True)
class Table:
    """Weak and strong scaling."""

    rows: tuple[Row, ...]
    note: str

    def __str__(self) -> str:
        head = "scaling  workers  images/s   ms/step  predicted  communication  efficiency"
        lines = [
            f"{row.kind:<8} {row.count:>7} {row.images:>9.0f} {1000 * row.measured:>9.2f} "
            f"{1000 * row.predicted:>10.2f} {row.communication:>14.0%} {row.efficiency:>11.0%}"
            for row in self.rows
        ]
        return "\n".join([head, *lines, self.note])


def scaling(single: float, found: Mapping[int, Mapping[str, Any]], fits: Mapping[int, Line], numbers: int) -> Table:
    """Return the table of weak and strong scaling.

    Parameters
    ----------
    single
        Seconds of a step with the whole batch in one process.
    found
        Number of workers -> what one of them measured.
    fits
        Number of workers -> cost of an all-reduce.
    numbers
        How many weights the network has.
    """
    cores = len(os.sched_getaffinity(0))
    rows = [Row("alone", 1, single, single, 0.0, 1.0, BATCH / single)]
    for count, one in found.items():
        exchange = fits[count].a + fits[count].b * 4 * numbers
        crowded = max(1.0, count / cores)  # workers that share a core take turns
        for kind, part in (("strong", 1 / count), ("weak", 1.0)):
            measured = one["steps"][kind]
            done = BATCH * (1 if kind == "strong" else count)
            ideal = single / count if kind == "strong" else single
            predicted = single * part * crowded + exchange
            rows.append(
                Row(kind, count, measured, predicted, min(1.0, exchange / measured), ideal / measured, done / measured)
            )
    shared = "These are CPU processes, here for the method: read no speed-up from them."
    return Table(tuple(rows), "" if tf.config.list_physical_devices("GPU") else shared)


def report(
    start: Sequence[Array],
    images: Any,
    one: Mapping[str, Any],
    mirrored: Sequence[Array],
    single: Sequence[Array],
    four: Sequence[Mapping[str, Any]],
    resumed: Sequence[Mapping[str, Any]],
    death: Any,
    missing: Any,
    fits: Mapping[int, Line],
) -> Report:
    """Return how the lesson stands.

    Parameters
    ----------
    start, images
        The weights before the training, and the images: the network has to have learnt something.
    one, four, resumed
        One process; four workers; two of which one was killed on the way.
    mirrored, single
        Weights of the Keras model with and without MirroredStrategy.
    death, missing
        What `workers.run` said of the killed worker and of the one that never started.
    fits
        The lines through the times of an all-reduce.
    """
    before = float(loss_of(start[:4], images.test, images.test_labels))
    after = float(loss_of([np.float32(w) for w in four[0]["weights"]], images.test, images.test_labels))
    apart = max(difference(four[0]["weights"], other["weights"]) for other in four)
    worst = max(fit.worst for fit in fits.values())
    bands: tuple[Band, ...] = (
        Band("MirroredStrategy against one device, weights", "<=", 1e-5, difference(single, mirrored)),
        Band("4 x 64 against 1 x 256, weights", "<=", 1e-6, difference(one["weights"], four[0]["weights"])),
        Band("the four workers among each other, weights", "<=", 0, apart),
        Band(
            "resumed after a kill against 1 x 256, weights",
            "<=",
            1e-6,
            difference(one["weights"], resumed[0]["weights"]),
        ),
        Band("steps repeated after the kill, of 25", "<=", 5, 25 - resumed[0]["resumed_at"]),
        Band("a killed worker's others ended after (s)", "<", 15, death.seconds),
        Band("a missing worker is named (1 = yes)", ">=", 1, float("worker 1 did not start" in str(missing))),
        Band("loss on test images, after / before", "<=", 0.5, after / before),
        Band("all-reduce of held-out sizes, factor off", "<=", 2, worst),
    )
    if tf.config.list_physical_devices("GPU"):
        bands = tuple(replace(band, comparison="") for band in bands)
    return LESSON.report(bands)


def _check_loss(attempt: Callable[..., Any]) -> None:
    for count, rows, seed in ((4, 8, 0), (2, 5, 1)):
        losses = np.random.default_rng(seed).uniform(0.5, 3, (count, rows)).astype(np.float32)
        right = float(losses.mean())
        parts = [float(written(attempt(tf.constant(part), count))) for part in losses]
        found = sum(parts)
        if np.isclose(found, right, rtol=1e-5):
            continue
        if np.isclose(found, right * count, rtol=1e-5):
            raise NotYet(
                "That is the mean over this worker's own rows. The sum over the workers is then too large by their "
                "number: divide by the rows of the *global* batch, `len(losses) * count`."
            )
        if np.isclose(found, right * count * rows, rtol=1e-5):
            raise NotYet("That is the sum of the losses: divide it by the rows of the global batch.")
        if np.isclose(found, right * rows, rtol=1e-5):
            raise NotYet("Divided by the number of workers only: the global batch has `len(losses) * count` rows.")
        raise NotYet("The workers' parts should add up to the mean loss over all rows of all workers.")


def _check_ring(attempt: Callable[..., Any]) -> None:
    for count, megabytes, latency, bandwidth in (
        (4, 100.0, 1e-3, 1000.0),
        (64, 7.0, 2e-5, 3000.0),
        (2, 1e-3, 0.5, 10.0),
    ):
        found = float(written(attempt(count, megabytes, latency, bandwidth)))
        right = 2 * (count - 1) * (latency + megabytes / count / bandwidth)
        mistakes = {
            "Half of it: there are as many rounds again, in which the finished sums go round.": right / 2,
            "Each message is a piece, the gradient divided by the number of workers.": 2
            * (count - 1)
            * (latency + megabytes / bandwidth),
            "The latency is paid in each of the 2(p-1) rounds, not once.": latency
            + 2 * (count - 1) * megabytes / count / bandwidth,
            "Count the rounds: it takes p-1 of them to go round, not p.": 2
            * count
            * (latency + megabytes / count / bandwidth),
            "The latency is missing: every message costs it, however small.": 2
            * (count - 1)
            * megabytes
            / count
            / bandwidth,
        }
        if np.isclose(found, right, rtol=1e-6):
            continue
        for hint, value in mistakes.items():
            if np.isclose(found, value, rtol=1e-6):
                raise NotYet(hint)
        raise NotYet(
            "2(p-1) rounds, each with a message of n/p: its latency, and its megabytes divided by the bandwidth."
        )
