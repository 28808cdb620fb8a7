"""Whatever a form, a request or a database gives as options: what the site offers, or a refusal."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from davide_hub.facts import load_site
from davide_hub.options import SessionFailed, chosen_plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
NAMES = [profile.name for profile in SITE.profiles]
_ASKED = os.environ.get("DAVIDE_FUZZ_REQUESTS")

# Our own word for what is good, written a second time on purpose.
BOUNDS = {"one-gpu": ((1, 4), (1, 8)), "four-gpus": ((4, 4), (1, 4)), "no-gpu": ((0, 0), (1, 8))}
TEXTS = ("account", "qos", "reservation")
GOOD = ("profile", "gpus", "hours", *TEXTS)

_keys = st.one_of(
    st.just("profile"), st.sampled_from(GOOD), st.sampled_from(["cores", "Profile", "profile ", "__class__"]), st.text()
)
_values = st.one_of(
    st.sampled_from([*NAMES, f"{NAMES[0]}\n", NAMES[0].upper(), "tra26_davide", "", "-x", "a b"]),
    st.integers(0, 9),
    st.text(),
    st.none(),
    st.booleans(),
    st.integers(),
)
_json = st.recursive(
    _values,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=6,
)
_options = st.one_of(
    _json,
    st.dictionaries(_keys, _values, max_size=3),
    st.dictionaries(st.just("profile"), _values),
    st.fixed_dictionaries(
        {"profile": st.sampled_from(NAMES)}, optional={"gpus": st.integers(0, 9), "hours": st.integers(0, 9)}
    ),
)


def _is_good(options):
    if type(options) is not dict:
        return options is None
    profile = options.get("profile", NAMES[0])
    if not options.keys() <= set(GOOD) or type(profile) is not str or profile not in NAMES:
        return False
    numbers = [
        (options[name], bounds) for name, bounds in zip(GOOD[1:3], BOUNDS[profile], strict=True) if name in options
    ]
    names = [options[name] for name in TEXTS if name in options]
    return all(type(number) is int and least <= number <= most for number, (least, most) in numbers) and all(
        type(name) is str and re.fullmatch("([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?", name) for name in names
    )


@settings(
    max_examples=int(_ASKED or 1000),
    derandomize=_ASKED is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(_options)
def test_options_are_a_plan_or_a_refusal(options):
    good = _is_good(options)
    try:
        chosen = chosen_plan(SITE, options)
    except SessionFailed as refused:
        assert not good, f"{options!r} was refused"
        assert refused.status_code == 400
        assert refused.message.isprintable(), "a sentence of one line, whatever was sent"
    else:
        assert good, f"{options!r} was taken"
        assert chosen.profile.name == (options or {}).get("profile", NAMES[0])
        assert json.dumps(chosen.profile.name)
