"""When nothing runs in a kernel with a job of its own."""

import pytest
from davide_session.jobkernel.idleness import Idleness
from davide_session.jobkernel.messages import Writer, read

WRITER = Writer(b"key", "hmac-sha256")


class Clock:
    """Seconds as the test wants them."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def asked(kind):
    return WRITER.write(kind, {})


def status(state, request):
    return WRITER.write("status", {"execution_state": state}, parent=read(request).header)


def test_a_profile_without_a_limit_ends_nothing(clock):
    idleness = Idleness(None, clock)
    clock.now += 1e6
    assert (idleness.left_seconds, idleness.is_near) == (None, False)


def test_time_runs_while_nothing_does_and_the_user_is_warned_five_minutes_before(clock):
    idleness = Idleness(30, clock)
    clock.now += 1499
    assert (idleness.left_seconds, idleness.is_near) == (301, False)
    clock.now += 1
    assert idleness.is_near
    idleness.work()
    assert (idleness.left_seconds, idleness.is_near) == (1800, False)


def test_a_short_limit_is_warned_of_at_half_of_it(clock):
    idleness = Idleness(4, clock)
    clock.now += 119
    assert not idleness.is_near
    clock.now += 1
    assert idleness.is_near


def test_a_cell_that_runs_is_work_however_silent_it_is(clock):
    idleness = Idleness(10, clock)
    cell, other = asked("execute_request"), asked("execute_request")
    idleness.asked(cell)
    idleness.said(status("busy", cell))
    clock.now += 6000
    assert idleness.left_seconds == 600
    idleness.said(status("busy", other))
    idleness.said(status("idle", cell))
    clock.now += 6000
    assert idleness.left_seconds == 600
    idleness.said(status("idle", other))
    clock.now += 60
    assert idleness.left_seconds == 540


def test_output_of_a_thread_is_work(clock):
    idleness = Idleness(10, clock)
    clock.now += 500
    idleness.said(WRITER.write("stream", {"text": "still here"}, parent=read(asked("execute_request")).header))
    assert idleness.left_seconds == 600


@pytest.mark.parametrize("kind", ["kernel_info_request", "comm_info_request"])
def test_what_a_page_asks_by_itself_is_no_work(clock, kind):
    idleness = Idleness(10, clock)
    clock.now += 500
    question = asked(kind)
    idleness.asked(question)
    idleness.said(status("busy", question))
    idleness.said(status("idle", question))
    assert idleness.left_seconds == 100


def test_somebody_who_types_is_at_work(clock):
    idleness = Idleness(10, clock)
    clock.now += 500
    idleness.asked(asked("complete_request"))
    assert idleness.left_seconds == 600


def test_a_kernel_that_died_at_work_is_not_at_work_for_ever(clock):
    idleness = Idleness(10, clock)
    idleness.said(status("busy", asked("execute_request")))
    idleness.begin()
    clock.now += 600
    assert idleness.left_seconds == 0


@pytest.mark.parametrize(("gpu", "cores", "left"), [(False, 0.05, 60), (False, 0.2, 600), (True, 0.0, 600)])
def test_what_the_kernel_does_not_tell_of_is_work_too(clock, gpu, cores, left):
    idleness = Idleness(10, clock)
    clock.now += 540
    idleness.looked(gpu=gpu, cores=cores)
    assert idleness.left_seconds == left


def test_writing_variables_down_is_no_work_however_long_it_takes(clock):
    idleness = Idleness(10, clock)
    clock.now += 300
    idleness.keeps("a")
    for _ in range(3):
        clock.now += 30
        idleness.looked(gpu=False, cores=1)
    idleness.kept("a")
    # The last of it was since the last look.
    idleness.looked(gpu=False, cores=1)
    assert idleness.left_seconds == 210
    idleness.looked(gpu=False, cores=1)
    assert idleness.left_seconds == 600


def test_a_gpu_at_work_counts_also_while_variables_are_written(clock):
    idleness = Idleness(10, clock)
    clock.now += 300
    idleness.keeps("a")
    idleness.looked(gpu=True, cores=0)
    assert idleness.left_seconds == 600


def test_a_kernel_that_was_started_anew_keeps_nothing(clock):
    idleness = Idleness(10, clock)
    idleness.keeps("a")
    idleness.begin()
    idleness.looked(gpu=False, cores=0)
    clock.now += 300
    idleness.looked(gpu=False, cores=1)
    assert idleness.left_seconds == 600
