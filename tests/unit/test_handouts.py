"""Hand-outs: what a student wrote survives everything; what the student didn't touch is brought up to date."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from davide_course import handouts, safely

NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
OLD = {f"0{number}_lesson.ipynb": f"old text of lesson {number}".encode() * 50 for number in range(4)}
NEW = {name: content.replace(b"old", b"new") for name, content in OLD.items()}
UNTOUCHED, EDITED, DELETED, OFFERED = OLD
MINE = b"what the student wrote"


def publish(folder: Path, files: dict[str, bytes]) -> Path:
    """Write hand-outs and their manifest, as the role `handouts` does."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    listed = {name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
    (folder / "manifest.json").write_text(json.dumps({"files": listed}))
    return folder


def command(*words: str | Path) -> list[str]:
    """Return the command line that a session runs."""
    return [sys.executable, "-m", "davide_course.handouts", *map(str, words)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with the old hand-outs."""
    return publish(tmp_path / "handouts", OLD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the course folder will be: its parent is there, as a home is."""
    return tmp_path / "home" / "course"


@pytest.fixture
def lived_in(source: Path, folder: Path) -> Path:
    """Return a course folder with one lesson untouched, one edited, one deleted, one edited long ago; all new since."""
    handouts.sync(source, folder)
    (folder / OFFERED).write_bytes(MINE + b" first")
    publish(source, OLD | {OFFERED: b"an update in between"})
    handouts.sync(source, folder)
    (folder / EDITED).write_bytes(MINE)
    (folder / DELETED).unlink()
    publish(source, NEW)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files that a student sees."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_complete(folder: Path) -> None:
    """Check that all is as the table of the module says, after `lived_in` and any number of syncs."""
    found = contents(folder)
    found.pop(handouts.NEWS, None)
    assert found == {
        UNTOUCHED: NEW[UNTOUCHED],
        EDITED: MINE,
        "01_lesson.new.ipynb": NEW[EDITED],
        OFFERED: MINE + b" first",
        "03_lesson.new.ipynb": NEW[OFFERED],
    }
    assert not list((folder / ".handouts").glob("*.tmp"))
    assert not list((folder / ".handouts/moved").iterdir())


def assert_nothing_lost(folder: Path) -> None:
    """Check that whatever is there is whole, and that what the student wrote is there."""
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix == ".ipynb"]
    found += [path.read_bytes() for path in (folder / ".handouts/moved").iterdir()]
    assert MINE in found
    assert MINE + b" first" in found
    assert set(found) <= {*OLD.values(), *NEW.values(), MINE, MINE + b" first", b"an update in between"}


def test_a_new_student_gets_every_lesson(source: Path, folder: Path) -> None:
    handouts.sync(source, folder)
    assert contents(folder) == OLD


def test_each_file_is_treated_as_the_table_says(source: Path, lived_in: Path) -> None:
    handouts.sync(source, lived_in)
    assert_complete(lived_in)
    news = (lived_in / handouts.NEWS).read_text()
    assert f"{EDITED}: you changed it, so it was left alone; the new version is 01_lesson.new.ipynb." in news
    assert f"{UNTOUCHED}: brought up to date" in news


def test_a_second_sync_changes_and_says_nothing(
    source: Path, lived_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handouts.sync(source, lived_in)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in lived_in.rglob("*") if path.is_file()}
    capsys.readouterr()
    handouts.sync(source, lived_in)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in before} == before
    assert capsys.readouterr().out == ""


def test_the_new_version_beside_is_not_put_twice(source: Path, lived_in: Path) -> None:
    handouts.sync(source, lived_in)
    (lived_in / "01_lesson.new.ipynb").unlink()
    handouts.sync(source, lived_in)
    assert not (lived_in / "01_lesson.new.ipynb").exists()


def test_a_new_version_that_the_student_works_in_is_kept_too(source: Path, lived_in: Path) -> None:
    handouts.sync(source, lived_in)
    (lived_in / "01_lesson.new.ipynb").write_bytes(b"I go on here")
    publish(source, NEW | {EDITED: b"newest"})
    handouts.sync(source, lived_in)
    assert (lived_in / "01_lesson.new.ipynb").read_bytes() == b"I go on here"
    assert (lived_in / "01_lesson.new-2.ipynb").read_bytes() == b"newest"
    assert (lived_in / EDITED).read_bytes() == MINE


