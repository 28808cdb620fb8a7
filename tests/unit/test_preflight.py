"""What the preflight makes of what hosts tell: silence where all is right, else a sentence with the fix."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from davide_hub.cli import main
from davide_hub.facts import load_site
from davide_hub.health.findings import ORDER, ordered, problem, warning
from davide_hub.health.judge import judge
from davide_hub.health.plan import Scene
from davide_hub.health.preflight import read_rounds
from davide_hub.questions import Outcome
from looked import GOOD, LOCAL, NOW, SCENE, SITE, certificate, changed, ran
from wrong import BAD, CLOCK


def told(path: tuple[str, ...], value: Any, site: Any = SITE, scene: Scene = SCENE) -> list[str]:
    """Return what is found where one of the good answers is another."""
    return [f"{one.level}: {one.sentence}" for one in judge(site, scene, changed(path, value))]


def test_where_all_is_right_nothing_is_told():
    assert judge(SITE, SCENE, GOOD) == []


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_is_wrong_is_told_with_its_fix(name):
    path, value, sentence = BAD[name]
    found = told(path, value)
    assert any(sentence in one for one in found), found
    assert all(": " in one and one.isprintable() for one in found)


def test_one_cause_is_told_once_and_nothing_beside_it():
    """A slip in one fact must not read like ten."""
    for name, (path, value, _) in BAD.items():
        found = told(path, value)
        # Another architecture, or GPUs of another type, concern what depends on them; no Slurm, no more of it.
        assert 1 <= len(found) <= (3 if name in ("other GPUs", "less memory", "another partition") else 2), (
            name,
            found,
        )


def test_a_group_that_nobody_knows_is_told():
    answers = changed(("hub01", "accounts", "numbers"), {})
    answers["hub01"]["accounts"]["group"] = None
    (found,) = judge(SITE, SCENE, answers)
    assert found.sentence.startswith("hub01 knows no group davide: set site.group")


def test_many_people_with_one_fault_are_one_sentence():
    """A node that asks another directory knows nobody: that is one thing to mend, not fifty."""
    answers = changed(("gpu01", "accounts", "numbers"), {})
    admin = answers["hub01"]["accounts"]["numbers"]["admin01"]
    people = [f"student{number:02d}" for number in range(1, 11)]
    answers["hub01"]["accounts"]["numbers"] |= dict.fromkeys(people, admin)
    answers["gpu01"]["accounts"]["numbers"] = dict.fromkeys(people)
    (found,) = judge(SITE, SCENE, answers)
    assert found.sentence.startswith("gpu01 knows no account student01, student02, student03 and 7 more, hub01 does")


def test_somebody_without_a_home_yet_is_no_missing_mount():
    answers = changed(("gpu01", "accounts", "numbers"), {})
    numbers = answers["hub01"]["accounts"]["numbers"]
    numbers["new"] = numbers["admin01"] | {"home": {"path": "/home/new", "why": "No such file or directory"}}
    (found,) = judge(SITE, SCENE, answers)
    assert (found.level, "/home/new" in found.sentence) == ("warning", True)
    numbers["admin01"]["home"] = numbers["new"]["home"]
    (found,) = judge(SITE, SCENE, answers)
    assert (found.level, found.sentence.endswith("mount the homes there")) == ("problem", True)


def test_a_hub_that_is_there_already_may_be_what_is_to_be_mended():
    """The plays bring the firewall's rules back: a preflight that refuses them would keep the fault for ever."""
    answers = changed(("gpu01", "called"), {"10.77.0.10:8081": {"heard": False, "from": "", "why": "refused"}})
    answers["hub01"]["listening"]["10.77.0.10:8081"]["by"] = "others"
    assert [one.level for one in judge(SITE, SCENE, answers)] == ["warning"]


