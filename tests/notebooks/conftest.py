"""Runs each version of the lessons once, two at a time, and tells what they reached."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from davide_course.build import Kernel, notebook
from places import ROOT, Here, Notebook, OnCluster, Place
from plan import SABOTAGE, SEEDS, SLOWEST
from planted import parted, with_mistake
from reached import Reached, with_tables
from small_data import in_full_mode

README = ROOT / "notebooks/README.md"
# Seeds 1 and 2 take as long again as all else: they belong to the long form.
LONG = bool(os.environ.get("DAVIDE_LESSONS_LONG"))
REACHED: dict[str, Reached] = {}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return where lessons are run: on the local cluster, unless DAVIDE_KERNELS names a folder with kernels."""
    kernels = os.environ.get("DAVIDE_KERNELS")
    if kernels:
        yield Here(kernels, tmp_path_factory.mktemp("lessons"))
        return
    cluster = OnCluster()
    yield cluster
    cluster.shell(f"rm -rf {cluster.folder}")


@pytest.fixture(scope="session")
def ran(place: Place, request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Notebook]]:
    """Return a function: (lesson, version) -> the notebook with its outputs.

    What the chosen tests need begins with the first of them, the slowest lessons first, so that the two at a time end
    together. The mistake (version "planted") is made after the end of the solved version, in the same kernel.
    """

    def run(lesson: str, version: str) -> dict[str, Notebook]:
        book = place.run(f"{lesson}-{version}", text_of(place, lesson, version))
        books = dict(zip(("solved", "planted"), parted(book), strict=True)) if version == "solved" else {version: book}
        reached_by(lesson).seconds |= {name: one["metadata"]["seconds"] for name, one in books.items()}
        return books

    with ThreadPoolExecutor(max_workers=2) as pool:
        running = {pair: pool.submit(run, *pair) for pair in needed(request.session)}
        yield lambda lesson, version: running[lesson, run_of(version)].result()[version]


@pytest.fixture
def reached(lesson: str) -> Reached:
    """Return the place to write down what a lesson reached."""
    return reached_by(lesson)


@pytest.fixture
def everything() -> dict[str, Reached]:
    """Return what the lessons reached so far, by lesson."""
    return REACHED


def reached_by(lesson: str) -> Reached:
    """Return what a lesson reached so far."""
    return REACHED.setdefault(lesson, Reached())


def needed(session: pytest.Session) -> list[tuple[str, str]]:
    """Return the pairs of lesson and version that have to run for the chosen tests, each once."""
    asked = [getattr(item, "callspec", None) for item in session.items]
    pairs = [(one.params["lesson"], run_of(one.params["version"])) for one in asked if one and "version" in one.params]
    return sorted(dict.fromkeys(pairs), key=lambda pair: pair[0] not in SLOWEST)


def run_of(version: str) -> str:
    """Return the version whose run holds this one."""
    return "solved" if version == "planted" else version


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test its lessons, and the versions that its mark `versions` names."""
    if "lesson" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("versions")
    assert mark is not None, f"{metafunc.function.__name__} takes a lesson and names no version"
    seeds = SEEDS if LONG else SEEDS[:1]
    numbers = ["solved" if seed == 0 else f"seed-{seed}" for seed in seeds]
    versions = numbers if mark.args == ("every seed",) else mark.args
    metafunc.parametrize(("lesson", "version"), [(lesson, version) for lesson in SABOTAGE for version in versions])


def text_of(place: Place, lesson: str, version: str) -> str:
    """Return a version of a lesson, as the text of a notebook.

    Left out are the cells tagged `aside`, but for the solved version and, in the long form, the student's: an aside
    uses nothing of what students write (tests/unit/test_course_lessons.py), so it does the same in both.
    """
    if version == "student":
        handed_out = place.handed_out(lesson)
        return handed_out if LONG else without_asides(handed_out)
    script = (ROOT / f"notebooks/lessons/{lesson}.py").read_text()
    solved = notebook(script, Kernel("tf-cpu", "TensorFlow (CPU)"), solved=True)
    if version == "solved":
        return with_mistake(solved, *SABOTAGE[lesson][0])
    if version == "full":
        return in_full_mode(solved)
    return changed(without_asides(solved), "seed = 0", version.replace("-", " = "))


def changed(text: str, old: str, new: str) -> str:
    """Return a notebook with one of its texts changed."""
    assert text.count(old) == 1, f"'{old}' should be there once, not {text.count(old)} times"
    return text.replace(old, new)


def without_asides(text: str) -> str:
    """Return a notebook without the cells that the report doesn't need."""
    book = json.loads(text)
    book["cells"] = [cell for cell in book["cells"] if "aside" not in cell["metadata"].get("tags", [])]
    return json.dumps(book)


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of this folder."""
    config.addinivalue_line("markers", "versions(*names): the versions of each lesson that a test looks at")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was reached against what is required; the long form writes it into the README as well."""
    if not REACHED:
        return
    terminalreporter.section("reached against required")
    for lesson, one in sorted(REACHED.items()):
        terminalreporter.write_line("\n".join(one.lines(lesson)))
    whole = {lesson: one.table(lesson) for lesson, one in sorted(REACHED.items()) if set(one.bands) == set(SEEDS)}
    if LONG and whole:
        write_tables(README, whole)
        terminalreporter.write_line(f"{README.relative_to(ROOT)} has the numbers of {', '.join(whole)}")


def write_tables(readme: Path, tables: dict[str, str]) -> None:
    """Replace tables of a README."""
    readme.write_text(with_tables(readme.read_text(encoding="utf-8"), tables), encoding="utf-8")
