"""The checks of the lessons: right solutions pass, each known mistake gets its hint, and nothing stops a notebook."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from davide_course import data
from davide_course.checks import core, lesson01
from sklearn.decomposition import PCA

LESSONS = Path(__file__).resolve().parent.parent.parent / "notebooks" / "lessons"


def solution(lesson: str, name: str, *changes: tuple[str, str]) -> Callable[..., Any]:
    """Return a lesson's own solution of an exercise, with some text in it changed."""
    source = (LESSONS / f"{lesson}.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            text = ast.get_source_segment(source, node) or ""
    for old, new in changes:
        assert old in text, f"the solution {name} has no '{old}' any more"
        text = text.replace(old, new)
    scope: dict[str, Any] = {"np": np, "PCA": PCA, "error": lesson01.error}
    exec(text, scope)  # noqa: S102 - our own lesson
    found: Callable[..., Any] = scope[name]
    return found


PCA_MISTAKES = [
    (("images - mean", "images"), "Subtract the mean image first"),
    (("directions[:size]", "directions[:size].T"), "make them its rows"),
    (("directions[:size]", "directions"), "should have the shape (size, pixels)"),
    (("_, _, directions", "directions, _, _"), "they are the first rows of Vt"),
    (("directions[:size]", "directions[::-1][:size]"), "begin with the smallest variance"),
    (("directions[:size]", "directions[:size][::-1]"), "begin with the smallest variance"),
    (("directions[:size]", "2 * directions[:size]"), "orthogonal and of length one"),
    (("directions[:size]", "directions[1 : size + 1]"), "aren't the ones of largest variance"),
    (("mean(axis=0)", "mean()"), "one number per pixel"),
    (("mean(axis=0)", "mean(axis=1)"), "stopped with ValueError"),
    (("return mean, directions[:size]", "return directions[:size]"), "Return two things"),
    (("return mean, directions[:size]", "pass"), "Nothing comes back"),
    (("return mean, directions[:size]", "return ..."), "Nothing comes back"),
]

SCORE_MISTAKES = [
    # The planted mistake of lesson 01: scored on the training rows.
    (("error(model(test), test)", "error(model(train), train)"), "error is that on the training images"),
    (("reference.transform(test)", "reference.transform(train)"), "stopped with ValueError"),
    (("fit(train)", "fit(test)"), "PCA was fitted to the test images"),
    (("fit(train)", "fit(np.vstack([train, test]))"), "fitted to training and test images together"),
    (("PCA(size)", "PCA(8)"), "as many numbers as the code"),
    (("error(model(test), test)", "np.sqrt(error(model(test), test))"), "root of the mean square"),
    (("error(model(test), test)", "12 * error(model(test), test)"), "summed over the pixels"),
    (("error(model(test), test)", "0.011"), "The network's error is off"),
    (("return error(model(test), test), ", "return "), "Return two numbers"),
]


def test_the_solutions_pass() -> None:
    assert lesson01.pca(solution("01_undercomplete_autoencoder", "pca")).passed
    assert lesson01.honest_score(solution("01_undercomplete_autoencoder", "honest_score")).passed


@pytest.mark.parametrize(("change", "hint"), PCA_MISTAKES)
def test_each_mistake_in_pca_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson01.pca(solution("01_undercomplete_autoencoder", "pca", change))
    assert not outcome.passed
    assert hint in outcome.text


@pytest.mark.parametrize(("change", "hint"), SCORE_MISTAKES)
def test_each_mistake_in_the_score_gets_its_hint(change: tuple[str, str], hint: str) -> None:
    outcome = lesson01.honest_score(solution("01_undercomplete_autoencoder", "honest_score", change))
    assert not outcome.passed
    assert hint in outcome.text


def test_scoring_pca_on_the_training_images_gets_its_hint() -> None:
    change = ("error(by_reference, test)", "error(reference.inverse_transform(reference.transform(train)), train)")
    outcome = lesson01.honest_score(solution("01_undercomplete_autoencoder", "honest_score", change))
    assert "PCA's error is that on the training images it was fitted to" in outcome.text


@pytest.mark.parametrize("attempt", [None, 3, "pca", [], lambda: None, lambda *_: 1 / 0, lambda *_: (None, None)])
def test_whatever_a_student_leaves_there_the_check_says_not_yet(attempt: object) -> None:
    for check in (lesson01.pca, lesson01.honest_score):
        assert not check(attempt).passed  # type: ignore[arg-type]


def fake_network(size: int, train: Any) -> Any:
    """Return a PCA that looks like a trained network."""
    fitted = PCA(size).fit(train)
    kernel = fitted.components_

    def call(images: Any) -> Any:
        return fitted.inverse_transform(fitted.transform(images))

    class Network:
        layers = (SimpleNamespace(kernel=kernel),)
        __call__ = staticmethod(call)

    return Network()


def test_the_report_prints_reached_against_required() -> None:
    images = data.digits()
    report = lesson01.report(fake_network(8, images.train), fake_network(20, images.train))
    text = str(report)
    assert "linear autoencoder, error / PCA's                  1.000   required <= 1.001" in text
    assert [band.passed for band in report.bands] == [True, True, True, True]
    assert not report.passed  # the exercises weren't run, or are wrong


def test_a_linear_network_fitted_to_the_test_images_is_noticed_by_its_angle() -> None:
    images = data.digits()
    report = lesson01.report(fake_network(8, images.test), fake_network(8, images.train))
    assert [band.passed for band in report.bands] == [True, False, False, False]


def test_a_network_trained_on_the_test_images_is_noticed() -> None:
    images = data.digits()
    report = lesson01.report(fake_network(8, images.train), fake_network(40, images.test))
    assert all(band.passed for band in report.bands)
    assert "was it trained on them?" in str(report)
    assert not report.passed


def test_not_a_number_is_not_reached() -> None:
    assert not core.Band("error", "<=", 1.0, float("nan")).passed


def test_an_outcome_is_for_people_and_for_programs() -> None:
    shown = core.Outcome("pca", False, "Use `axis=0` & <rest>.")._repr_mimebundle_()
    assert shown["text/plain"] == "pca: not yet. Use `axis=0` & <rest>."
    assert "<code>axis=0</code> &amp; &lt;rest&gt;" in shown["text/html"]
    assert shown[core.MIME] == {"name": "pca", "passed": False, "text": "Use `axis=0` & <rest>."}


def test_a_prediction_that_was_not_written_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    core.prediction({"deep": None, "flat": 1.5}, [0.4, 1.0])
    assert capsys.readouterr().out.splitlines() == [
        "deep   your guess      -   it is 0.400",
        "flat   your guess    1.5   it is 1.00",
    ]