def test_names_that_lead_nowhere_or_apart_are_told(tmp_path):
    path = tmp_path / "site.yml"
    path.write_text(LOCAL.read_text().replace("https://davide.localhost:8000 #", "https://jupyter.example.org:8000 #"))
    site = load_site(path)
    names = {"jupyter.example.org": ["192.0.2.1"], "davide-hub-check.jupyter.example.org": ["192.0.2.1"]}
    text = certificate("jupyter.example.org", "*.jupyter.example.org")
    answers = changed(("hub01", "certificate", "text"), text)

    def found(names: dict[str, list[str]]) -> list[str]:
        answers["hub01"]["names"] = names
        return [one.sentence for one in judge(site, SCENE, answers)]

    assert found(names) == []
    (sentence,) = found(names | {"davide-hub-check.jupyter.example.org": []})
    assert "add *.jupyter.example.org to DNS, or write site.origins: shared" in sentence
    (sentence,) = found(names | {"davide-hub-check.jupyter.example.org": ["192.0.2.9"]})
    assert sentence.startswith("*.jupyter.example.org leads to 192.0.2.9, and jupyter.example.org to 192.0.2.1")
    assert found({key: [] for key in names})[0].startswith("nobody knows the name jupyter.example.org")


def test_a_site_whose_nodes_are_of_another_architecture_than_its_builder_is_told():
    partition = SITE.slurm.partitions[0].model_copy(update={"architecture": "ppc64le"})
    site = SITE.model_copy(update={"slurm": SITE.slurm.model_copy(update={"partitions": (partition,)})})
    (sentence,) = told(CLOCK, NOW, site)
    assert "hub01 is x86_64 and builds the session environment for nodes that are ppc64le" in sentence


def test_without_a_node_to_look_from_that_is_told():
    answers = {"hub01": changed(("hub01", "decoded"), None)["hub01"]}
    (found,) = judge(SITE, replace(SCENE, nodes=()), answers)
    assert (found.level, found.check) == ("warning", "reach")


def test_causes_come_before_what_follows_from_them():
    found = ordered([warning("room", "w"), problem("slurm", "s"), problem("munge", "m"), problem("slurm", "s")])
    assert [one.sentence for one in found] == ["m", "s", "w"]
    assert ORDER.index("room") < ORDER.index("munge") < ORDER.index("slurm") < ORDER.index("sessions")


def test_a_host_without_an_answer_is_one_with_a_reason():
    results = {
        "good": {"stdout": json.dumps({"time": 5})},
        "gone": {"unreachable": True, "msg": "Failed to connect: No route to host"},
        "bare": {"stdout": "", "stderr": "/usr/bin/python3: not found\n"},
        "odd": {"stdout": "Welcome!"},
    }
    found = read_rounds([{"before": 4, "after": 6, "results": results}])
    assert found["good"] == {"time": 5, "clock": [4.0, 6.0]}
    assert found["gone"]["why"] == "Failed to connect: No route to host"
    assert found["bare"]["why"] == "/usr/bin/python3: not found"
    assert found["odd"]["why"] == "it gave no answer"


def test_the_verb_says_problems_and_its_status_does_too(monkeypatch, capsys, tmp_path):
    def verb(answers: dict[str, Any], *words: str) -> tuple[int, str]:
        results = {host: {"stdout": json.dumps(one)} for host, one in answers.items()}
        rounds = tmp_path / "rounds.json"
        rounds.write_text(json.dumps([{"before": NOW - 1, "after": NOW + 1, "results": results}]))
        scene = json.dumps({"session": "hub01", "nodes": ["gpu01", "gpu02"], "made": []})
        with rounds.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = main(["preflight", "judge", *words, "--site", str(LOCAL), "--scene", scene])
        said = capsys.readouterr()
        return status, said.out + said.err

    assert verb(GOOD) == (0, "all is right\n")
    bad = changed(("hub01", "room", "/opt/davide", "free_gb"), 0.1)
    assert verb(bad) == (
        1,
        "problem: hub01:/opt/davide has 0.1 GB free, 2 are needed: make room, or mount a larger disk\n",
    )
    status, said = verb(bad, "--json")
    assert (status, json.loads(said)["ok"], json.loads(said)["findings"][0]["check"]) == (1, False, "room")


def test_answers_of_commands_are_what_the_rest_of_the_hub_knows():
    from davide_hub.health.judge_slurm import outcomes

    assert outcomes({"x": ran("out", 1, "err")}) == {"x": Outcome(1, "out", "err")}