def test_a_file_that_was_there_before_the_course_is_kept(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / EDITED).write_bytes(MINE)
    handouts.sync(source, folder)
    assert (folder / EDITED).read_bytes() == MINE
    assert (folder / "01_lesson.new.ipynb").read_bytes() == OLD[EDITED]


def book(text: str, language: str = "", outputs: tuple[str, ...] = (), kernel: str = "tf-cpu") -> bytes:
    """Return a small notebook as JupyterLab or our build writes it."""
    cell = {"cell_type": "code", "source": [text], "outputs": list(outputs), "metadata": {}}
    metadata = {"kernelspec": {"name": kernel}, "language_info": {"name": "python", "version": language}}
    return json.dumps({"cells": [cell], "metadata": metadata}).encode()


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (book("old", language="3.11"), False),  # opened and saved
        (book("old", outputs=("a result",)), True),
        (book("mine"), True),
        (book("old", kernel="my-own"), True),
        (b'{"cells": []}', True),
    ],
)
def test_a_notebook_that_was_only_opened_is_not_an_edited_one(
    found: bytes, kept: bool, source: Path, folder: Path
) -> None:
    publish(source, {UNTOUCHED: book("old")})
    handouts.sync(source, folder)
    (folder / UNTOUCHED).write_bytes(found)
    publish(source, {UNTOUCHED: book("new")})
    handouts.sync(source, folder)
    assert (folder / UNTOUCHED).read_bytes() == (found if kept else book("new"))
    assert (folder / "00_lesson.new.ipynb").exists() == kept


def test_a_lesson_that_asks_for_another_kernel_is_a_new_version(source: Path, folder: Path) -> None:
    publish(source, {UNTOUCHED: book("old")})
    handouts.sync(source, folder)
    publish(source, {UNTOUCHED: book("old", kernel="tf-gpu")})
    handouts.sync(source, folder)
    assert (folder / UNTOUCHED).read_bytes() == book("old", kernel="tf-gpu")


