"""Which kernel holds which GPU: the table itself, and what a notebook asks for."""

import asyncio
import json
import random

import pytest
from davide_session.leases import Lease, Leases, NoGpuFree
from davide_session.wishes import Wish, wish_of

FOUR = ("0", "1", "2", "3")
SHARED = Wish(shared=True)


def asked(kernel, count=1, *, wish=None, path=None):
    return Lease(kernel, "TensorFlow", f"{kernel}.ipynb" if path is None else path, wish or Wish(count))


def take(leases, *args, **more):
    return asyncio.run(leases.take(*args, **more)).gpus


def full():
    leases = Leases(FOUR)
    for kernel in "abcd":
        take(leases, asked(kernel))
    return leases


def holders(leases):
    return {one.kernel: one.gpus for one in asyncio.run(leases.held())}


def test_each_kernel_gets_a_gpu_of_its_own():
    assert sorted(gpu for gpus in holders(full()).values() for gpu in gpus) == list(FOUR)


def test_the_fifth_is_told_who_holds_them_and_what_to_do():
    with pytest.raises(NoGpuFree) as refused:
        take(full(), asked("e"))
    assert str(refused.value).splitlines() == [
        "All 4 GPUs of this session are in use by other notebooks.",
        "GPU 0: a.ipynb",
        "GPU 1: b.ipynb",
        "GPU 2: c.ipynb",
        "GPU 3: d.ipynb",
        "To free one: shut down a kernel of these (tab 'Running Terminals and Kernels' on the left).",
        "To share one, or to do without: Kernel menu, 'GPUs of This Notebook…'.",
    ]


def test_the_fifth_may_share_the_emptiest_one():
    leases = full()
    assert take(leases, asked("e", wish=SHARED)) == ("0",)
    assert take(leases, asked("f", wish=SHARED)) == ("1",), "not the one where two are already"


def test_who_shares_is_no_reason_for_another_to_lose_its_own():
    leases = Leases(FOUR)
    take(leases, asked("a", wish=SHARED))
    assert take(leases, asked("b")) == ("1",)


def test_several_gpus_come_in_the_order_of_the_session():
    leases = Leases(FOUR)
    take(leases, asked("a"))
    assert take(leases, asked("b", 2)) == ("1", "2")
    with pytest.raises(NoGpuFree, match=r"asks for 2 of this session's 4 GPUs, and one is free\.\nGPU 0: a\.ipynb"):
        take(leases, asked("c", 2))


def test_more_than_there_are_is_told_as_that():
    with pytest.raises(NoGpuFree, match=r"asks for 8 GPUs, and this session has 4\.\nChoose fewer"):
        take(Leases(FOUR), asked("a", 8))


def test_no_gpu_is_always_to_be_had():
    assert take(full(), asked("e", 0)) == ()


def test_who_ends_gives_back():
    leases = full()
    leases.give_back("b")
    assert take(leases, asked("e")) == ("1",)


def test_a_dead_process_holds_nothing():
    leases = full()
    leases.began("c", lambda: True)
    assert "c" not in holders(leases)
    assert take(leases, asked("e")) == ("2",)


def test_a_restart_keeps_its_gpu_but_not_for_ever():
    clock = [0.0]
    leases = Leases(FOUR, now=lambda: clock[0])
    take(leases, asked("a"))
    leases.began("a", lambda: True)
    leases.restarts("a")
    assert holders(leases) == {"a": ("0",)}
    clock[0] = 31
    assert holders(leases) == {}


def test_a_restart_is_never_refused_and_gets_what_there_is():
    leases = full()
    assert take(leases, asked("a", 3), ("0",), anyhow=True) == ("0",)
    leases.give_back("d")
    assert take(leases, asked("b", 2), ("1",), anyhow=True) == ("1", "3")
    # It crashed, and another one was quicker.
    assert take(leases, asked("e"), ("3",), anyhow=True) == ()


def test_who_comes_back_gets_the_same_gpu():
    leases = Leases(FOUR)
    assert take(leases, asked("a"), ("2",)) == ("2",)


