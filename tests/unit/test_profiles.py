"""Looking up what a user sent."""

from pathlib import Path

import pytest
from davide_hub.facts import load_site
from davide_hub.profiles import UnknownProfile, find_profile, gres

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
PARTITION = SITE.slurm.partitions[0]


def test_a_profile_is_found_by_its_name():
    assert find_profile(SITE.profiles, "no-gpu").gpus == 0


def test_unknown_profile_names_the_choices():
    with pytest.raises(UnknownProfile, match="this site has one-gpu, four-gpus, no-gpu"):
        find_profile(SITE.profiles, "huge; rm -rf ~")


def test_a_forged_name_cannot_break_the_line_of_a_log():
    with pytest.raises(UnknownProfile) as caught:
        find_profile(SITE.profiles, "x\nroot logged in\x1b[2J\u2028" + "y" * 1000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 150


def test_gpus_are_asked_for_by_type_where_the_partition_has_one():
    assert gres(SITE.profiles[0], PARTITION) == "gpu:tesla:1"
    assert gres(SITE.profiles[1], PARTITION.model_copy(update={"gpu_type": None})) == "gpu:4"
    assert gres(SITE.profiles[2], PARTITION) is None
