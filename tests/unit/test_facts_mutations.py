"""Whatever happens to a site.yml, it is accepted and renders, or it is refused with sentences that name the key."""

import copy
import re
from pathlib import Path

import yaml
from davide_hub.facts import FactsError, load_site
from davide_hub.reading import printable
from davide_hub.review import scripts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOP = Path(__file__).parents[2]
LOCAL = TOP / "ansible/inventory/local/group_vars/all/site.yml"
GOOD = yaml.safe_load(LOCAL.read_text())

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 70),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.sampled_from(
        ["lots", "x; id", "$(id)", "`id`", "a\n#SBATCH --uid=0", "../..", "{{ x }}", "-v", "%u", "tf-cpu", ""]
    ),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the path of everything inside `value`."""
    if isinstance(value, dict):
        return [path, *(p for key, inner in value.items() for p in places(inner, (*path, key)))]
    if isinstance(value, list):
        return [path, *(p for index, inner in enumerate(value) for p in places(inner, (*path, index)))]
    return [path]


@st.composite
def mutated(draw):
    """Return the local site's facts after one to three random changes: replaced, removed, added, doubled."""
    facts = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(facts)))
        if not place:
            return draw(VALUES)
        parent = facts
        for step in place[:-1]:
            parent = parent[step]
        _change(draw, parent, place[-1])
    return facts


def _change(draw, parent, last) -> None:
    how = draw(st.sampled_from(["replace", "replace", "remove", "add", "double"]))
    if how == "replace":
        parent[last] = draw(VALUES)
    elif how == "remove":
        del parent[last]
    elif how == "add" and isinstance(parent, dict):
        parent[draw(st.text(max_size=10))] = draw(VALUES)
    elif how == "double" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]))


def accepted_or_refused(path: Path) -> list[str]:
    """Return the sentences of a refusal."""
    try:
        site = load_site(path)
    except FactsError as error:
        assert str(error), "a refusal without a sentence"
        assert all(line.startswith(str(path)) for line in error.sentences)
        assert "\n" not in "".join(error.sentences)
        return list(error.sentences)
    for script in scripts(site, TOP / "spawner_templates").values():
        assert_harmless(script)
    return []


def names_its_key(sentence: str, path: Path, facts: object) -> bool:
    """Return whether a sentence goes on, after file and line, with the key that it is about, if there is any."""
    about = re.sub(r"^(:[0-9]+)?: ", "", sentence.removeprefix(str(path)))
    keys = map(printable, facts) if isinstance(facts, dict) else ["the file: ", "["]
    return about.startswith(("site: ", "site.", *keys))


def assert_harmless(script: str) -> None:
    lines = script.splitlines()
    directives = [line for line in lines if line.startswith("#SBATCH ")]
    assert len({line.split("=")[0] for line in directives}) == len(directives)
    assert not any(character in line for line in directives for character in ";|&`$<>(){}\\'\"%")
    assert "{{" not in script


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=mutated())
def test_mutated_facts_are_accepted_or_refused(tmp_path, facts):
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump(facts, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    for sentence in accepted_or_refused(path):
        assert names_its_key(sentence, path, facts), sentence


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_text_is_accepted_or_refused(tmp_path, data):
    content = bytearray(LOCAL.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 40))
        content[start : start + length] = data.draw(st.binary(max_size=12) | st.text(max_size=12).map(_encoded))
    path = tmp_path / "site.yml"
    path.write_bytes(content)
    accepted_or_refused(path)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
