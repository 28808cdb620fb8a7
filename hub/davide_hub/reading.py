"""Reading a YAML file that people write: bounded, plain data only, and the line of each key known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# A site.yml has a hundred lines. A bigger file is a mistake (or meant to keep us busy).
_MAX_BYTES = 256 * 1024
_MAX_DEPTH = 20

_MODEL = "ansible/inventory/local/group_vars/all/site.yml"

Key = tuple[str | int, ...]


class FactsError(Exception):
    """The site's facts can't be used. `str()` is one sentence per line, each saying what to do."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


@dataclass(frozen=True)
class Document:
    """What a file says, and in which line it says it."""

    path: Path
    data: object
    root: yaml.Node

    def line(self, key: Key) -> int:
        """Return the line of `key`, or of the nearest thing around it."""
        return self._nearest(key)[0]

    def written(self, key: Key) -> str:
        """Return the value of `key` as it stands in the file, short and on one line."""
        node = self._nearest(key)[1]
        if not isinstance(node, yaml.ScalarNode):
            return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
        if node.tag == "tag:yaml.org,2002:str":
            return printable(repr(node.value))
        return printable(node.value) or "nothing"

    def _nearest(self, key: Key) -> tuple[int, yaml.Node]:
        node, line = self.root, self.root.start_mark.line
        for step in key:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == step), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
            else:
                break
        return line + 1, node


def read_plain_yaml(path: Path, model: str = _MODEL) -> Document:
    """Return the one document in `path`.

    Parameters
    ----------
    path
        What to read.
    model
        A file of that kind that works: the messages name it.

    Raises
    ------
    FactsError
        If the file can't be read, is too large, is not YAML, or is more than plain data: an alias (a few
        lines expand to gigabytes), a tag, a repeated key (YAML would silently keep the last), Jinja.
    """
    text = _read(path, Path(model).name)
    try:
        root, data = _load(text)
    except yaml.YAMLError as error:
        raise FactsError([_not_yaml(path, error, model)]) from None
    except (ValueError, OverflowError) as error:
        # PyYAML takes 2026-13-45 for a date and 5000 digits for an int, and lets Python's own error through.
        raise FactsError([f"{path}: a value can't be read ({printable(str(error))}); put it in quotes"]) from None
    if root is None:
        raise FactsError([f"{path}: the file is empty; see {model} for one that works"])
    document = Document(path, data, root)
    if found := list(_jinja(document.data, ())):
        problem = "Jinja is not allowed in the site facts; write the value itself"
        raise FactsError(f"{path}:{document.line(key)}: {dotted(key)}: {problem}" for key in found)
    return document


def dotted(key: Key) -> str:
    """Return a key as people write it: `site.profiles[1].memory_gb`; of all of it, that it is the file."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{printable(step)}" for step in key)
    return text.removeprefix(".") or "the file"


def printable(value: str) -> str:
    """Return `value` short, and without anything that could end a line or move a cursor."""
    short = value if len(value) <= 60 else value[:57] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)


def _read(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise FactsError([f"{path}: the file has more than {_MAX_BYTES // 1024} kB; is this a {kind}?"])
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FactsError([f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text"]) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unknown error"
        raise FactsError([f"{path}: can't be read ({reason}); give the path of a {kind}"]) from None
    except ValueError:  # a NUL byte in the name
        name = printable(str(path))
        raise FactsError([f"{name}: not the name of a file; give the path of a {kind}"]) from None


def _load(text: str) -> tuple[yaml.Node | None, object]:
    loader = _PlainLoader(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _not_yaml(path: Path, error: yaml.YAMLError, model: str) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}:{mark.line + 1}" if mark else f"{path}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    fix = "indent with spaces, never with tabs" if "\\t" in problem else f"see {model} for one that works"
    return f"{place}: not plain YAML: {printable(problem)}; {fix}"


def _jinja(value: object, key: Key) -> Iterator[Key]:
    if isinstance(value, str):
        if any(opening in value for opening in ("{{", "{%", "{#")):
            yield key
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _jinja(name, (*key, str(name)))
            yield from _jinja(inner, (*key, str(name)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _jinja(inner, (*key, index))


class _PlainLoader(yaml.SafeLoader):
    """YAML as Ansible reads it (YAML 1.1), less everything that is not plain data."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refusal(event, "anchors and aliases are not allowed here")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refusal(event, "tags such as !vault or !!set are not allowed here")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _refusal(event, f"nested more than {_MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.MappingNode):
            _refuse_odd_keys(node)
        return node


def _refuse_odd_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            raise _refusal(key, "a key must be a word, not a number, yes, no or a list")
        if key.value in seen:
            raise _refusal(key, f"the key {key.value!r} stands here twice")
        seen.add(key.value)


def _refusal(at: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
