"""Lines for the broker: good requests, nearly good ones, and noise; and our own word for what is good.

The judge here is written a second time on purpose, from the protocol's text: a model that lets too much through would
agree with itself.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

# Stands for more bytes than a line may have: hypothesis keeps what it draws, and would fill the memory with them.
TOO_LONG = b" <too long>\n"

_USER = r"[a-z_][a-z0-9_.-]{0,31}"
_KEY = r"[a-z0-9][a-z0-9-]{0,63}"
_SERVER = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029/]{0,64}"


def _text(pattern: str) -> Any:
    return lambda value: type(value) is str and re.fullmatch(pattern, value, re.DOTALL) is not None


def _environment(value: object) -> bool:
    return (
        type(value) is dict
        and len(value) <= 40
        and all(re.fullmatch(r"JUPYTERHUB_[A-Z_]{1,60}", name) for name in value)
        and all(type(text) is str and len(text) <= 8192 and "\0" not in text for text in value.values())
    )


def _jobs(value: object) -> bool:
    return type(value) is list and 1 <= len(value) <= 4000 and all(map(_text(r"[0-9]{1,10}"), value))


def _whole(least: int, most: int) -> Any:
    return lambda value: value is None or (type(value) is int and least <= value <= most)


def _slurm_name(value: object) -> bool:
    return value is None or value == "" or _text(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")(value)


_WISHES = {
    "user": _text(_USER),
    "profile": _text(r".{1,64}"),
    "gpus": _whole(0, 64),
    "hours": _whole(1, 720),
    "account": _slurm_name,
    "qos": _slurm_name,
    "reservation": _slurm_name,
}
_OWN = {"user": _text(_USER), "session_key": _text(_KEY)}
FIELDS: dict[str, dict[str, Any]] = {
    "login": {"user": _text(_USER), "password": _text(r".{1,1024}"), "address": _text(r"[0-9A-Fa-f:.]{0,45}")},
    "identity": {"token": _text(r".{1,16384}"), "address": _text(r"[0-9A-Fa-f:.]{0,45}")},
    "ticket": {"user": _text(_USER)},
    "submit": _OWN | _WISHES | {"server": _text(_SERVER), "environment": _environment},
    "estimate": _WISHES,
    "cancel": _OWN,
    "close": _OWN,
    "look": _OWN,
    "sessions": {},
    "recall": _OWN,
    "claim": _OWN | {"job": _text(r"[0-9]{1,10}")},
    "log": _OWN,
    "refusals": {},
    "done": {"user": _text(_USER), "since": lambda value: type(value) in (int, float)},
    "about_jobs": {"question": _text("queue|states|accounting"), "jobs": _jobs},
    "about_slurm": {"question": _text("marks|version|nodes|reservations|associations")},
    "ban": {"user": _text(_USER), "reason": _text(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,200}")},
    "unban": {"user": _text(_USER)},
    "revoke": {"user": _text(_USER)},
}
_MAY_BE_LEFT_OUT = {"address", "reason", "gpus", "hours", "account", "qos", "reservation"}
ROOTS_OWN = {"ban", "unban", "revoke"}


def as_sent(line: bytes) -> bytes:
    """Return a drawn line as it goes over the socket."""
    return line.removesuffix(TOO_LONG) + b" " * 70_000 + b"\n" if line.endswith(TOO_LONG) else line


def is_request(line: bytes) -> bool:
    """Return whether a line is a request, by our own word."""
    try:
        asked = json.loads(line)
        json.dumps(asked, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        return False
    if type(asked) is not dict or len(line) > 64 * 1024 or type(asked.get("verb")) is not str:
        return False
    fields = FIELDS.get(asked["verb"])
    return (
        fields is not None
        and asked.keys() | _MAY_BE_LEFT_OUT & fields.keys() == fields.keys() | {"verb"}
        and all(good(asked[name]) for name, good in fields.items() if name in asked)
    )


_users = st.sampled_from(["student01", "student01", "student02", "root", "davide-hub", "nobody"])
_keys = st.sampled_from(["k1", "k1", "k2", "k3-0"])
_nasty = st.one_of(
    st.sampled_from(
        [
            "../../etc/shadow", "student01\n", "-x", "", "a;id", "$(id)", "\u0000", "\u2028", "student01\u0000",
            "Student01", "x" * 65, "one-gpu\n#SBATCH --account=x", "--uid=0", "\ud800", "%n%s", "{{7*7}}", ".", "..",
        ]
    ),
    st.text(max_size=80),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=3),
)  # fmt: skip
_variables = st.one_of(
    st.sampled_from(["JUPYTERHUB_API_TOKEN", "JUPYTERHUB_USER", "JUPYTERHUB_API_TOKEN", "LD_PRELOAD", "PATH"]),
    st.text(max_size=20),
)
_GOOD: dict[str, st.SearchStrategy[Any]] = {
    "user": _users,
    "session_key": _keys,
    "password": st.sampled_from(["right", "wrong"]),
    "server": st.sampled_from(["", "two", "ä b"]),
    "profile": st.sampled_from(["one-gpu", "no-gpu", "huge"]),
    "gpus": st.sampled_from([None, 1, 4, 64]),
    "hours": st.sampled_from([None, 1, 8, 720]),
    "account": st.sampled_from([None, "tra26_davide", "-x"]),
    "qos": st.sampled_from([None, "", "high"]),
    "reservation": st.sampled_from([None, "", "dl-course", "a b"]),
    "environment": st.just({"JUPYTERHUB_API_TOKEN": "t"}),
    "token": st.sampled_from(["a.b.c", "eyJhbGciOiJub25lIn0.e30."]),
    "address": st.sampled_from(["", "192.0.2.7", "2001:db8::1"]),
    "reason": st.sampled_from(["", "mining"]),
    "since": st.sampled_from([0, 1.5, 1e300]),
    "job": st.sampled_from(["1", "7", "4711"]),
    "jobs": st.lists(st.sampled_from(["1", "7", "4711"]), min_size=1, max_size=3),
    "about_jobs.question": st.sampled_from(["queue", "states", "accounting"]),
    "about_slurm.question": st.sampled_from(["marks", "version", "nodes", "reservations", "associations"]),
}


@st.composite
def good_requests(draw: Any) -> dict[str, Any]:
    """Draw a request as the hub would send it."""
    verb = draw(st.sampled_from(sorted(FIELDS)))
    drawn = {name: _GOOD.get(f"{verb}.{name}", _GOOD.get(name)) for name in sorted(FIELDS[verb])}
    return {"verb": verb} | {name: draw(values) for name, values in drawn.items()}


@st.composite
def near_requests(draw: Any) -> dict[str, Any]:
    """Draw a request in which one or two things are not as they should be."""
    asked = draw(good_requests())
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.sampled_from(["value", "value", "more", "less", "verb", "environment"])):
            case "value":
                asked[draw(st.sampled_from(sorted(asked)))] = draw(_nasty)
            case "more":
                asked[draw(st.sampled_from(["account", "uid", "script", "user", "token", "x"]))] = draw(_nasty)
            case "less":
                asked.pop(draw(st.sampled_from(sorted(asked))), None)
            case "verb":
                asked["verb"] = draw(st.sampled_from([*sorted(FIELDS), "shell", "Login", "submit "]))
            case "environment":
                asked["environment"] = draw(st.dictionaries(_variables, st.one_of(st.just("t"), _nasty), max_size=3))
        if not asked:
            break
    return asked


@st.composite
def lines(draw: Any) -> bytes:
    """Draw a line: a request, something like one, or noise."""
    kind = draw(st.sampled_from(["good", "near", "near", "near", "bent", "noise", "json"]))
    if kind == "noise":
        return draw(st.binary(max_size=200))
    if kind == "json":
        return json.dumps(draw(st.recursive(_nasty, lambda inner: st.lists(inner, max_size=3), max_leaves=5))).encode()
    line = json.dumps(draw(good_requests() if kind == "good" else near_requests())).encode()
    if kind == "bent":
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.binary(max_size=8)) + line[at + draw(st.integers(0, 8)) :]
    return line + draw(st.sampled_from([b"\n", b"\n", b"", b"\r\n", b"\n\n", TOO_LONG]))