def test_a_notebook_that_changes_its_kernel_takes_its_gpu_along():
    leases = full()
    assert take(leases, asked("new", path="b.ipynb")) == ("1",)
    leases.give_back("b")
    assert holders(leases)["new"] == ("1",)
    with pytest.raises(NoGpuFree):
        take(leases, asked("e"))


def test_kernels_without_a_notebook_are_not_taken_for_one():
    leases = Leases(FOUR[:2])
    assert (take(leases, asked("a", path="")), take(leases, asked("b", path=""))) == (("0",), ("1",))
    with pytest.raises(NoGpuFree, match="GPU 0: a kernel without a notebook"):
        take(leases, asked("c", path=""))


def test_a_renamed_notebook_is_named_as_it_is_now_and_leaves_its_name_to_others():
    leases = full()

    async def paths():
        return {"a": "renamed.ipynb"}

    leases.paths = paths
    with pytest.raises(NoGpuFree, match=r"GPU 0: renamed\.ipynb"):
        take(leases, asked("e", path="a.ipynb"))


def test_one_gpu_is_everybodys():
    assert not Leases(["0"]).are_kept
    assert asyncio.run(Leases(["0"]).facts()) == {"gpus": [], "held": []}


def test_pages_are_told_numbers_where_slurm_gives_long_names():
    leases = Leases(["GPU-8a56a4bc", "GPU-1ef1c0de"])
    take(leases, asked("a"), ("GPU-1ef1c0de",))
    assert asyncio.run(leases.facts()) == {
        "gpus": ["0", "1"],
        "held": [{"kernel": "a", "title": "TensorFlow", "path": "a.ipynb", "gpus": ["1"], "asked": 1}],
    }


def test_every_change_is_announced():
    leases, told = Leases(FOUR), []
    leases.changed = lambda: told.append(1)
    take(leases, asked("a"))
    leases.give_back("a")
    leases.give_back("a")
    assert len(told) == 2


def test_whatever_happens_nobody_gets_what_another_has_alone():
    """A thousand kernels that come, restart, crash and go; after each step no GPU has two owners, and none is lost."""
    chance = random.Random(6)  # noqa: S311
    leases, dead, running = Leases(FOUR), set(), set()
    for step in range(1000):
        kernel = chance.choice([f"k{step}", *running])
        what = chance.choice(["take", "take", "crash", "end", "restart"])
        wish = chance.choice([Wish(), Wish(), Wish(2), Wish(0), SHARED])
        if what == "take":
            try:
                take(leases, asked(kernel, wish=wish), anyhow=kernel in running)
            except NoGpuFree:
                continue
            dead.discard(kernel)
            running.add(kernel)
            leases.began(kernel, lambda kernel=kernel: kernel in dead)
        elif what == "crash":
            dead.add(kernel)
        elif what == "restart":
            leases.restarts(kernel)
        else:
            leases.give_back(kernel)
            running.discard(kernel)
        held = asyncio.run(leases.held())
        for gpu in FOUR:
            owners = [one for one in held if gpu in one.gpus and not one.wish.shared]
            assert len(owners) <= 1, f"step {step}: {owners}"
    for kernel in list(running):
        leases.give_back(kernel)
    assert take(leases, asked("last", 4)) == FOUR


@pytest.mark.parametrize(
    ("said", "wish"),
    [
        (2, Wish(2)),
        (0, Wish(0)),
        ("share", SHARED),
        ("2", Wish()),
        (-1, Wish()),
        (True, Wish()),
        ([1], Wish()),
    ],
)
def test_a_notebook_says_what_it_wants(tmp_path, said, wish):
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(json.dumps({"cells": [], "metadata": {"davide": {"gpus": said}}}))
    assert wish_of(notebook) == wish


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"metadata": 3}', '{"metadata": {"davide": "gpus"}}', "[" * 9999])
def test_a_notebook_that_says_nothing_gets_one(tmp_path, content):
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(content)
    assert wish_of(notebook) == Wish()


def test_what_is_no_notebook_gets_one(tmp_path):
    assert wish_of(tmp_path / "console-1") == wish_of(tmp_path / "gone.ipynb") == Wish()
