"""Hand-outs from lessons: `python -m davide_course.build LESSONS_DIR OUT_DIR` (needs jupytext; runs on the controller).

A lesson is a percent script with its solutions. What a student gets is derived from it:

- a cell tagged `solution` becomes a cell to write in: functions keep their signature and docstring and lose their body;
- a cell tagged `check` can't be edited or deleted by accident;
- no outputs, and identifiers that depend on the text alone: the same lesson gives the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davide_course.handouts import MANIFEST

START = "00_start_here"
PLACE_TO_WRITE = "...  # write your code here"


@dataclass(frozen=True)
class Kernel:
    """The kernel that the notebooks ask for."""

    name: str
    display_name: str

    def metadata(self) -> dict[str, Any]:
        """Return the notebooks' metadata."""
        kernelspec = {"name": self.name, "display_name": self.display_name, "language": "python"}
        return {"kernelspec": kernelspec, "language_info": {"name": "python"}}


def notebook(script: str, kernel: Kernel, solved: bool) -> str:
    """Return a lesson as the text of a notebook file.

    Parameters
    ----------
    script
        The lesson: a percent script.
    kernel
        The kernel it asks for.
    solved
        Whether the solutions stay in (for a teacher), or give way to a place to write (for a student).
    """
    import jupytext  # only here: a student's environment has this package without it

    read = jupytext.reads(script, fmt="py:percent")
    cells = [cell(one.cell_type, one.source, one.metadata.get("tags", []), solved) for one in read.cells]
    for one, identifier in zip(cells, identifiers(cells), strict=True):
        one["id"] = identifier
    whole = {"cells": cells, "metadata": kernel.metadata(), "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def cell(kind: str, source: str, tags: list[str], solved: bool) -> dict[str, Any]:
    """Return one cell as a notebook file holds it."""
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    if "solution" in tags and not solved:
        source = place_to_write(source)
        metadata = {"tags": ["exercise"]}
    if "check" in tags:
        metadata |= {"deletable": False, "editable": False}
    made: dict[str, Any] = {"cell_type": kind, "metadata": metadata, "source": source.splitlines(keepends=True)}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def place_to_write(solution: str) -> str:
    """Return the cell that a student finds where the solution was.

    Raises
    ------
    ValueError
        If the solution defines no function: then nothing would say what is to be written.
    """
    functions = [node for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)]
    if not functions:
        raise ValueError("a solution cell has to define a function with a docstring; the student keeps these two")
    return "\n\n\n".join(without_body(solution, node) for node in functions)


def without_body(source: str, function: ast.FunctionDef) -> str:
    """Return a function's signature and docstring, as they are written, with a place to write for a body."""
    head = function.body[0]
    if ast.get_docstring(function) is None or head.end_lineno is None:
        raise ValueError(f"the solution {function.name} needs a docstring: it is what the student is told")
    kept = source.splitlines()[function.lineno - 1 : head.end_lineno]
    return "\n".join([*kept, " " * head.col_offset + PLACE_TO_WRITE])


def identifiers(cells: list[dict[str, Any]]) -> Iterator[str]:
    """Yield an identifier per cell that stays the same while the cell's text does."""
    seen: Counter[str] = Counter()
    for one in cells:
        text = one["cell_type"] + "".join(one["source"])
        seen[text] += 1
        yield hashlib.sha256(f"{seen[text]} {text}".encode()).hexdigest()[:12]


def build(lessons: Path, out: Path, kernel: Kernel, names: Sequence[str] = (), released: Sequence[str] = ()) -> None:
    """Write the hand-outs and their manifest.

    Parameters
    ----------
    lessons
        Folder of the percent scripts.
    out
        Folder for the notebooks; made if missing.
    kernel
        The kernel they ask for.
    names
        Lessons to hand out besides the start page; all if empty.
    released
        Lessons whose solution is handed out as well.

    Raises
    ------
    FileNotFoundError
        If there is no lesson of that name; the text says which there are.
    """
    known = sorted(path.stem for path in lessons.glob("[0-9][0-9]_*.py"))
    chosen = sorted({START, *names}) if names else known
    for name in (*chosen, *released):
        if name not in known:
            raise FileNotFoundError(f"no lesson '{name}' in {lessons}; there are {', '.join(known)}")
    wanted = {f"{name}.ipynb": (name, False) for name in chosen}
    wanted |= {f"{name}.solution.ipynb": (name, True) for name in released}
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for file, (name, solved) in sorted(wanted.items()):
        content = notebook((lessons / f"{name}.py").read_text(encoding="utf-8"), kernel, solved).encode()
        (out / file).write_bytes(content)
        files[file] = {"sha256": hashlib.sha256(content).hexdigest()}
    (out / MANIFEST).write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m davide_course.build`."""
    parser = argparse.ArgumentParser(
        prog="python -m davide_course.build", description="Build the hand-outs from the lessons."
    )
    parser.add_argument("lessons", type=Path, help="folder of the percent scripts")
    parser.add_argument("out", type=Path, help="folder for the notebooks and their manifest")
    parser.add_argument("--kernel", default="tf-cpu", help="kernel that the notebooks ask for (%(default)s)")
    parser.add_argument("--kernel-title", default="", help="its title (its name)")
    parser.add_argument("--lesson", action="append", default=[], help="lesson to hand out, may be repeated (all)")
    parser.add_argument("--solution", action="append", default=[], help="lesson whose solution is handed out too")
    asked = parser.parse_args(argv)
    kernel = Kernel(asked.kernel, asked.kernel_title or asked.kernel)
    try:
        build(asked.lessons, asked.out, kernel, asked.lesson, asked.solution)
    except (FileNotFoundError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
