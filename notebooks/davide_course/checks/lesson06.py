"""Checks of lesson 06, anomaly detection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from davide_course import cards
from davide_course.checks.core import Band, Lesson, NotYet, Outcome, Report, prediction, written

__all__ = ["judge", "measures", "prediction", "report"]

Array = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Pair = tuple[Array, Flags]
LESSON = Lesson("06", ("measures", "judge"))


def measures(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 1: `measures(alarm, fraud)` returns precision and recall."""
    return LESSON.run("measures", _check_measures, attempt, "Precision and recall are right, also without any alarm.")


def judge(attempt: Callable[..., Any]) -> Outcome:
    """Check exercise 2: `judge(validation, test, least)` returns a frozen threshold, its precision and its recall."""
    praise = "The threshold comes from the validation part alone, and it is judged on the test part."
    return LESSON.run("judge", _check_judge, attempt, praise)


def report(detector: Any, mode: str = "fast", seed: int = 0) -> Report:
    """Return how the lesson stands, from the trained network; everything is computed anew.

    Parameters
    ----------
    detector
        The autoencoder: standardised columns in, their copies out.
    mode
        The lesson's mode. What is required holds for the synthetic table of mode "fast"; in "full" numbers are shown.
    seed
        Of the synthetic table.
    """
    table = cards.load_cards(mode, seed)
    train, validation, test = cards.by_time(table)
    normal = table.features[train][~table.fraud[train]]
    features = (table.features - normal.mean(axis=0)) / normal.std(axis=0)
    known, new = ((score(detector, features[part]), table.fraud[part]) for part in (validation, test))
    threshold = lowest_threshold(known, 0.5)
    precision, recall = at_threshold(new, threshold)
    average = float(average_precision_score(new[1], new[0]))
    by_pca = best_by_pca(table.features - normal.mean(axis=0), table.fraud, validation, test)
    bands = (
        Band("best single column, average precision", "<=", 0.25, best_column(features[test], new[1])),
        Band("autoencoder, average precision", ">=", 0.55, average),
        Band("the same / PCA error's", ">=", 1.5, average / by_pca),
        Band("frozen threshold, recall on the test", ">=", 0.5, recall),
        Band("frozen threshold, precision on the test", ">=", 0.4, precision),
    )
    if mode != "fast":
        return LESSON.report(tuple(replace(band, comparison="") for band in bands))
    return LESSON.report(bands)


def score(detector: Any, rows: Array) -> Array:
    """Return the mean squared error of each row's copy."""
    errors: Array = np.mean((np.asarray(detector(rows)) - rows) ** 2, axis=1)
    return errors


def best_column(features: Array, fraud: Flags) -> float:
    """Return the largest average precision that one column reaches: as it is, negative, or as its absolute value."""
    ways = [way for column in features.T for way in (column, -column, np.abs(column))]
    return max(float(average_precision_score(fraud, way)) for way in ways)


def best_by_pca(centred: Array, fraud: Flags, validation: slice, test: slice) -> float:
    """Return the average precision of PCA's error on the test; the number of components is chosen on the validation."""
    errors = [np.sum(centred[:, k:28] ** 2, axis=1) for k in range(4, 28, 4)]
    best = max(errors, key=lambda one: average_precision_score(fraud[validation], one[validation]))
    return float(average_precision_score(fraud[test], best[test]))


def lowest_threshold(known: Pair, least: float) -> float:
    """Return the threshold of the largest recall with at least this precision; infinity if there is none."""
    scores, fraud = known
    precision, _, thresholds = precision_recall_curve(fraud, scores)
    return float(min(thresholds[precision[:-1] >= least], default=np.inf))


def at_threshold(new: Pair, threshold: float) -> tuple[float, float]:
    """Return precision and recall of a threshold; both are 0 without any alarm."""
    scores, fraud = new
    alarm = scores >= threshold
    return (float(fraud[alarm].mean()), float(alarm[fraud].mean())) if alarm.any() else (0.0, 0.0)


def _numbers(returned: Any, names: tuple[str, ...]) -> list[float]:
    """Return the student's numbers; NotYet if they aren't as many as asked for."""
    found = written(returned)
    if not isinstance(found, tuple | list) or len(found) != len(names):
        raise NotYet(f"Return {len(names)} numbers: `return {', '.join(names)}`.")
    return [float(np.asarray(one)) for one in found]


