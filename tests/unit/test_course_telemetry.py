"""The loader of the telemetry: a table per node, and a sentence where it is missing or damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from davide_course import telemetry
from davide_course.data import DatasetError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for the files of the nodes."""
    monkeypatch.setenv("DAVIDE_DATASETS", str(tmp_path))
    found = tmp_path / telemetry.FOLDER
    found.mkdir()
    return found


def test_missing_telemetry_says_where_it_comes_from_and_goes_to(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no NODE\.csv.*zenodo\.org/records/3251873.*licence"):
        telemetry.load("davide17")


def test_a_table_becomes_sensors_rows_and_labels(folder: Path) -> None:
    (folder / "davide17.csv").write_text("time,power,label,fan\n2018-05-01,1.5,0,3000\n2018-05-02,,1,3100\n")
    found = telemetry.load("davide17")
    assert found.sensors == ("power", "fan")
    assert found.anomalous is not None
    assert found.anomalous.tolist() == [False, True]
    assert found.rows.shape == (2, 2)
    assert np.isnan(found.rows[1, 0])
    assert telemetry.nodes() == ["davide17"]


def test_an_unknown_node_names_those_that_are_staged(folder: Path) -> None:
    (folder / "davide17.csv").write_text("power\n1\n")
    with pytest.raises(DatasetError, match="no telemetry of 'davide18'; staged are davide17"):
        telemetry.load("davide18")


def test_half_a_file_is_refused(folder: Path) -> None:
    (folder / "davide17.csv").write_text("power,fan\n1,2\n3\n")
    with pytest.raises(DatasetError, match="is no table"):
        telemetry.load("davide17")
