"""Hand-outs: the lessons in a student's course folder, brought up to date, and nothing a student wrote is ever lost.

What happens to a lesson at the start of a session:

=====================  =====================================================
the student's file     what is done
=====================  =====================================================
was never there        put
as it was put          replaced by the new version
edited                 kept; the new version is put beside it, and NEWS.txt
                       says so
deleted                not put back; `fetch` does
=====================  =====================================================

A notebook that was only opened counts as it was put: JupyterLab saves it with what the kernel says of its language. One
that was run has outputs, and counts as edited.

Only the standard library is imported: this runs in the session environment, and in well under a second.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from davide_course.safely import lock, move_new, put_new, read_plain, replace

MANIFEST = "manifest.json"
NEWS = "NEWS.txt"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PATIENCE_SECONDS = 10.0


class HandoutError(Exception):
    """Something that the student or the administrator has to know; the text is a sentence with the remedy."""


@dataclass
class Entry:
    """What we remember of one hand-out in one student's folder."""

    put: str = ""  # digest of the version that we put under the hand-out's own name
    beside: str = ""  # name of the version that we put beside an edited file
    beside_put: str = ""  # its digest
    moving: bool = False  # a replacement has begun: that the file is missing does not mean that the student deleted it


@dataclass
class CourseFolder:
    """A student's course folder with what we remember of it, which is kept in its folder `.handouts`."""

    path: Path
    source: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def hidden(self) -> Path:
        """The folder for the memory and for unfinished files."""
        return self.path / ".handouts"

    @property
    def moved(self) -> Path:
        """The folder that a file goes through while it is replaced."""
        return self.hidden / "moved"

    def remember(self) -> None:
        """Bring the memory to the disk."""
        known = {"source": self.source, "files": {name: asdict(entry) for name, entry in self.entries.items()}}
        replace(self.hidden / "state.json", json.dumps(known, indent=1, sort_keys=True).encode(), self.hidden)

    def tell(self, sentence: str) -> None:
        """Say something in the session's log and in the file that the student sees beside the lessons."""
        print(sentence, flush=True)
        with (self.path / NEWS).open("a", encoding="utf-8") as news:
            news.write(f"{time.strftime('%Y-%m-%d')}  {sentence}\n")


def sync(source: Path, path: Path) -> None:
    """Bring the course folder `path` up to date with the hand-outs in `source`.

    Raises
    ------
    HandoutError
        If there are no hand-outs.
    OSError
        If the disk is full, the folder can't be written, or another session is doing the same for too long.
        Everything that was there is still there.
    """
    source = source.absolute()
    wanted = read_manifest(source)
    folder = open_folder(path)
    with lock(folder.hidden / "lock", _PATIENCE_SECONDS) as alone:
        folder = recall(path)
        if folder.source != str(source):
            folder.source = str(source)
            folder.remember()
        if alone:
            for unfinished in folder.hidden.glob("*.tmp"):
                unfinished.unlink(missing_ok=True)
        bring_back_what_was_moved(folder)
        for name, sha256 in wanted.items():
            try:
                bring(folder, source / name, read_handout(source / name, sha256))
            except HandoutError as problem:
                print(f"Hand-outs: {problem}", flush=True)


def digest(path: Path) -> str | None:
    """Return the digest of a file; None if nothing is there.

    Raises
    ------
    IsADirectoryError
        If something is there that is not a plain file.
    """
    content = read_plain(path)
    return None if content is None else digest_of(content)


