"""One line of the log for each message, whatever users call their servers."""

import logging
import sys

import pytest
from davide_hub.loglines import LineFormatter
from davide_hub.visible import visible


def written(message, *words, exc_info=None):
    record = logging.LogRecord("jupyterhub", logging.INFO, __file__, 1, message, words, exc_info)
    return LineFormatter(fmt="[%(levelname)s] %(message)s").format(record)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\n[I] all is well", r"a\n[I] all is well"),
        ("a\r\x1b[2J", r"a\r\x1b[2J"),
        ("a\x9b2J", r"a\x9b2J"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        ("\N{GREEK SMALL LETTER OMICRON}", "\N{GREEK SMALL LETTER OMICRON}"),
    ],
)
def test_a_name_is_shown_as_it_is_and_does_nothing(name, shown):
    assert visible(name) == shown
    assert written("no server %s", name) == f"[INFO] no server {shown}"
    assert written(f"no server {name}") == f"[INFO] no server {shown}"


def test_a_traceback_keeps_its_lines_indented_and_nothing_else():
    try:
        raise ValueError("a\n[I] all is well\x1b[2J")
    except ValueError:
        lines = written("failed", exc_info=sys.exc_info()).split("\n")
    assert lines[0] == "[INFO] failed"
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])
    assert any("all is well" in line for line in lines)


def test_a_record_stays_what_it_was_for_others_who_write_it():
    record = logging.LogRecord("jupyterhub", logging.INFO, __file__, 1, "no server %s", ("a\nb",), None)
    LineFormatter(fmt="%(message)s").format(record)
    assert record.getMessage() == "no server a\nb"
