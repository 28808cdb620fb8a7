"""The cluster's own measurements: the telemetry of D.A.V.I.D.E.'s nodes, staged by an administrator."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from davide_course.data import DatasetError

RECORD = "https://zenodo.org/records/3251873"
FOLDER = "davide-telemetry"
LABEL = "label"


@dataclass(frozen=True)
class Telemetry:
    """Measurements of one node in time order: a row per time, a column per sensor, in the sensors' own units.

    `anomalous` says of each row whether its label is other than 0; None where the file has no column `label`.
    """

    node: str
    sensors: tuple[str, ...]
    rows: NDArray[np.float32]
    anomalous: NDArray[np.bool_] | None


def nodes() -> list[str]:
    """Return the names of the nodes whose telemetry is staged.

    Raises
    ------
    DatasetError
        If there is none; the text says where the files should be and how they get there.
    """
    return [path.stem for path in sorted(_folder().glob("*.csv"))]


def load(node: str) -> Telemetry:
    """Return the telemetry of one node.

    Source: ExaMon measurements of nodes of D.A.V.I.D.E., Zenodo record 3251873, on which autoencoders told normal from
    anomalous states with an accuracy of 88 to 96 % (Borghesi et al. 2019, arXiv:1811.05269). Its licence and its
    layout were not checked for this course, so nothing of it is here. What is read is one table of comma-separated
    values per node, with a head line, sensors that are numbers, and perhaps a column `label` (0 is normal); columns
    that are no numbers, such as a time stamp, are left out.

    Raises
    ------
    DatasetError
        If it isn't staged, or is no such table.
    """
    path = _folder() / f"{node}.csv"
    if not path.is_file():
        raise DatasetError(f"no telemetry of '{node}'; staged are {', '.join(nodes())}")
    with path.open(newline="", encoding="utf-8") as file:
        head, *lines = list(csv.reader(file)) or [[]]
    if not lines or any(len(line) != len(head) for line in lines):
        raise DatasetError(f"{path} is no table: its lines have not as many values as its head line; stage it again")
    columns = dict(zip(head, zip(*lines, strict=True), strict=True))
    numbers = {name: found for name, column in columns.items() if (found := _numbers(column)) is not None}
    label = numbers.pop(LABEL, None)
    if not numbers:
        raise DatasetError(f"{path} has no column of numbers besides '{LABEL}'; stage it again")
    rows = np.stack(list(numbers.values()), axis=1)
    return Telemetry(node, tuple(numbers), rows, None if label is None else label != 0)


def _numbers(column: tuple[str, ...]) -> NDArray[np.float32] | None:
    try:
        return np.array([float(value) if value else np.nan for value in column], dtype=np.float32)
    except ValueError:
        return None


def _folder() -> Path:
    datasets = os.environ.get("DAVIDE_DATASETS")
    if not datasets:
        raise DatasetError("DAVIDE_DATASETS isn't set: choose one of this site's kernels (menu Kernel, Change Kernel)")
    folder = Path(datasets) / FOLDER
    if not any(folder.glob("*.csv")):
        raise DatasetError(
            f"the telemetry of D.A.V.I.D.E. is not staged: {folder} has no NODE.csv. An administrator gets the files "
            f"of {RECORD} where there is internet, reads their licence, and puts one table per node there."
        )
    return folder
