"""%%davide from the cell to the result, with a pretended Slurm that really runs the job's script (fake_jobs.py)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from davide_course.cell import magic, options, queue, watch
from davide_course.cell.magic import CellInterrupted, Magic
from davide_course.cell.options import Refused
from davide_course.cell.screen import State
from davide_course.cell.verdict import CellFailed
from fake_jobs import FakeJobs


class Recorder:
    """A screen that keeps what it was shown."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.said: list[str] = []

    def state(self, state: State, *, last: bool = False) -> None:
        self.states.append(state)

    def lines(self, lines: list[str], where: str) -> None:
        self.said += lines


class Notebook:
    """A notebook's shell with the magic, beside a pretended Slurm."""

    def __init__(self, slurm: FakeJobs) -> None:
        self.slurm, self.screen = slurm, Recorder()
        self.names: dict[str, Any] = {}
        self._magic = Magic(SimpleNamespace(user_ns=self.names), self.screen)

    def run(self, line: str, cell: str | None = None) -> Any:
        self._magic(line, cell)
        return self.names.get("result")


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    slurm = FakeJobs(tmp_path)
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith(("SLURM_", "DAVIDE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DAVIDE_SECRET", "7h15-15-4-t0k3n")
    monkeypatch.setattr(watch, "LATE_FILES_SECONDS", 1.0)  # there is no other node
    (tmp_path / "a notebook's folder").mkdir()
    monkeypatch.chdir(tmp_path / "a notebook's folder")
    return Notebook(slurm)


def soon(what: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def meanwhile(what: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except OSError:
        return True


WHO = "import os\nfrom davide_course import cell\nhere = cell.here()\n"
PID = WHO + "open(f'pid-{here.rank}', 'w').write(str(os.getpid()))\n"
WAITS = PID + "import time\nprint('waiting', here.rank)\ntime.sleep(100)\n"


def pids(count: int) -> list[int]:
    soon(lambda: all(Path(f"pid-{rank}").exists() and Path(f"pid-{rank}").read_text() for rank in range(count)))
    return [int(Path(f"pid-{rank}").read_text()) for rank in range(count)]


def test_result_comes_back_and_output_of_all_is_shown(book: Notebook) -> None:
    book.names["rates"] = [0.1, 0.2]
    found = book.run(
        "--tasks 3 --send rates",
        WHO + "here.progress(3, 4, loss=0.5)\nprint('hello')\nprint('I am', here.rank)\n"
        "result = {'rates': rates, 'rank': here.rank, 'of': here.count}\n",
    )
    assert found == {"rates": [0.1, 0.2], "rank": 0, "of": 3}
    assert {"[0] I am 0", "[1] I am 1", "[2] I am 2"} <= set(book.screen.said)
    assert book.screen.states[-1].text.startswith("Job 100 is done in 0:0")
    assert soon(lambda: book.slurm.states() == ["COMPLETED"])


def test_every_process_can_bring_back_something(book: Notebook) -> None:
    book.run(
        "--nodes 2 --gpus 4 --all-ranks --result found", WHO + "found = (here.rank, os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    assert book.names["found"] == [(0, "0"), (1, "1"), (2, "0"), (3, "1")]


def test_what_slurm_keeps_holds_nothing_of_the_sessions_environment(book: Notebook) -> None:
    assert book.run("", "import os\nresult = os.environ.get('DAVIDE_SECRET')") is None
    (folder,) = Path("runs").glob("*/.job-*")
    assert "7h15" not in (folder / "job.sh").read_text()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_script_gets_its_words(book: Notebook) -> None:
    Path("train.py").write_text("import sys\nif __name__ == '__main__':\n    result = sys.argv\n")
    assert book.run("--script train.py -- --epochs 3") == ["train.py", "--epochs", "3"]


def test_modules_beside_the_notebook_are_found_and_disturb_nothing(book: Notebook) -> None:
    Path("mine.py").write_text("value = 3\n")
    Path("signal.py").write_text("raise RuntimeError('not this one')\n")
    assert book.run("", "import mine\nresult = mine.value") == 3


def test_steps_are_shown_as_they_come(book: Notebook) -> None:
    book.run(
        "",
        WHO + "import time\nfor i in range(3):\n    here.progress(i + 1, 8, loss=1 / (i + 1))\n    time.sleep(0.5)\n",
    )
    shown = [one for one in book.screen.states if "step 2 of 8, loss 0.5" in one.text]
    assert shown
    assert shown[0].share == 0.25
    assert "on node1: 0:0" in shown[0].text
    assert " of 30:00" in shown[0].text


def test_killed_process_ends_the_cell_with_its_number_node_and_last_lines(book: Notebook) -> None:
    killed: list[float] = []

    def kill() -> None:
        one = pids(4)[2]
        soon(lambda: "[2] waiting 2" in book.screen.said)
        os.kill(one, signal.SIGKILL)
        killed.append(time.monotonic())

    meanwhile(kill)
    with pytest.raises(CellFailed) as caught:
        book.run("--nodes 2 --tasks 4", WAITS)
    assert time.monotonic() - killed[0] < 15
    said = str(caught.value)
    assert "rank 2 on node2 was killed (signal 9, SIGKILL)" in said
    assert "the other 3 were ended" in said
    assert "    waiting 2" in said
    assert "--memory" in said
    assert caught.value._render_traceback_() == [said]
    assert all(soon(lambda pid=pid: gone(pid)) for pid in pids(4))


def test_process_that_watches_may_be_killed_too(book: Notebook) -> None:
    def kill() -> None:
        parent = int(Path(f"/proc/{pids(2)[1]}/stat").read_text().split(")")[1].split()[1])
        os.kill(parent, signal.SIGKILL)

    meanwhile(kill)
    with pytest.raises(CellFailed, match=r"rank 1 on node1 failed \(Killed\)"):
        book.run("--tasks 2", WAITS)
    assert all(soon(lambda pid=pid: gone(pid)) for pid in pids(2))


def test_exception_is_told_by_its_last_lines_with_the_notebooks_line(book: Notebook) -> None:
    with pytest.raises(CellFailed) as caught:
        book.run("--tasks 2", WHO + "import time\nif here.rank == 1:\n    1 / 0\ntime.sleep(100)\n")
    said = str(caught.value)
    assert "rank 1 on node1 failed (status 1)" in said
    # Line 1 of the notebook's cell is %%davide.
    assert 'cell.py", line 7, in <module>' in said
    assert "ZeroDivisionError" in said
    assert "davide_course/cell" not in said


def test_process_that_never_starts_is_named_within_the_patience(book: Notebook) -> None:
    book.slurm.tell("skips", "3")
    began = time.monotonic()
    with pytest.raises(
        CellFailed, match="rank 3 on node2 did not start within 10 s, so the job was ended, with those that"
    ):
        book.run("--nodes 2 --tasks 4 --patience 10", PID)
    assert time.monotonic() - began < 40
    assert not list(Path().glob("pid-*"))  # nobody has begun without it
    assert soon(lambda: book.slurm.states() == ["CANCELLED"])


def test_job_whose_srun_cannot_start_is_told_at_once(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAVIDE_LAUNCH", "/nowhere/launch")
    began = time.monotonic()
    with pytest.raises(CellFailed, match="/nowhere/launch"):
        book.run("", "x = 1")
    assert time.monotonic() - began < 15


def test_interrupt_cancels_the_job(book: Notebook) -> None:
    def interrupt() -> None:
        pids(2)
        os.kill(os.getpid(), signal.SIGINT)

    meanwhile(interrupt)
    with pytest.raises(CellInterrupted, match="job 100 was cancelled"):
        book.run("--tasks 2", WAITS)
    assert book.slurm.states() == ["CANCELLED"]
    assert all(soon(lambda pid=pid: gone(pid)) for pid in pids(2))


def test_interrupt_cancels_a_job_that_waits_and_its_reason_was_shown(book: Notebook) -> None:
    book.slurm.tell("hold", "Priority")

    def interrupt() -> None:
        soon(
            lambda: any(
                "waits: others are before you in the queue (Priority)" in one.text for one in book.screen.states
            )
        )
        os.kill(os.getpid(), signal.SIGINT)

    meanwhile(interrupt)
    with pytest.raises(CellInterrupted):
        book.run("", "x = 1")
    assert book.slurm.states() == ["CANCELLED"]


def test_job_that_can_never_start_is_not_waited_for(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HOPELESS_SECONDS", 0.5)
    book.slurm.tell("hold", "QOSNotAllowed")
    with pytest.raises(
        CellFailed, match=r"would never start: this QOS may not be used in the partition \(QOSNotAllowed\)"
    ):
        book.run("", "x = 1")
    assert book.slurm.states() == ["CANCELLED"]


def test_what_slurm_refuses_is_told_in_its_words(book: Notebook) -> None:
    book.slurm.tell("refuses", "Invalid qos specification")
    with pytest.raises(Refused, match=r"Slurm refused the job: .*Invalid qos specification\. --show"):
        book.run("--qos gold", "x = 1")


def test_lost_reply_of_sbatch_loses_no_job(book: Notebook) -> None:
    book.slurm.tell("loses-reply")
    assert book.run("", "result = 7") == 7
    assert len(book.slurm.jobs()) == 1


def test_slurm_that_does_not_answer_ends_nothing(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "pause", lambda *_, **__: 0.2)

    def deaf() -> None:
        pids(1)
        book.slurm.tell("deaf")
        time.sleep(3)
        book.slurm.again("deaf")
        Path("go").touch()

    meanwhile(deaf)
    assert book.run("", PID + "import time\nwhile not os.path.exists('go'):\n    time.sleep(0.1)\nresult = 5\n") == 5


def test_job_that_queue_and_accounting_forgot_is_alive_as_long_as_it_is_heard(
    book: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "look", lambda _number: queue.Look("absent"))
    monkeypatch.setattr(queue, "pause", lambda *_, **__: 0.1)
    monkeypatch.setattr(watch, "FORGOTTEN_SECONDS", 6.0)
    assert book.run("", "import time\ntime.sleep(2)\nresult = 5\n") == 5


def test_time_limit_is_named_and_the_rerun_goes_on(book: Notebook) -> None:
    cell = (
        WHO + "import time\nimport numpy as np\nstate = here.folder / 'state.npz'\n"
        "done = int(np.load(state)['done']) if state.exists() else 0\nstart = done\n"
        "while done < 3:\n    done += 1\n    with here.replacing('state.npz') as draft:\n"
        "        np.savez(draft, done=done)\n"
        "    if start == 0 and done == 2:\n        (here.folder / 'asleep').touch()\n        time.sleep(100)\n"
        "result = (start, done)\n"
    )
    book.slurm.tell("time-limit", str(Path("runs/digits/asleep").absolute()))
    with pytest.raises(
        CellFailed, match=r"time limit of 30 minutes.*Run it again with --run digits: it finds .* runs/digits"
    ):
        book.run("--run digits", cell)
    book.slurm.again("time-limit")
    assert book.run("--run digits", cell) == (2, 3)
    assert book.run("--run digits --fresh", cell.replace("time.sleep(100)", "pass")) == (0, 3)
    assert len(list(Path("runs").glob("digits.before-*/state.npz"))) == 1


def test_two_cells_do_not_share_a_run(book: Notebook) -> None:
    refused: list[str] = []

    def second() -> None:
        pids(1)
        try:
            Notebook(book.slurm).run("--run one", "x = 1")
        except Refused as refusal:
            refused.append(str(refusal))
        Path("go").touch()

    thread = meanwhile(second)
    book.run("--run one", PID + "import time\nwhile not os.path.exists('go'):\n    time.sleep(0.1)\n")
    thread.join()
    assert "Another cell is working in" in refused[0]


def test_nothing_is_sent_where_something_is_wrong(book: Notebook) -> None:
    for line, cell, said in [
        ("", "x = = 1", "Nothing was submitted"),
        ("--nodes 0", "x = 1", "whole number"),
        ("--send nothing", "x = 1", "the notebook has no variable nothing"),
    ]:
        with pytest.raises(Refused, match=said):
            book.run(line, cell)
    book.names["model"] = object()
    with pytest.raises(Refused, match="can't send <object>"):
        book.run("--send model", "x = 1")
    assert book.slurm.jobs() == []


def test_shown_script_is_the_one_that_is_sent(book: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    book.run("--tasks 2 --run digits --show", "x = 1")
    shown = capsys.readouterr().out
    assert book.slurm.jobs() == []
    assert "Nothing was submitted" in shown
    book.run("--tasks 2 --run digits", "x = 1")
    (sent,) = Path("runs/digits").glob(".job-*/job.sh")
    assert sent.read_text().splitlines()[3:8] == shown.splitlines()[3:8]


def test_host_without_slurm_says_so(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match="This host has no sbatch"):
        book.run("", "x = 1")


def test_help_is_printed(book: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    book.run("--help")
    assert capsys.readouterr().out == options.HELP + "\n"


def test_job_ends_itself_when_its_notebook_is_gone(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kernel that is killed leaves it: no beat any more, no scancel."""
    # Far apart: a beat that a busy machine delays is no notebook that is gone.
    monkeypatch.setattr(watch, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(magic, "PARENT_SECONDS", 4.0)
    monkeypatch.setattr(magic.Job, "_end", lambda _self: None)
    beats = watch.Folder.beat
    monkeypatch.setattr(
        watch.Folder, "beat", lambda self, word="": None if Path("pid-1").exists() else beats(self, word)
    )
    with pytest.raises(CellFailed, match="saw no sign of this notebook any more"):
        book.run("--tasks 2", WAITS)
    assert all(soon(lambda pid=pid: gone(pid)) for pid in pids(2))
    assert soon(lambda: book.slurm.states() == ["FAILED"])