def test_a_link_or_folder_under_a_lessons_name_is_left_alone(source: Path, folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere.ipynb").write_bytes(MINE)
    (folder / EDITED).symlink_to(tmp_path / "elsewhere.ipynb")
    (folder / UNTOUCHED).mkdir()
    handouts.sync(source, folder)
    assert (folder / EDITED).is_symlink() and (folder / UNTOUCHED).is_dir()
    assert (tmp_path / "elsewhere.ipynb").read_bytes() == MINE
    assert (folder / DELETED).read_bytes() == OLD[DELETED]


def test_fetch_brings_back_what_was_deleted(source: Path, lived_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handouts.sync(source, lived_in)
    handouts.fetch("02", lived_in)
    assert (lived_in / DELETED).read_bytes() == NEW[DELETED]
    handouts.fetch("01", lived_in)
    assert (lived_in / EDITED).read_bytes() == MINE
    assert "reset('01') gives you a fresh one and keeps yours" in capsys.readouterr().out


def test_reset_keeps_the_old_copy(source: Path, lived_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handouts.sync(source, lived_in)
    handouts.reset("01", lived_in)
    assert (lived_in / EDITED).read_bytes() == NEW[EDITED]
    assert (lived_in / "01_lesson.mine.ipynb").read_bytes() == MINE
    assert "Yours is 01_lesson.mine.ipynb." in capsys.readouterr().out
    (lived_in / EDITED).write_bytes(b"a second try")
    handouts.reset("01", lived_in)
    assert (lived_in / "01_lesson.mine.ipynb").read_bytes() == MINE
    assert (lived_in / "01_lesson.mine-2.ipynb").read_bytes() == b"a second try"


def test_show_says_how_every_lesson_stands(source: Path, lived_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handouts.sync(source, lived_in)
    capsys.readouterr()
    handouts.show(lived_in)
    assert capsys.readouterr().out.splitlines() == [
        f"{UNTOUCHED}: as it was handed out",
        f"{EDITED}: changed by you; a new version is 01_lesson.new.ipynb",
        f"{DELETED}: deleted by you",
        f"{OFFERED}: changed by you; a new version is 03_lesson.new.ipynb",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("9", "no hand-outs begin with '9'; choose from 00_lesson"), ("0", "several hand-outs begin")],
)
def test_an_unclear_name_gets_the_choice(
    name: str, sentence: str, source: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handouts.sync(source, folder)
    handouts.fetch(name, folder)
    assert sentence in capsys.readouterr().out


def test_a_lesson_that_is_being_replaced_waits_for_the_next_session(
    source: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / UNTOUCHED).write_bytes(b"half of the new te")
    handouts.sync(source, folder)
    assert not (folder / UNTOUCHED).exists()
    assert contents(folder) == {name: OLD[name] for name in (EDITED, DELETED, OFFERED)}
    assert f"{UNTOUCHED} is being replaced at this moment" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", '{"files": 3}', '{"files": {"a.ipynb": 1}}', "[]"])
def test_a_damaged_manifest_is_a_sentence_and_status_0(
    text: str, source: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "manifest.json").write_text(text)
    assert handouts.main(["sync", str(source), str(folder)]) == 0
    assert "manifest.json is damaged" in capsys.readouterr().out


def test_names_that_would_leave_the_folder_are_ignored(source: Path, folder: Path) -> None:
    evil = {"../evil.ipynb": b"1", ".bashrc": b"2", "a/b.ipynb": b"3", handouts.NEWS: b"4"}
    listed = {name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in evil.items()}
    (source / "manifest.json").write_text(json.dumps({"files": listed}))
    handouts.sync(source, folder)
    assert contents(folder) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"source": "", "files": {"a": {"unknown": 1}}}', "\x00" * 300])
def test_a_damaged_memory_costs_nothing_that_a_student_wrote(text: str, source: Path, lived_in: Path) -> None:
    (lived_in / ".handouts/state.json").write_text(text)
    handouts.sync(source, lived_in)
    handouts.sync(source, lived_in)
    assert_nothing_lost(lived_in)
    assert (lived_in / EDITED).read_bytes() == MINE


def test_an_edit_at_the_very_moment_of_the_update_is_kept(
    source: Path, lived_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_first(path: Path, to: Path) -> None:
        if path.name == UNTOUCHED:
            path.write_bytes(b"saved just now")
        safely.move_new(path, to)

    monkeypatch.setattr(handouts, "move_new", save_first)
    handouts.sync(source, lived_in)
    assert (lived_in / UNTOUCHED).read_bytes() == b"saved just now"


def test_a_save_between_taking_away_and_putting_is_kept(
    source: Path, lived_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved_meanwhile(path: Path, content: bytes, scratch: Path) -> None:
        if path.name == UNTOUCHED and not path.exists():
            path.write_bytes(b"saved just now")
        safely.put_new(path, content, scratch)

    monkeypatch.setattr(handouts, "put_new", saved_meanwhile)
    handouts.sync(source, lived_in)
    assert (lived_in / UNTOUCHED).read_bytes() == b"saved just now"
    assert (lived_in / "00_lesson.new.ipynb").read_bytes() == NEW[UNTOUCHED]


# The calls by which a sync changes the disk. A crash is tried before and after each of them.
CALLS = ["open", "link", "unlink", "replace", "rename", "fsync", "mkdir", "write"]


def crash_at(instant: int, do: Callable[[], None]) -> bool:
    """Run `do` in a child that is killed at its `instant`-th change of the disk; return whether it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def counting(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **more: object) -> object:
                nonlocal count
                for moment in ("before", "after"):
                    if moment == "after":
                        result = real(*arguments, **more)
                    if count == instant:
                        os.kill(os.getpid(), signal.SIGKILL)
                    count += 1
                return result

            return call

        for name in CALLS:
            setattr(os, name, counting(getattr(os, name)))
        with contextlib.redirect_stdout(None):
            do()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def every_crash(start: Path, do: Callable[[Path], None]) -> Iterator[Path]:
    """Yield copies of the folder `start`, each left by `do` after a crash at another instant."""
    for instant in range(2000):
        copy = start.with_name("crashed")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(start, copy)
        if not crash_at(instant, lambda copy=copy: do(copy)):  # type: ignore[misc]
            assert instant > 50, "hardly any crash was tried: does the counting still work?"
            return
        yield copy


def test_a_crash_at_any_instant_of_the_first_sync_leaves_no_lesson_out(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for copy in every_crash(tmp_path / "empty", lambda path: handouts.sync(source, path)):
        handouts.sync(source, copy)
        assert contents(copy) == OLD


def test_a_crash_at_any_instant_of_a_sync_loses_nothing(source: Path, lived_in: Path) -> None:
    for copy in every_crash(lived_in, lambda path: handouts.sync(source, path)):
        assert_nothing_lost(copy)
        handouts.sync(source, copy)
        assert_complete(copy)


def test_a_crash_at_any_instant_of_a_reset_loses_nothing(source: Path, lived_in: Path) -> None:
    handouts.sync(source, lived_in)
    for copy in every_crash(lived_in, lambda path: handouts.put_fresh("01", path)):
        handouts.sync(source, copy)
        found = contents(copy)
        assert found[EDITED] in (MINE, NEW[EDITED])
        assert MINE in (found[EDITED], found.get("01_lesson.mine.ipynb"))
        (copy / EDITED).write_bytes(b"written later")  # every other copy is a file of its own
        assert list(contents(copy).values()).count(b"written later") == 1


def test_kill_9_at_random_instants_loses_nothing(source: Path, lived_in: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - instants, not secrets
    for _ in range(25):
        running = subprocess.Popen(command("sync", source, lived_in), stdout=subprocess.DEVNULL, cwd=NOTEBOOKS)
        time.sleep(chance.uniform(0.02, 0.12))
        running.kill()
        running.wait()
        assert_nothing_lost(lived_in)
    handouts.sync(source, lived_in)
    assert_complete(lived_in)


def at_once(source: Path, folder: Path) -> None:
    """Run six syncs at the same time and wait for them."""
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            with contextlib.redirect_stdout(None), contextlib.suppress(OSError):
                handouts.sync(source, folder)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6


def test_many_syncs_at_once_are_as_good_as_one(source: Path, lived_in: Path) -> None:
    at_once(source, lived_in)
    assert_complete(lived_in)


def test_many_syncs_on_a_file_system_without_locks_lose_nothing(
    source: Path, lived_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handouts, "lock", lambda *_: contextlib.nullcontext(False))
    at_once(source, lived_in)
    assert_nothing_lost(lived_in)
    handouts.sync(source, lived_in)
    assert {UNTOUCHED: NEW[UNTOUCHED], EDITED: MINE, OFFERED: MINE + b" first"}.items() <= contents(lived_in).items()


def test_a_sync_that_hangs_does_not_hang_the_next_session(
    source: Path, lived_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(handouts, "_PATIENCE_SECONDS", 0.1)
    with safely.lock(lived_in / ".handouts/lock", 1):
        assert handouts.main(["sync", str(source), str(lived_in)]) == 0
    assert "could not be brought up to date (another session is doing the same)" in capsys.readouterr().out


def test_a_full_home_is_one_sentence_and_status_0(source: Path, lived_in: Path) -> None:
    before = contents(lived_in)

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    done = subprocess.run(
        command("sync", source, lived_in),
        capture_output=True,
        text=True,
        cwd=NOTEBOOKS,
        check=False,
        preexec_fn=no_room,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Your home is full, so the lessons in ")
    assert done.stdout.count("\n") == 1
    assert contents(lived_in) == before
    assert not list((lived_in / ".handouts").glob("*.tmp"))
    handouts.sync(source, lived_in)
    assert_complete(lived_in)


def test_a_course_folder_that_cannot_be_made_is_one_sentence_and_status_0(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "course").write_text("a file of the student's")
    assert handouts.main(["sync", str(source), str(tmp_path / "course")]) == 0
    assert "could not be brought up to date" in capsys.readouterr().out
    assert (tmp_path / "course").read_text() == "a file of the student's"


def test_it_runs_where_only_the_standard_library_is(source: Path, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", *command("sync", source, folder)[1:]],
        capture_output=True,
        text=True,
        cwd=NOTEBOOKS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert contents(folder) == OLD


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, real=real: (order.append(name), real(*given)))
    safely.put_new(tmp_path / "lesson", b"text", tmp_path)
    assert order == ["fsync", "link", "fsync"]  # the content, the name, the folder that holds the name
