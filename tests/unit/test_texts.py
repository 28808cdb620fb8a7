"""Texts are found by their names, and every name that code, templates and scripts use is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from davide_hub import texts

HUB = Path(__file__).resolve().parents[2] / "hub"
FILES = sorted((HUB / "davide_hub/texts/en").glob("*.yml"))
# text("form.start"), in Python and templates; in scripts, the name stands in say("start").
_USED = re.compile(r"""\btext\(\s*["']([a-z_]+)\.([a-z0-9_]+)["'](?!\s*~)""")


def test_a_text_is_found_and_filled_in(monkeypatch):
    monkeypatch.setattr(
        texts, "texts_of", lambda _file: {"hello": "Hello {name}", "h": {"one": "{n} hour", "other": "{n} hours"}}
    )
    assert texts.text("x.hello", name="{n}") == "Hello {n}"
    assert [texts.text("x.h", n=number) for number in (0, 1, 2)] == ["0 hours", "1 hour", "2 hours"]


def test_a_text_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        texts.text("form.no_such_text")


def test_every_text_that_is_used_is_there():
    places = [*HUB.glob("davide_*/**/*.py"), *HUB.glob("templates/*.html")]
    used = {found for path in places for found in _USED.findall(path.read_text())}
    assert used, "this test looks for the wrong thing"
    missing = [f"{file}.{entry}" for file, entry in used if entry not in texts.texts_of(file)]
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_entries_are_texts_or_pairs(path):
    for name, entry in yaml.safe_load(path.read_text()).items():
        assert isinstance(entry, str) or set(entry) == {"one", "other"}, name
