"""A program is told of the session's end, and nothing is broken where nobody tells."""

import os
import signal
import threading

import pytest
from davide_course import walltime
from davide_session import notice


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(notice.VARIABLE, str(tmp_path))
    return tmp_path


def test_a_loop_is_told_by_the_session(folder):
    with walltime.watch() as end:
        assert not end.is_near
        assert notice.tell(folder) == [os.getpid()]
        assert end.is_near


def test_after_it_nobody_is_told_and_a_late_signal_does_no_harm(folder):
    with walltime.watch():
        pass
    assert notice.tell(folder) == []
    signal.raise_signal(signal.SIGUSR1)


def test_who_begins_when_all_were_told_knows_at_once(folder):
    notice.tell(folder)
    with walltime.watch() as end:
        assert end.is_near


def test_one_within_another_both_know(folder):
    with walltime.watch() as outer:
        with walltime.watch():
            pass
        notice.tell(folder)
        assert outer.is_near


def test_another_programs_own_handler_is_back_afterwards(folder):
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(True))
    with walltime.watch():
        pass
    signal.raise_signal(signal.SIGUSR1)
    assert heard == [True]


def test_without_a_session_slurms_own_signal_counts(monkeypatch):
    monkeypatch.delenv(notice.VARIABLE, raising=False)
    with walltime.watch() as end:
        signal.raise_signal(signal.SIGUSR1)
        assert end.is_near


def test_in_another_thread_it_says_where_it_works(folder):
    said = []

    def work():
        with pytest.raises(RuntimeError, match="main thread") as refused, walltime.watch():
            pass
        said.append(refused)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said
    assert list(folder.iterdir()) == []
