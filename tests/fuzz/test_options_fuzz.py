"""Whatever a form, a request or a database gives as options: a profile of the site, or a refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path

from davide_hub.facts import load_site
from davide_hub.options import SessionFailed, chosen_profile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
NAMES = [profile.name for profile in SITE.profiles]
_ASKED = os.environ.get("DAVIDE_FUZZ_REQUESTS")

_keys = st.one_of(st.just("profile"), st.sampled_from(["account", "Profile", "profile ", "__class__"]), st.text())
_values = st.one_of(st.sampled_from([*NAMES, f"{NAMES[0]}\n", NAMES[0].upper()]), st.text(), st.none(), st.integers())
_json = st.recursive(
    _values,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=6,
)
_options = st.one_of(_json, st.dictionaries(_keys, _values, max_size=2), st.dictionaries(st.just("profile"), _values))


@settings(
    max_examples=int(_ASKED or 1000),
    derandomize=_ASKED is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(_options)
def test_options_are_a_profile_or_a_refusal(options):
    good = options is None or (
        type(options) is dict
        and options.keys() <= {"profile"}
        and options.get("profile", NAMES[0]) in NAMES
        and type(options.get("profile", "")) is str
    )
    try:
        chosen = chosen_profile(SITE, options)
    except SessionFailed as refused:
        assert not good, f"{options!r} was refused"
        assert refused.status_code == 400
        assert refused.message.isprintable(), "a sentence of one line, whatever was sent"
    else:
        assert good, f"{options!r} was taken"
        assert chosen.name == (options or {}).get("profile", NAMES[0])
        assert json.dumps(chosen.name)
