"""Whether Slurm bounds what sessions use, from answers that Slurm 22.05 gave to the hub's account."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from davide_hub.cli import main
from davide_hub.facts import load_site
from davide_hub.limits import find_unlimited
from davide_hub.questions import Outcome, SlurmSilent

DATA = Path(__file__).parent / "data"
LOCAL = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
SLURM = load_site(LOCAL).slurm
GOOD = {
    "config": (DATA / "scontrol-config-22.05.txt").read_text(),
    "partition": (DATA / "scontrol-partition-22.05.txt").read_text(),
    "associations": (DATA / "sacctmgr-associations-22.05.txt").read_text(),
    "qos": (DATA / "sacctmgr-qos-22.05.txt").read_text(),
}
ENFORCED = "associations,limits,qos"
# After `sacctmgr modify qos normal set MaxTRESPerUser=gres/gpu=4 MaxJobsPerUser=4`; after GrpTRES for the account.
OF_A_QOS = (DATA / "sacctmgr-qos-limited-22.05.txt").read_text()
OF_THE_ACCOUNT = (DATA / "sacctmgr-associations-limited-22.05.txt").read_text()


def found(**changed: str | Outcome | SlurmSilent) -> list[str]:
    """Return the warnings, where some of Slurm's answers are other ones."""

    async def run(argv: tuple[str, ...], _seconds: float) -> Outcome:
        answer = next((GOOD | changed)[word] for word in GOOD if word in argv)
        if isinstance(answer, SlurmSilent):
            raise answer
        return answer if isinstance(answer, Outcome) else Outcome(0, answer)

    return asyncio.run(find_unlimited(SLURM, run))


def test_a_slurm_without_any_limit_is_told_with_the_fix():
    (sentence,) = found()
    assert sentence.startswith("nothing in Slurm bounds what sessions of account tra26_davide use")
    assert "sacctmgr modify qos normal set MaxTRESPerUser=gres/gpu=4" in sentence


@pytest.mark.parametrize("changed", [{"qos": OF_A_QOS}, {"associations": OF_THE_ACCOUNT}], ids=["qos", "account"])
def test_with_a_limit_there_is_nothing_to_tell(changed):
    assert found(**changed) == []


def test_a_limit_on_a_qos_that_no_session_uses_is_none():
    others = OF_A_QOS.replace("\nnormal|", "\nlong|")
    assert len(found(qos=others)) == 1
    partition = GOOD["partition"].replace("QoS=N/A", "QoS=long")
    assert partition != GOOD["partition"]
    assert found(qos=others, partition=partition) == []


@pytest.mark.parametrize(
    ("enforced", "missing"),
    [
        (ENFORCED, []),
        ("associations,limits,qos,safe", []),
        ("associations,safe,qos", []),
        ("associations", ["limits", "qos"]),
        ("associations,limits", ["qos"]),
        ("none", ["limits", "qos"]),
    ],
)
def test_what_slurm_does_not_enforce_is_told(enforced, missing):
    config = GOOD["config"].replace(ENFORCED, enforced)
    told = found(config=config, qos=OF_A_QOS)
    assert [sentence.partition(":")[0] for sentence in told] == [f"Slurm does not enforce {one}" for one in missing]
    assert all("write AccountingStorageEnforce=associations,limits,qos into slurm.conf" in one for one in told)


def test_an_account_that_is_not_there_or_hidden_is_told():
    header = GOOD["associations"].splitlines()[0]
    (sentence,) = found(associations=f"{header}\n")
    assert "no association of account tra26_davide on cluster davide" in sentence
    assert "PrivateData" in sentence


@pytest.mark.parametrize("which", sorted(GOOD))
@pytest.mark.parametrize(
    "answer",
    [
        Outcome(1, "", "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"),
        Outcome(0, ""),
        SlurmSilent("sacctmgr took more than 15 s"),
    ],
    ids=["refuses", "says nothing", "hangs"],
)
def test_a_silent_slurm_is_no_verdict(which, answer):
    (sentence,) = found(**{which: answer})
    assert sentence.startswith("whether Slurm bounds what sessions use is not known: s")


def test_a_warning_is_no_failure(monkeypatch, capsys):
    async def warn(_slurm: object) -> list[str]:
        return ["nothing bounds anything"]

    monkeypatch.setattr("davide_hub.cli.find_unlimited", warn)
    assert main(["check", str(LOCAL), "--slurm"]) == 0
    assert capsys.readouterr().out.startswith(f"{LOCAL}: nothing bounds anything\n")
    assert main(["check", str(LOCAL), "--slurm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == ["nothing bounds anything"]
