"""What is free, from what sinfo prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from davide_hub.availability import Room, gpu_counts, read_nodes, room_for
from davide_hub.facts import load_site
from davide_hub.questions import Outcome, SlurmSilent

DATA = Path(__file__).parent / "data"
SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
[PARTITION] = SITE.slurm.partitions
ONE, FOUR, NONE = SITE.profiles
# The lines of `node` are made by hand in the shape of those that were recorded, for states that can't be had here.
HEADER = "NODELIST|PARTITION|STATECOMPLETE|GRES|GRES_USED|CPUS(A/I/O/T)|MEMORY|ALLOCMEM\n"


def node(
    name="gpu01", state="idle", gres="gpu:tesla:4", used="gpu:tesla:0(IDX:N/A)", cpus="0/16/0/16", memory="24576|0"
):
    return f"{name}|dvd_usr_prod|{state}|{gres}|{used}|{cpus}|{memory}\n"


def recorded(name):
    """Return what sinfo printed on the local cluster (Slurm 22.05.8), with other GPUs than it has for `types`."""
    return read_nodes(Outcome(0, (DATA / f"sinfo-{name}-22.05.txt").read_text()))


def room(*lines, profile=ONE, within=None, partition=PARTITION):
    return room_for(profile, partition, read_nodes(Outcome(0, HEADER + "".join(lines))), within)


def test_typed_gpus_as_sinfo_really_prints_them():
    read = recorded("gpus")
    assert [(node.name, node.gpus, node.free_gpus) for node in read] == [
        ("gpu01", {"tesla": 4}, {"tesla": 1}),
        ("gpu02", {"tesla": 4}, {"tesla": 3}),
    ]
    assert room_for(ONE, PARTITION, read) == Room(4, 8, 4)
    assert room_for(FOUR, PARTITION, read).sessions == 0


def test_several_types_on_a_node_as_sinfo_really_prints_them():
    two_types, parts = recorded("types")
    assert (two_types.gpus, two_types.free_gpus) == ({"a100": 2, "v100": 2}, {"a100": 1, "v100": 0})
    # The other node was refused: it had fewer GPUs than slurm.conf says.
    assert (parts.gpus, parts.works) == ({"nvidia_a100_1g.5gb": 7}, False)
    assert room_for(ONE.model_copy(update={"gpu_type": "a100"}), PARTITION, [two_types, parts]) == Room(1, 2, 1)
    assert room_for(ONE.model_copy(update={"gpu_type": "v100"}), PARTITION, [two_types, parts]) == Room(0, 2, 0)


# Made by hand, after gres.conf(5) and sinfo(1): the local cluster has no sockets for GPUs, and types on all of them.
@pytest.mark.parametrize(
    ("gres", "counts"),
    [
        ("gpu:tesla:4(S:0-1)", {"tesla": 4}),
        ("gpu:4(S:0)", {"": 4}),
        ("gpu:4", {"": 4}),
        ("gpu:a100:2(S:0),gpu:v100:4(S:1)", {"a100": 2, "v100": 4}),
        ("gpu:a100:2(IDX:0,3),gpu:v100:1(IDX:5)", {"a100": 2, "v100": 1}),
        ("gpu:tesla:3(IDX:0-1,3)", {"tesla": 3}),
        ("license:2,gpu:2,nvme:1", {"": 2}),
        ("(null)", {}),
        ("", {}),
    ],
)
def test_gpus_are_counted_by_type_and_brackets_hold_no_counts(gres, counts):
    assert gpu_counts(gres) == counts


def test_states_as_sinfo_really_prints_them():
    read = recorded("states")
    assert [(node.name, node.works, node.reserved) for node in read] == [
        ("gpu01", True, False),  # a job of 4 cores runs there
        ("gpu02", False, False),  # drained
        ("gpu03", True, True),
        ("gpu04", False, True),  # under maintenance
    ]
    assert (read[0].free_cores, read[0].free_memory_mb) == (12, 18432)
    assert room_for(NONE, PARTITION, read).sessions == 4


def test_an_idle_cluster_is_free():
    assert room(node(), node("gpu02")) == Room(free=8, all=8, sessions=8)
    assert room(node(), node("gpu02"), profile=FOUR) == Room(8, 8, 2)


def test_what_runs_is_not_free():
    busy = node(state="mixed", used="gpu:tesla:3(IDX:0-2)", cpus="12/4/0/16", memory="24576|18432")
    assert room(busy) == Room(1, 4, 1)
    assert room(busy, profile=FOUR).sessions == 0


def test_a_gpu_without_cores_or_memory_is_free_and_no_room():
    assert room(node(state="mixed", cpus="14/2/0/16", memory="24576|1024")) == Room(4, 4, 0)
    assert room(node(state="mixed", memory="24576|20480")) == Room(4, 4, 0)


@pytest.mark.parametrize(
    "state",
    ["down", "down*", "idle*", "idle+drain", "drained", "draining", "mixed+drain", "idle+reserved", "reserved", "maint",
     "idle+maintenance+reserved", "idle+maint+reserved", "idle+powered_down", "fail", "error", "unknown", "future",
     "down+not_responding",
     "idle+power_down", "inval", "idle+reboot_requested"],
)  # fmt: skip
def test_a_node_that_is_down_drained_or_kept_for_others_does_not_count(state):
    assert room(node(state=state), node("gpu02")) == Room(free=4, all=8, sessions=4)


def test_in_a_reservation_its_own_nodes_count_and_no_others():
    lines = node(state="idle+reserved"), node("gpu02"), node("gpu03", state="down+reserved")
    assert room(*lines, within={"gpu01", "gpu03"}) == Room(4, 8, 4)


def test_of_several_types_the_profiles_own_counts():
    lines = (
        node(gres="gpu:a100:2,gpu:tesla:4", used="gpu:a100:0(IDX:N/A),gpu:tesla:3(IDX:2-4)"),
        node("gpu02", gres="gpu:a100:4"),
    )
    assert room(*lines) == Room(1, 4, 1)
    assert room(*lines, profile=ONE.model_copy(update={"gpu_type": "a100"})) == Room(6, 6, 6)
    any_type = PARTITION.model_copy(update={"gpu_type": None})
    assert room(*lines, partition=any_type).free == 7


def test_gpus_without_a_type_count_for_any():
    assert room(node(gres="gpu:4(S:0-1)", used="gpu:1(IDX:0)")) == Room(3, 4, 3)


def test_a_session_without_gpus_needs_cores_and_memory():
    assert room(node(state="mixed", used="gpu:tesla:4(IDX:0-3)", cpus="12/4/0/16"), profile=NONE) == Room(0, 4, 2)


def test_another_partition_is_another_matter():
    assert room(node().replace("dvd_usr_prod", "other"), node("gpu02")).all == 4


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(1, "", "slurm_load_partitions: Unable to contact slurm controller (connect failure)"),
        Outcome(0, ""),
        Outcome(0, HEADER + "gpu01|dvd_usr_prod|idle\n"),
        Outcome(0, HEADER + node(cpus="n/a")),
        Outcome(0, HEADER + node(memory="24576|N/A")),
    ],
)
def test_what_is_no_whole_answer_is_none(outcome):
    with pytest.raises(SlurmSilent):
        read_nodes(outcome)
