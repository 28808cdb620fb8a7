"""Card payments: the real table of the ULB, if it is staged, and a synthetic one of the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from davide_course.data import DatasetError, staged

Array = NDArray[np.float32]
ROWS, FRAUDS = 284_807, 492  # of the real table, and of the synthetic one
COLUMNS = (*(f"V{number}" for number in range(1, 29)), "log amount")
SECONDS = 172_800.0  # two days
ADDRESS = "https://storage.googleapis.com/download.tensorflow.org/data/creditcard.csv"
SHA256 = "76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89"


@dataclass(frozen=True)
class Cards:
    """Card payments in the order of their time, one a row.

    `features` has the columns `COLUMNS`: V1..V28 without unit, and log(1 + amount), the amount in euro. `seconds` is
    the time since the first payment; `fraud` says which payments were reported by the card's owner.
    """

    name: str
    source: str
    seconds: Array
    features: Array
    fraud: NDArray[np.bool_]


def load_cards(mode: str, seed: int = 0) -> Cards:
    """Return the payments of a lesson: `synthetic(seed)` in mode "fast", `real()` in mode "full".

    Raises
    ------
    DatasetError
        If `mode` is something else, or the real table isn't staged.
    """
    if mode == "fast":
        return synthetic(seed)
    if mode == "full":
        return real()
    raise DatasetError(f'no mode \'{mode}\'; choose "fast" or "full" in the lesson\'s first cell')


def real() -> Cards:
    """Return the real table: payments with European cards on two days of September 2013.

    Source: Machine Learning Group of the Universite Libre de Bruxelles and Worldline; A. Dal Pozzolo et al.,
    Calibrating probability with undersampling for unbalanced classification, 2015. Licence: Database Contents License
    1.0. V1..V28 are principal components of quantities that the bank keeps secret.

    Raises
    ------
    DatasetError
        If the file isn't staged, has another checksum, or other rows than expected.
    """
    return read(staged("creditcard.csv", ADDRESS, SHA256))


def read(path: Path, rows: int = ROWS, frauds: int = FRAUDS) -> Cards:
    """Return the payments in a file with the columns Time, V1..V28, Amount, Class.

    Raises
    ------
    DatasetError
        If it hasn't so many rows and frauds.
    """
    table = np.loadtxt(path, np.float32, delimiter=",", skiprows=1, quotechar='"', ndmin=2)
    fraud = table[:, -1] == 1
    if (len(table), fraud.sum()) != (rows, frauds):
        raise DatasetError(f"{path} has {len(table)} rows and {fraud.sum()} frauds, not {rows} and {frauds}")
    features = np.column_stack([table[:, 1:29], np.log1p(table[:, 29])])
    source = "Machine Learning Group, ULB (Dal Pozzolo et al. 2015)"
    return Cards("creditcard", source, table[:, 0], features, fraud)


# What the synthetic table is made of. The lesson's recipe knows none of these numbers.
HABITS = 6  # numbers that describe a payment completely
FREQUENCY = 0.33  # how strongly the quantities bend with the habits
NOISE = 0.07  # of each quantity; its signal is between -1 and 1
FEWEST, MOST = 3, 14  # quantities of a fraud that follow the thief's habits, of 28


@cache
def synthetic(seed: int = 0) -> Cards:
    """Return a made-up table with the shape of the real one; nothing measured on it says anything about real fraud.

    A payment is described by six habits **z**, normally distributed: who pays, where, for what. A bank measures 28
    quantities, each a smooth function of the habits plus noise, sin(**a**·**z** + b) + noise, with fixed **a** and b.
    So the payments lie near a curved, six-dimensional sheet. As with the real table, only the principal components of
    the quantities are handed out, V1..V28: uncorrelated, but far from independent.

    In a fraud a thief uses somebody's card: some of the quantities (3 to 14 of 28, others in each fraud) follow the
    thief's habits, the others the owner's. A thief's habits are distributed like everybody's, so each quantity alone
    looks as usual; what is broken is the relation between them, and the payment lies off the sheet. Whoever knows the
    shape of the sheet finds it, and a curved sheet is what an autoencoder can learn and PCA can't. The more quantities
    are foreign, the easier; some frauds can't be found at all.

    Payments are rarer at night, frauds are spread evenly, and amounts follow two of the habits.
    """
    random = np.random.default_rng([6, seed])
    seconds = np.sort(payment_times(random))
    fraud = np.zeros(ROWS, bool)
    fraud[random.choice(ROWS, FRAUDS, replace=False)] = True
    directions = random.normal(0, FREQUENCY, (HABITS, 28))
    shifts = random.uniform(-np.pi, np.pi, 28)
    habits = random.normal(size=(ROWS, HABITS)).astype(np.float32)
    signals = habits @ directions
    foreign = random.normal(size=(FRAUDS, HABITS)) @ directions
    signals[fraud] = np.where(some_quantities(random), foreign, signals[fraud])
    quantities = np.sin(signals + shifts) + random.normal(0, NOISE, (ROWS, 28))
    centred = quantities - quantities.mean(axis=0)
    components = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    amounts = np.exp(3 + 0.8 * habits[:, 0] + 0.6 * habits[:, 1] + random.normal(0, 0.9, ROWS))
    features = np.column_stack([centred @ components, np.log1p(np.round(amounts, 2))])
    return Cards("synthetic", "made up for this course", seconds, features.astype(np.float32), fraud)


def payment_times(random: np.random.Generator) -> Array:
    """Return the times of all payments within two days: at three in the afternoon four times as many as at night."""
    drawn = random.uniform(0, SECONDS, 3 * ROWS)
    rate = 0.625 - 0.375 * np.cos(2 * np.pi * (drawn / 86_400 - 0.125))
    times: Array = drawn[random.uniform(size=len(drawn)) < rate][:ROWS].astype(np.float32)
    return times


def some_quantities(random: np.random.Generator) -> NDArray[np.bool_]:
    """Return which quantities are foreign in each fraud: an array of frauds by 28."""
    counts = random.integers(FEWEST, MOST + 1, FRAUDS)
    ranks = random.permuted(np.tile(np.arange(28), (FRAUDS, 1)), axis=1)
    chosen: NDArray[np.bool_] = ranks < counts[:, None]
    return chosen


def by_time(cards: Cards) -> tuple[slice, slice, slice]:
    """Return the first 60 % of the rows for training, the next 20 % for validation, the last 20 % for the test."""
    first, second = int(0.6 * len(cards.fraud)), int(0.8 * len(cards.fraud))
    return slice(0, first), slice(first, second), slice(second, None)
