"""Slurm's lists of nodes. What is expected here was printed by `scontrol show hostnames` of Slurm 22.05."""

from __future__ import annotations

import random

import pytest
from davide_course.cell import hostlist
from support.hostlists import random_list


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        (
            "node[001-003,007],gpu1-[1-2],a[1-2]b[3-4]",
            "node001 node002 node003 node007 gpu1-1 gpu1-2 a1b3 a1b4 a2b3 a2b4",
        ),
        ("a[1,3-4,1]", "a1 a3 a4 a1"),
        ("n1,n1", "n1 n1"),
        ("a[9-011]", "a9 a10 a11"),
        ("a[099-101]", "a099 a100 a101"),
        ("a[1-2][3-4]", "a13 a14 a23 a24"),
        ("n[1-2]a[1-2]b[1-2]", "n1a1b1 n1a1b2 n2a1b1 n2a1b2 n1a2b1 n1a2b2 n2a2b1 n2a2b2"),
        ("[1-3]", "1 2 3"),
        (",a,,b", "a b"),
        ("", ""),
    ],
)
def test_hosts_are_those_of_scontrol(text: str, hosts: str) -> None:
    assert hostlist.expand(text) == hosts.split()


def test_ten_thousand_random_lists() -> None:
    rng = random.Random(0)  # noqa: S311 - lists, not secrets
    for _ in range(10_000):
        text, hosts = random_list(rng)
        assert hostlist.expand(text) == hosts, text


@pytest.mark.parametrize("text", ["a[", "a]", "a[]", "a[1,]", "a[x]", "a[3-1]", "a[1-2-3]", "a[1-2", "a[1-99999]"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(hostlist.BadList):
        hostlist.expand(text)


def test_tasks_fill_one_node_after_the_other() -> None:
    assert hostlist.repeat("2(x3),1") == [2, 2, 2, 1]
    assert hostlist.ranks("a[1-2],b", "2(x2),1") == ["a1", "a1", "a2", "a2", "b"]
    with pytest.raises(hostlist.BadList, match="2 nodes, but '1' speaks of 1"):
        hostlist.ranks("a[1-2]", "1")
    with pytest.raises(hostlist.BadList, match="no list of numbers"):
        hostlist.repeat("2(x)")
