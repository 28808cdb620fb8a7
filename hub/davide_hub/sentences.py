"""Words for what pydantic refuses: where, what is wrong, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from davide_hub.reading import Document, Key, dotted, printable

Finding = tuple[Key, str]


def explain(error: ValidationError, document: Document, schema: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each thing that pydantic found.

    Parameters
    ----------
    error
        What `model_validate` raised.
    document
        The file, for lines and values.
    schema
        The model's JSON schema: the meaning and an example of each field come from there.
    """
    details = error.errors(include_url=False, include_input=False)
    # pydantic counts only the good entries of a list; "empty" is news only if nothing is wrong inside.
    inside = {tuple(detail["loc"])[:depth] for detail in details for depth in range(len(detail["loc"]))}
    told = (detail for detail in details if detail["type"] != "too_short" or tuple(detail["loc"]) not in inside)
    return [sentence(document, _finding(detail, document, schema)) for detail in told]


def sentence(document: Document, finding: Finding) -> str:
    """Return a finding as one line: file, line, key, problem, fix."""
    key, problem = finding
    return f"{document.path}:{document.line(key)}: {dotted(key)}: {problem}"


def _finding(detail: Mapping[str, Any], document: Document, schema: Mapping[str, Any]) -> Finding:
    key: Key = tuple(detail["loc"])
    if detail["type"] == "missing":
        part = _part(schema, key)
        return key, f"missing; add {_meaning(part)}, for example {_example(key, part)}"
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        return key, _unknown(str(key[-1]), _part(schema, key[:-1]).get("properties", {}))
    part = _part(schema, key)
    if detail["type"] == "too_short":
        return key, "an empty list; write at least one entry"
    return key, f"{document.written(key)} is not {_meaning(part)}; write for example {_example((), part)}"


def _unknown(name: str, properties: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, properties, n=1)
    fix = f"did you mean {close[0]}?" if close else f"remove it; known here: {', '.join(properties)}"
    return f"unknown key; {fix}"


def _part(schema: Mapping[str, Any], key: Key) -> Mapping[str, Any]:
    """Return the part of a JSON schema that describes `key`."""
    part = _resolved(schema, schema)
    for step in key:
        inner = part.get("items", {}) if isinstance(step, int) else part.get("properties", {}).get(step, {})
        part = _resolved(inner, schema)
    return part


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    # A reference names a model; "anyOf" is an optional field, whose first choice is the value.
    if "$ref" in part:
        return dict(schema["$defs"][part["$ref"].rsplit("/", 1)[1]])
    return _resolved(part["anyOf"][0], schema) if "anyOf" in part else part


def _meaning(part: Mapping[str, Any]) -> str:
    if part.get("type") == "array":
        return "a list"
    if part.get("type") == "object":
        return f"a mapping with the keys {', '.join(part['properties'])}"
    return str(part.get("description", "a value of the right kind"))


def _example(key: Key, part: Mapping[str, Any]) -> str:
    if part.get("type") == "array":
        value = "a line that begins with '- '"
    elif part.get("type") == "object":
        value = f"{next(iter(part['properties']))}: ... on the lines below"
    else:
        value = str(part.get("examples", ["a value"])[0])
    return f"{printable(str(key[-1]))}: {value}" if key else value
