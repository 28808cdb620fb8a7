"""The mark: nobody else can make one, and one is worth nothing anywhere else."""

from __future__ import annotations

import pytest
from davide_hub.broker.mark import Marker, load_marker

MARKER = Marker("0a1b2c3d", b"the broker's secret")


def test_a_mark_names_its_session():
    mark = MARKER.mark("ab12", 6001)
    assert mark.startswith("davide-hub:0a1b2c3d:ab12:")
    assert MARKER.session_of(mark, 6001) == "ab12"


@pytest.mark.parametrize(
    "mark",
    [
        Marker("0a1b2c3d", b"a guess").mark("ab12", 6001),
        MARKER.mark("ab12", 6002),
        MARKER.mark("ab12", 6001).replace("ab12", "ab13"),
        Marker("ffffffff", b"the broker's secret").mark("ab12", 6001),
        MARKER.mark("ab12", 6001)[:-1],
        MARKER.mark("ab12", 6001) + "0",
        MARKER.mark("ab12", 6001) + "\n",
        "hello " + MARKER.mark("ab12", 6001),
        "davide-hub:0a1b2c3d:ab12:" + "0" * 32,
        "davide-hub:0a1b2c3d:../x:" + "0" * 32,
        "(null)",
        "",
    ],
    ids=["key", "uid", "session", "hub", "short", "long", "newline", "prefix", "zeros", "path", "null", "empty"],
)
def test_a_forged_or_copied_mark_names_nothing(mark):
    assert MARKER.session_of(mark, 6001) is None


def test_the_key_is_made_once_and_kept(tmp_path):
    first = load_marker(tmp_path / "mark.json")
    assert load_marker(tmp_path / "mark.json") == first
    assert load_marker(tmp_path / "other.json") != first


@pytest.mark.parametrize(
    "text", ["", "{}", '{"hub": "0a1b2c3d"}', '{"hub": "0a1b2c3d", "key": "xyz"}', '{"key": "ab"}']
)
def test_a_damaged_key_is_for_a_person_to_decide(tmp_path, text):
    (tmp_path / "mark.json").write_text(text)
    with pytest.raises(ValueError, match=r"mark\.json is damaged; restore it from the backup"):
        load_marker(tmp_path / "mark.json")
    assert (tmp_path / "mark.json").read_text() == text, "a new key would disown all sessions"