def digest_of(content: bytes) -> str:
    """Return a digest of a file's content: of a notebook, without what JupyterLab changes when it only opens it."""
    try:
        book = json.loads(content)
        book["metadata"].pop("language_info", None)
        for cell in book["cells"]:
            cell["source"] = "".join(cell["source"])
        written = [book["metadata"], book["cells"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def bring(folder: CourseFolder, source: Path, content: bytes) -> None:
    """Do for one hand-out what the table at the top of this module says."""
    # The student, or another session on a file system without locks, may do something at any moment: then look again.
    for _ in range(5):
        try:
            bring_once(folder, source.name, content)
        except (FileExistsError, FileNotFoundError):
            continue
        except IsADirectoryError:
            return  # a link or folder of the student's own under the lesson's name
        else:
            return


def bring_once(folder: CourseFolder, name: str, content: bytes) -> None:
    """Do for one hand-out what the table says, unless somebody changes the folder meanwhile."""
    path = folder.path / name
    entry = folder.entries.get(name, Entry())
    found, wanted = digest(path), digest_of(content)
    if found is None and (entry.moving or not entry.put):
        put_new(path, content, folder.hidden)
        settle(folder, name, wanted)
    elif found == wanted:
        if entry.put != wanted or entry.moving:
            settle(folder, name, wanted)
    elif found is not None and found == entry.put:
        update(folder, path, content)
    elif found is not None and wanted not in (entry.put, entry.beside_put):
        put_beside(folder, path, content)


def settle(folder: CourseFolder, name: str, wanted: str) -> None:
    """Remember that the version `wanted` is in the folder under its own name."""
    folder.entries[name] = Entry(put=wanted)
    folder.remember()


def update(folder: CourseFolder, path: Path, content: bytes) -> None:
    """Replace an untouched file."""
    entry = folder.entries[path.name]
    entry.moving = True
    folder.remember()
    if take_away(folder, path, entry.put):
        put_new(path, content, folder.hidden)
        settle(folder, path.name, digest_of(content))
        folder.tell(f"{path.name}: brought up to date; you had not changed it.")
    else:
        entry.moving = False
        folder.remember()


def take_away(folder: CourseFolder, path: Path, expected: str) -> bool:
    """Remove `path` if it still has the digest `expected`; return whether it had.

    A student may save between the moment we read a file and the moment we remove it. So it is moved first, read
    again where nobody else looks for it, and put back if it isn't what it was.
    """
    aside = folder.moved / f"{path.name}.{os.getpid()}-{time.monotonic_ns()}"
    move_new(path, aside)
    if digest(aside) == expected:
        aside.unlink()
        return True
    give_back(folder, aside, path.name)
    return False


def give_back(folder: CourseFolder, aside: Path, name: str) -> None:
    """Put a file of the student's back under its name, or beside it if there is a newer one."""
    try:
        move_new(aside, folder.path / name)
    except FileExistsError:
        if aside.samefile(folder.path / name):  # interrupted between getting its second name and losing its first
            aside.unlink()
            return
        kept = copy_beside(folder, folder.path / name, aside.read_bytes())
        aside.unlink()
        folder.tell(f"{name}: two versions of yours were found; the other one is {kept.name}.")


def bring_back_what_was_moved(folder: CourseFolder) -> None:
    """Mend what an interrupted replacement left: files that aren't hand-outs go back to the student."""
    ours = {known for entry in folder.entries.values() for known in (entry.put, entry.beside_put)}
    for aside in folder.moved.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another session, where the file system has no locks
            if digest(aside) in ours:
                aside.unlink()
            else:
                give_back(folder, aside, aside.name.rpartition(".")[0])


def put_beside(folder: CourseFolder, path: Path, content: bytes) -> None:
    """Keep an edited file and put the new version beside it."""
    wanted = digest_of(content)
    entry = folder.entries.setdefault(path.name, Entry())
    entry.moving = False
    earlier = folder.path / entry.beside if entry.beside else None
    if earlier and digest(earlier) == entry.beside_put:
        take_away(folder, earlier, entry.beside_put)
    for name in names_beside(path, "new"):
        if digest(name) in (None, wanted):
            if digest(name) is None:
                put_new(name, content, folder.hidden)
            entry.beside, entry.beside_put = name.name, wanted
            folder.remember()
            folder.tell(f"{path.name}: you changed it, so it was left alone; the new version is {name.name}.")
            return


def copy_beside(folder: CourseFolder, named: Path, content: bytes) -> Path:
    """Write a student's `content` to the first free name beside `named`, and return that name."""
    for name in names_beside(named, "mine"):
        try:
            put_new(name, content, folder.hidden)
        except FileExistsError:
            continue
        return name
    raise FileExistsError(f"no free name beside {named}")


def names_beside(path: Path, word: str) -> list[Path]:
    """Return the names that another version of `path` may get: lesson.new.ipynb, lesson.new-2.ipynb, ..."""
    suffixes = ["", *(f"-{number}" for number in range(2, 100))]
    return [path.with_name(f"{path.stem}.{word}{suffix}{path.suffix}") for suffix in suffixes]


def fetch(name: str, path: str | Path = ".") -> None:
    """Put a hand-out back that was deleted. For notebooks: what went wrong is printed, not raised.

    Parameters
    ----------
    name
        Its name, or the beginning of it: "01" is enough.
    path
        The course folder.
    """
    print_problems(Path(path), lambda: put_back(name, Path(path)))


def reset(name: str, path: str | Path = ".") -> None:
    """Put a fresh copy of a hand-out in its place; the old one is kept beside it. For notebooks, as `fetch`.

    Parameters
    ----------
    name
        Its name, or the beginning of it: "01" is enough.
    path
        The course folder.
    """
    print_problems(Path(path), lambda: put_fresh(name, Path(path)))


def show(path: str | Path = ".") -> None:
    """Print how each hand-out in the course folder `path` stands. For notebooks, as `fetch`."""
    print_problems(Path(path), lambda: print("\n".join(standing(Path(path)))))


def standing(path: Path) -> list[str]:
    """Return one line per hand-out: what the student did with it, and what lies beside it."""
    folder = recall_here(path)
    lines = []
    for name, entry in sorted(folder.entries.items()):
        found = digest(folder.path / name)
        how = "deleted by you" if found is None else "as it was handed out" if found == entry.put else "changed by you"
        new = f"; a new version is {entry.beside}" if entry.beside and (folder.path / entry.beside).exists() else ""
        lines.append(f"{name}: {how}{new}")
    return lines


def put_back(name: str, path: Path) -> None:
    """Put a hand-out back that was deleted."""
    folder, source, sha256 = find(name, path)
    with lock(folder.hidden / "lock", _PATIENCE_SECONDS):
        content = read_handout(source, sha256)
        try:
            put_new(folder.path / source.name, content, folder.hidden)
        except FileExistsError:
            print(f"{source.name} is there already; reset('{name}') gives you a fresh one and keeps yours.")
            return
        settle(folder, source.name, digest_of(content))
    print(f"{source.name} is back.")


def put_fresh(name: str, path: Path) -> None:
    """Put a fresh copy of a hand-out in its place; the old one is kept beside it."""
    folder, source, sha256 = find(name, path)
    target = folder.path / source.name
    kept = ""
    with lock(folder.hidden / "lock", _PATIENCE_SECONDS):
        content = read_handout(source, sha256)
        if digest(target) == digest_of(content):
            print(f"{source.name} is as fresh as can be.")
            return
        if target.exists():
            kept = make_room(folder, target)
        put_new(target, content, folder.hidden)
        settle(folder, source.name, digest_of(content))
    print(f"{source.name} is fresh again." + (f" Yours is {kept}." if kept else ""))


def make_room(folder: CourseFolder, target: Path) -> str:
    """Take a student's file away after its content is safe under another name; return that name."""
    folder.entries.setdefault(target.name, Entry()).moving = True
    folder.remember()
    while True:
        yours = target.read_bytes()
        kept = copy_beside(folder, target, yours)
        if take_away(folder, target, digest_of(yours)):
            return kept.name


def find(name: str, path: Path) -> tuple[CourseFolder, Path, str]:
    """Return the course folder and the one hand-out whose name begins with `name`, with its sha256.

    Raises
    ------
    HandoutError
        If this isn't a course folder, or none or several hand-outs begin so.
    """
    folder = recall_here(path)
    wanted = read_manifest(Path(folder.source))
    matching = [known for known in wanted if known.startswith(name)]
    if len(matching) != 1:
        choice = ", ".join(matching or wanted)
        raise HandoutError(f"{'several' if matching else 'no'} hand-outs begin with '{name}'; choose from {choice}")
    return folder, Path(folder.source) / matching[0], wanted[matching[0]]


def open_folder(path: Path) -> CourseFolder:
    """Make the course folder and its hidden folder where they are missing."""
    folder = CourseFolder(path)
    folder.moved.mkdir(parents=True, exist_ok=True)
    return folder


def recall(path: Path) -> CourseFolder:
    """Return what is remembered of a course folder; a damaged memory is put aside, and then nothing is known."""
    folder = CourseFolder(path)
    memory = folder.hidden / "state.json"
    try:
        known: dict[str, Any] = json.loads(memory.read_bytes())
        folder.source = str(known["source"])
        folder.entries = {name: Entry(**entry) for name, entry in known["files"].items()}
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError):
        memory.replace(folder.hidden / "state.damaged.json")
    return folder


def recall_here(path: Path) -> CourseFolder:
    """Return what is remembered of the course folder `path`; HandoutError if it isn't one."""
    if not (path / ".handouts").is_dir():
        raise HandoutError(f"{path.resolve()} is not a course folder; open a notebook in the course folder for this")
    return recall(path)


def read_manifest(source: Path) -> dict[str, str]:
    """Return name and sha256 of each hand-out in `source`.

    Raises
    ------
    HandoutError
        If there is no manifest, or it is not one.
    """
    try:
        files = json.loads((source / MANIFEST).read_bytes())["files"]
        wanted = {str(name): str(known["sha256"]) for name, known in files.items()}
    except FileNotFoundError:
        raise HandoutError(
            f"there are no hand-outs in {source}; tell an administrator, the role handouts brings them"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise HandoutError(
            f"{source / MANIFEST} is damaged; tell an administrator, the role handouts mends it"
        ) from None
    # Names become paths in a student's home: plain ones only.
    return {name: known for name, known in wanted.items() if re.fullmatch(r"\w[\w.-]*", name) and name != NEWS}


def read_handout(source: Path, sha256: str) -> bytes:
    """Return a hand-out's bytes.

    Raises
    ------
    HandoutError
        If they aren't those of the manifest: it is being replaced at this moment, or damaged.
    """
    content = source.read_bytes() if source.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise HandoutError(f"{source.name} is being replaced at this moment; the next session brings it")
    return content


def explain(error: OSError, path: Path) -> str:
    """Return one sentence that says what kept the hand-outs from coming, and what to do."""
    if error.errno in FULL:
        return (
            f"Your home is full, so the lessons in {path} could not be brought up to date; nothing of yours was "
            "changed. Delete what you don't need and start the session again."
        )
    why = error.strerror or str(error)
    return f"The lessons in {path} could not be brought up to date ({why}); nothing of yours was changed."


def print_problems(path: Path, do: Callable[[], None]) -> None:
    """Do something to the course folder `path`; what keeps it from being done is printed as one sentence."""
    try:
        do()
    except HandoutError as problem:
        print(f"Hand-outs: {problem}", flush=True)
    except OSError as error:
        print(explain(error, path), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m davide_course.handouts`; the status is 0 even where a sentence says that hand-outs are missing.

    A session without hand-outs is still a session, and a full home is to be mended from within one.
    """
    arguments = _parser().parse_args(argv)
    if arguments.verb == "sync":
        print_problems(arguments.folder, lambda: sync(arguments.source, arguments.folder))
    else:
        {"fetch": fetch, "reset": reset}[arguments.verb](arguments.name, arguments.folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m davide_course.handouts", description="Bring the lessons to a student."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    every = verbs.add_parser("sync", help="bring a course folder up to date")
    every.add_argument("source", type=Path, help="folder of the hand-outs, with its manifest.json")
    every.add_argument("folder", type=Path, help="the student's course folder")
    for verb, text in (("fetch", "put back a deleted lesson"), ("reset", "take a fresh copy and keep the old one")):
        one = verbs.add_parser(verb, help=text)
        one.add_argument("name", help="name of the lesson, or how it begins")
        one.add_argument("--folder", type=Path, default=Path(), help="the course folder (here)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
