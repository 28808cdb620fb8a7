"""Parts of %%davide: values as files, lines on the screen, what a process finds, what Slurm's answers prove."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from davide_course.cell import place, queue, rank, screen, values
from davide_course.cell.folder import Folder, Tail, write_in_place
from davide_course.cell.queue import Look
from davide_course.cell.screen import State
from davide_hub.reasons import explain
from davide_hub.states import Job
from davide_hub.states import Phase as HubPhase
from davide_hub.texts import texts_of


def there_and_back(tmp_path: Path, value: object) -> object:
    values.save(tmp_path / "value.npz", value)
    return values.load(tmp_path / "value.npz")


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"loss": [0.5, 0.25], 3: ("a", b"\x00\xff"), (1, 2): True},
        "text with ünïcode\n",
        [],
        {"array": 1, "lost": 2, "list": [{}]},
        math.inf,
        2**80,
    ],
)
def test_values_come_back_as_they_were(tmp_path: Path, value: object) -> None:
    found = there_and_back(tmp_path, value)
    assert found == value
    assert type(found) is type(value)


def test_arrays_come_back_with_their_types(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    found = there_and_back(tmp_path, {"a": array, "b": [np.float32(0.1), np.bool_(True)], "c": np.array(["x", "yy"])})
    assert isinstance(found, dict)
    assert found["a"].dtype == np.int16
    assert (found["a"] == array).all()
    assert [type(one) for one in found["b"]] == [np.float32, np.bool_]
    assert list(found["c"]) == ["x", "yy"]


def test_what_has_no_place_is_named_and_the_rest_comes_back(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    value = {"loss": 0.5, "model": Path(), "objects": np.array([object()]), "endless": endless}
    found = there_and_back(tmp_path, value)
    assert isinstance(found, dict)
    assert found["loss"] == 0.5
    assert found["model"] == "<PosixPath>"
    assert {"<PosixPath>", "<ndarray of Python objects>", "<something nested too deeply>"} == set(values.missing(found))


def test_history_of_keras_comes_back_as_its_numbers(tmp_path: Path) -> None:
    history = type("History", (), {})()
    history.history = {"loss": [np.float32(2.0), 1.0]}
    assert there_and_back(tmp_path, history) == {"loss": [2.0, 1.0]}


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "value.npz"
    path.write_bytes(pickle.dumps(SimpleNamespace()))
    with pytest.raises(ValueError, match="pickle"):
        values.load(path)


def test_equal_lines_of_processes_are_one_line() -> None:
    said = {0: ["Epoch 1", "", "loss 0.5", ""], 1: ["Epoch 1", "", "loss 0.6"], 3: ["Epoch 1"]}
    assert screen.together(said, 4) == ["[0-1,3] Epoch 1", "[0-1] ", "[0] loss 0.5", "[0] ", "[1] loss 0.6"]
    assert screen.together({0: ["alone"]}, 1) == ["alone"]


def test_progress_bars_end_as_their_last_state() -> None:
    assert screen.clean("1/9\r2/9\r9/9\r") == "9/9"
    assert screen.clean("12\b\b34") == "34"
    assert screen.clean("\b\bx") == "x"


def test_the_line_with_the_bar() -> None:
    assert screen.plain(State("half", 0.5)) == "[###############...............] half"
    assert screen.plain(State("waits")) == "waits"
    assert "<script>" not in screen.marked(State("<script>", 2.0))
    assert 'value="1.0000"' in screen.marked(State("", 2.0))
    assert [screen.clock(one) for one in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]


def test_a_long_output_is_cut_and_the_file_named(capsys: pytest.CaptureFixture[str]) -> None:
    one = screen.Screen(changes=True)
    one.lines([str(number) for number in range(screen.MOST_LINES + 5)], "rank-*.txt")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == screen.MOST_LINES + 1
    assert "all of them are in rank-*.txt" in printed[-1]


def test_tail_gives_complete_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_text("one\ntw")
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\nrest")
    assert tail.lines() == ["two"]
    assert tail.lines(rest=True) == ["rest"]
    assert tail.lines(rest=True) == []


def test_written_in_place_the_file_stays_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    path.write_text("a longer text")
    before = path.stat().st_ino
    write_in_place(path, "over")
    assert (path.read_text(), path.stat().st_ino) == ("over", before)


STEP = {
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[01-02]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "CUDA_VISIBLE_DEVICES": "0,2",
}


def test_processes_know_each_other_and_have_a_gpu_each() -> None:
    hosts = rank.step_hosts(STEP)
    environ = rank.environment(STEP, {"run_folder": "/runs/x", "gpus": 4}, hosts, [1, 2, 3, 4])
    assert json.loads(environ["TF_CONFIG"]) == {
        "cluster": {"worker": ["gpu01:1", "gpu01:2", "gpu02:3", "gpu02:4"]},
        "task": {"type": "worker", "index": 3},
    }
    assert environ["CUDA_VISIBLE_DEVICES"] == "2"
    assert environ["DAVIDE_RUN_DIR"] == "/runs/x"
    assert rank.own_gpu(STEP, wanted=False) == "-1"


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_notebook_is_lost_when_its_beat_stands_still_and_not_when_the_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(rank.time, "monotonic", clock.monotonic)
    folder = Folder(tmp_path / "job")
    folder.make(1, {}, "")
    line = rank.Lifeline(folder, 60)
    for _ in range(100):  # it beats
        clock.now += 1
        folder.beat(f"{clock.now}")
        assert not line.lost()
    clock.now += 1000  # a look that took very long: a file system that stood still, or a job that was suspended
    assert not line.lost()
    seconds = 0
    while not line.lost():
        clock.now += 1
        seconds += 1
    assert 57 <= seconds <= 62


def test_notebook_that_is_over_is_noticed_at_the_next_look(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "job")
    folder.make(1, {}, "")
    line = rank.Lifeline(folder, 1)
    folder.beat()
    assert not line.stale()
    folder.beat("over")
    assert line.stale()


def test_file_of_a_run_is_replaced_as_a_whole(tmp_path: Path) -> None:
    here = place.Here(0, 1, tmp_path)
    (tmp_path / "state.npz").write_text("old")
    with pytest.raises(RuntimeError), here.replacing("state.npz") as draft:
        draft.write_text("half")
        raise RuntimeError
    assert (tmp_path / "state.npz").read_text() == "old"
    with here.replacing("state.npz") as draft:
        assert draft.suffix == ".npz"
        draft.write_text("new")
    assert (tmp_path / "state.npz").read_text() == "new"


def test_outside_of_a_job_a_process_is_the_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    here = place.here()
    assert (here.rank, here.count) == (0, 1)
    here.progress(1, 4, loss=0.25)
    here.progress(2, 4)  # too soon after the first
    here.progress(4, 4)
    assert capsys.readouterr().out == "step 1 of 4 loss 0.25\nstep 4 of 4\n"


def answers(monkeypatch: pytest.MonkeyPatch, **said: tuple[int, str, str] | None) -> None:
    def run(command: str, *_words: str, **_options: object) -> SimpleNamespace:
        answer = said[command]
        if answer is None:
            raise queue.Silent(command)
        return SimpleNamespace(returncode=answer[0], stdout=answer[1], stderr=answer[2])

    monkeypatch.setattr(queue, "_run", run)


@pytest.mark.parametrize(
    ("squeue", "sacct", "phase", "state"),
    [
        ((0, "PENDING|2026-11-30T10:00:00|Resources\n", ""), None, "waiting", "PENDING"),
        ((0, "RUNNING|2026-11-30T10:00:00|None\n", ""), None, "running", "RUNNING"),
        ((0, "NODE_FAIL|N/A|None\n", ""), None, "ended", "NODE_FAIL"),
        (
            (1, "", "slurm_load_jobs error: Invalid job id specified"),
            (0, "CANCELLED by 1000\n", ""),
            "ended",
            "CANCELLED",
        ),
        ((0, "", ""), (0, "RUNNING\n", ""), "absent", ""),
        ((0, "", ""), (0, "", ""), "absent", ""),
        ((0, "", ""), None, "absent", ""),
        ((1, "", "slurm_load_jobs error: Unable to contact slurm controller"), (0, "FAILED\n", ""), "unknown", ""),
        ((0, "Maintenance until noon\n", ""), None, "unknown", ""),
        (None, None, "unknown", ""),
    ],
)
def test_only_a_final_state_proves_an_end(
    monkeypatch: pytest.MonkeyPatch,
    squeue: tuple[int, str, str] | None,
    sacct: tuple[int, str, str] | None,
    phase: str,
    state: str,
) -> None:
    answers(monkeypatch, squeue=squeue, sacct=sacct)
    found = queue.look("7")
    assert (found.phase, found.state) == (phase, state)


# -- what Slurm says, in the hub's words


@pytest.mark.parametrize("reason", (Path(__file__).parent / "data/job-reasons-25.05.txt").read_text().split())
def test_a_cell_says_of_a_reason_what_the_hub_says(reason: str) -> None:
    assert Look("waiting", "PENDING", reason).why == explain(Job(HubPhase.WAITING, "PENDING", reason=reason)).why


def test_the_hubs_words_are_read_without_yaml() -> None:
    assert queue.words() == texts_of("reasons")