def _check_measures(attempt: Callable[..., Any]) -> None:
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        fraud = random.uniform(size=400) < 0.2
        alarm = np.where(fraud, random.uniform(size=400) < 0.6, random.uniform(size=400) < 0.05)
        found = _numbers(attempt(alarm.copy(), fraud.copy()), ("precision", "recall"))
        _compare_measures(found, alarm, fraud)
    with np.errstate(all="ignore"):
        found = _numbers(attempt(np.zeros(9, bool), np.arange(9) < 3), ("precision", "recall"))
    if not np.allclose(found, (0, 0)):
        raise NotYet("Without any alarm, precision is 0 / 0. Catch that case, and let the precision be 0 there.")


def _compare_measures(found: list[float], alarm: Flags, fraud: Flags) -> None:
    precision, recall = fraud[alarm].mean(), alarm[fraud].mean()
    if np.allclose(found, (precision, recall)):
        return
    if np.allclose(found, (recall, precision)):
        raise NotYet("The two are exchanged: precision is the share of the *alarms*, recall the share of the *frauds*.")
    accuracy = np.mean(alarm == fraud)
    if np.isclose(found, accuracy).any():
        raise NotYet("One of the two is the accuracy. True negatives must not count in precision, nor in recall.")
    which = "precision" if not np.isclose(found[0], precision) else "recall"
    total = "TP + FP, all alarms" if which == "precision" else "TP + FN, all frauds"
    raise NotYet(f"The {which} is off: divide the number of frauds with an alarm, TP, by {total}.")


def hidden_parts(seed: int) -> tuple[Pair, Pair]:
    """Return scores and frauds of a validation and a test part that no lesson has; the test's scores are larger."""
    random = np.random.default_rng(seed)

    def part(shift: float) -> Pair:
        fraud = random.uniform(size=3000) < 0.03
        return random.gamma(2, 1, 3000) + 7 * fraud * random.uniform(size=3000) ** 0.5 + shift, fraud

    return part(0.0), part(0.4)


def _check_judge(attempt: Callable[..., Any]) -> None:
    for seed, least in ((0, 0.5), (1, 0.7)):
        known, new = hidden_parts(seed)
        found = _judged(attempt, known, new, least)
        other = (new[0], new[1] | (new[0] > np.median(new[0])))
        if not np.isclose(_judged(attempt, known, other, least)[0], found[0]):
            raise NotYet(
                "The threshold changes with the labels of the test part: it was chosen there, and then judged by the "
                "same payments. Choose it with `validation` alone, and use `test` only to judge it."
            )
        _compare_threshold(found[0], known, least)
        _compare_judgement(found, known, new)


def _judged(attempt: Callable[..., Any], known: Pair, new: Pair, least: float) -> list[float]:
    copies = [(scores.copy(), fraud.copy()) for scores, fraud in (known, new)]
    return _numbers(attempt(*copies, least), ("threshold", "precision", "recall"))


def _compare_threshold(found: float, known: Pair, least: float) -> None:
    if np.isclose(found, lowest_threshold(known, least)):
        return
    if not np.isclose(least, 0.5) and np.isclose(found, lowest_threshold(known, 0.5)):
        raise NotYet("The precision that is asked for is `least`, not always one half.")
    precision, recall = at_threshold(known, found)
    if precision < least:
        raise NotYet(f"On the validation part the threshold has a precision of {precision:.2f}, less than {least}.")
    raise NotYet(
        f"The threshold has enough precision, but a recall of only {recall:.2f} on the validation part. A lower "
        "threshold finds more frauds: take the smallest one that still has the precision."
    )


def _compare_judgement(found: list[float], known: Pair, new: Pair) -> None:
    right = at_threshold(new, found[0])
    if np.allclose(found[1:], right):
        return
    if np.allclose(found[1:], at_threshold(known, found[0])):
        raise NotYet("Precision and recall are those of the validation part, where it was chosen. Use `test`.")
    if np.allclose(found[1:], right[::-1]):
        raise NotYet("Precision and recall are exchanged: return threshold, precision, recall.")
    raise NotYet("The threshold is right, precision or recall on the test is not. Alarm: `scores >= threshold`.")
