"""From a lesson to what a student gets: the same bytes each time, and no solution."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from davide_course import build

LESSONS = Path(__file__).resolve().parent.parent.parent / "notebooks" / "lessons"
KERNEL = build.Kernel("tf-cpu", "TensorFlow (CPU)")
LESSON = '''# %% [markdown]
# # A lesson

# %%
x = 1

# %% tags=["solution"]
import math

def area(radius):
    """Return the area of a circle."""
    return math.pi * radius**2

# %% tags=["check"]
check.area(area)

# %%
x = 1
'''


def cells(script: str, solved: bool = False) -> list[dict[str, Any]]:
    """Return the cells of the notebook that a lesson becomes."""
    found: list[dict[str, Any]] = json.loads(build.notebook(script, KERNEL, solved))["cells"]
    return found


def test_a_student_finds_the_signature_the_docstring_and_a_place_to_write() -> None:
    exercise = cells(LESSON)[2]
    assert "".join(exercise["source"]) == (
        'def area(radius):\n    """Return the area of a circle."""\n    ...  # write your code here'
    )
    assert exercise["metadata"] == {"tags": ["exercise"]}


def test_a_teacher_finds_the_solution() -> None:
    assert "math.pi" in "".join(cells(LESSON, solved=True)[2]["source"])


def test_the_unsolved_cell_runs_and_returns_nothing() -> None:
    scope: dict[str, Any] = {}
    exec("".join(cells(LESSON)[2]["source"]), scope)  # noqa: S102 - the cell of three lines above
    assert scope["area"](1) is None


def test_checks_cannot_be_deleted_by_accident() -> None:
    assert cells(LESSON)[3]["metadata"] == {"tags": ["check"], "deletable": False, "editable": False}


def test_cells_have_identifiers_of_their_own_that_depend_on_their_text_alone() -> None:
    before = [one["id"] for one in cells(LESSON)]
    assert len(set(before)) == 5
    after = [one["id"] for one in cells(LESSON.replace("# %%\nx = 1", "# %%\ny = 2\n\n# %%\nx = 1", 1))]
    assert [one for one in after if one in before] == before


def test_a_notebook_names_the_kernel_and_has_no_output() -> None:
    text = build.notebook(LESSON, KERNEL, solved=False)
    assert json.loads(text)["metadata"]["kernelspec"] == {
        "name": "tf-cpu",
        "display_name": "TensorFlow (CPU)",
        "language": "python",
    }
    assert all(one["outputs"] == [] for one in cells(LESSON) if one["cell_type"] == "code")


@pytest.mark.parametrize(
    ("solution", "sentence"),
    [("x = 1", "has to define a function"), ("def area(radius):\n    return 1", "area needs a docstring")],
)
def test_a_solution_that_leaves_nothing_to_tell_the_student_is_refused(solution: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build.notebook(f'# %% tags=["solution"]\n{solution}\n', KERNEL, solved=False)


def test_the_same_lessons_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build.build(LESSONS, tmp_path / name, KERNEL)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    listed = json.loads(one["manifest.json"])["files"]
    assert {name: hashlib.sha256(content).hexdigest() for name, content in one.items() if name != "manifest.json"} == {
        name: known["sha256"] for name, known in listed.items()
    }


def test_no_solution_reaches_a_student_unless_it_is_released(tmp_path: Path) -> None:
    build.build(LESSONS, tmp_path, KERNEL, ["01_undercomplete_autoencoder"])
    assert {path.name for path in tmp_path.glob("*.ipynb")} == {
        "00_start_here.ipynb",
        "01_undercomplete_autoencoder.ipynb",
    }
    assert "np.linalg.svd(images - mean" not in (tmp_path / "01_undercomplete_autoencoder.ipynb").read_text()
    build.build(LESSONS, tmp_path, KERNEL, ["01_undercomplete_autoencoder"], ["01_undercomplete_autoencoder"])
    assert "np.linalg.svd(images - mean" in (tmp_path / "01_undercomplete_autoencoder.solution.ipynb").read_text()


def test_an_unknown_lesson_is_refused_with_the_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([str(LESSONS), str(tmp_path), "--lesson", "99_magic"]) == 1
    assert "no lesson '99_magic'" in capsys.readouterr().err


@pytest.mark.parametrize("lesson", sorted(LESSONS.glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_every_lesson_is_a_notebook_that_jupyter_accepts(lesson: Path) -> None:
    import nbformat

    for solved in (True, False):
        nbformat.validate(nbformat.reads(build.notebook(lesson.read_text(), KERNEL, solved), as_version=4))
