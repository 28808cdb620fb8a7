"""Every lesson, as students and teachers get it, runs from top to bottom and reaches what it promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import pytest
from davide_course.checks.core import MIME
from places import Notebook, Place
from plan import MEDIANS, PLOTS, SABOTAGE, SEEDS
from reached import Reached

Ran = Callable[[str, str], Notebook]


def outputs(book: Notebook, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the outputs of one kind."""
    for cell in book["cells"]:
        yield from (output for output in cell.get("outputs", []) if output["output_type"] == kind)


def checks(book: Notebook) -> list[dict[str, Any]]:
    """Return what the checks said, in their order; the last is the report."""
    shown = [output["data"] for output in outputs(book, "execute_result")]
    return [data[MIME] for data in shown if MIME in data]


def assert_clean(book: Notebook) -> None:
    """Check that no cell failed, and that nobody warned or logged."""
    assert [f"{error['ename']}: {error['evalue']}" for error in outputs(book, "error")] == []
    noise = ["".join(stream["text"]) for stream in outputs(book, "stream") if stream["name"] == "stderr"]
    assert noise == []


@pytest.mark.versions("student")
def test_an_unsolved_lesson_runs_to_its_end_and_says_not_yet(ran: Ran, lesson: str, version: str) -> None:
    book = ran(lesson, version)
    assert_clean(book)
    *exercises, report = checks(book)
    assert exercises and not any(one["passed"] for one in exercises)
    assert all(band["passed"] for band in report["bands"])
    assert not report["passed"]


@pytest.mark.versions("solved")
def test_a_solved_lesson_reaches_everything(ran: Ran, lesson: str, version: str) -> None:
    book = ran(lesson, version)
    assert_clean(book)
    assert checks(book)[-1]["passed"], checks(book)


@pytest.mark.versions("every seed")
def test_the_numbers_hold_for_every_seed(ran: Ran, reached: Reached, lesson: str, version: str) -> None:
    book = ran(lesson, version)
    assert_clean(book)
    bands = checks(book)[-1]["bands"]
    reached.bands[int(version.removeprefix("seed-")) if version != "solved" else 0] = bands
    assert [band["name"] for band in bands if not band["passed"]] == []


@pytest.mark.versions("planted")
def test_the_planted_mistake_is_noticed_with_a_hint(ran: Ran, lesson: str, version: str) -> None:
    book = ran(lesson, version)
    assert_clean(book)
    exercise, report = checks(book)
    _, hint = SABOTAGE[lesson]
    assert not exercise["passed"] and hint in exercise["text"]
    assert [one["passed"] for one in report["exercises"]].count(False) == 1
    assert not report["passed"]


@pytest.mark.versions("solved")
def test_every_plot_is_there(ran: Ran, lesson: str, version: str) -> None:
    book = ran(lesson, version)
    pictures = [output for output in outputs(book, "display_data") if "image/png" in output["data"]]
    assert len(pictures) >= PLOTS.get(lesson, 5)
    assert all(len(picture["data"]["image/png"]) > 2000 for picture in pictures)


if os.environ.get("DAVIDE_LESSONS_LONG"):  # one seed has no median, and full mode takes as long as fast mode

    @pytest.mark.versions("full")
    def test_full_mode_runs_to_its_end_on_little_data(ran: Ran, lesson: str, version: str) -> None:
        book = ran(lesson, version)
        assert_clean(book)
        assert checks(book)[-1]["passed"], checks(book)

    def test_the_median_over_the_seeds_is_reached(everything: dict[str, Reached]) -> None:
        """Runs after the numbers of each seed were written down."""
        for lesson, (name, most) in MEDIANS.items():
            bands = everything[lesson].bands
            assert set(bands) == set(SEEDS)
            assert median(band["reached"] for seed in SEEDS for band in bands[seed] if band["name"] == name) <= most


def test_the_start_page_runs(place: Place) -> None:
    book = place.run("start", place.handed_out("00_start_here"))
    assert_clean(book)
    assert any("".join(stream["text"]) for stream in outputs(book, "stream"))
