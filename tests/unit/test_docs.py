"""The pages of the project: every command in them is one that there is, every link leads somewhere, quotes are true."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from davide_hub import cli
from davide_hub.texts import texts_of
from davide_lab import __main__ as davide
from davide_lab import parts

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in ROOT.glob("**/*.md") if not any(part.startswith(".") for part in path.parts[1:]))
# In `a span`, or a line of a block, up to a comment.
_COMMAND = re.compile(r"(?:`|^ *|^\$ )(?:\./(davide)|(davide-hub))(?= |`|$)([^`\n#|;]*)", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)\)")
_VALUE = re.compile(r"[a-z][a-z0-9-]*")


def commands() -> list[tuple[str, str, str]]:
    """Return page, program and words of every command."""
    found = [(path, match) for path in PAGES for match in _COMMAND.finditer(path.read_text())]
    return [(str(path.relative_to(ROOT)), one[1] or one[2], one[3].strip()) for path, one in found]


def fault(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """Return what of a command there is not; empty if all of it is there. What stands for something is in capitals."""
    if not words:
        return ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = action.choices.get(words[0])
            return fault(inner, words[1:]) if inner else f"no verb {words[0]}"
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        option = parser._option_string_actions.get(name)
        if word.startswith("-") and option is None:
            return f"no option {name}"
        value = value or "".join(words[place + 1 : place + 2])
        if option is not None and option.choices and _VALUE.fullmatch(value) and value not in option.choices:
            return f"{name} takes no {value}"
    return ""


@pytest.mark.parametrize(("page", "program", "words"), commands())
def test_a_command_is_one_that_there_is(page, program, words):
    parser = davide.parser() if program == "davide" else cli._parser()
    said = re.sub(r"'[^']*'", "TEXT", words).replace("[", " ").replace("]", " ").split()
    assert fault(parser, said) == "", page
    if said[:1] == ["test"] and "--long" not in said:
        assert set(filter(_VALUE.fullmatch, said[1:])) <= set(parts.PARTS), page


@pytest.mark.parametrize(
    ("program", "words", "wrong"),
    [
        ("davide", "chekc local", "no verb chekc"),
        ("davide", "up --fast", "no option --fast"),
        ("davide", "test --long nothing", "--long takes no nothing"),
        ("davide-hub", "kernels guess", "no verb guess"),
        ("davide-hub", "report --from 2026-01-01", "no option --from"),
    ],
)
def test_this_test_would_see_a_wrong_one(program, words, wrong):
    parser = davide.parser() if program == "davide" else cli._parser()
    assert fault(parser, words.split()) == wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_what_students_are_told_to_look_for_is_what_the_pages_say():
    told = (ROOT / "hub/STUDENTS.md").read_text()
    quoted = re.findall(r"^\| \"([^\"]+?)(?:, \.\.\.)?\"", told, re.MULTILINE)
    said = " ".join(str(text) for file in ("ended", "pending", "form") for text in texts_of(file).values())
    said += (ROOT / "hub/davide_hub/broker/client.py").read_text()
    said += (ROOT / "hub/labextension/static/texts.js").read_text()
    parts_of = [part for text in quoted for part in re.split(r"\s*\.\.\.\s*", text)]
    assert len(quoted) >= 5, "this test looks for the wrong thing"
    assert [part for part in parts_of if part not in said and part != "Job"] == []
