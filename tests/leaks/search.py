"""Looks for words on the host that it runs on: in files, in what commands print, in every process.

Sent to the hosts and run there by their own Python, so it needs the standard library only. What it looks for comes
on its standard input and goes to no disk and into no argv; what it prints are names, never the words themselves.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# File systems that hold no file that anybody wrote.
_UNREAL = frozenset(
    (
        *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "fusectl"),
        *("hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "sysfs", "tracefs"),
    )
)
_QUICK = {**os.environ, "LC_ALL": "C"}  # bytes, not letters
Find = dict[str, str]


def main() -> None:
    """Do what standard input asks for, and print what was found, and what could not be looked at."""
    order = json.load(sys.stdin)
    names = {value.encode(): name for name, values in order["words"].items() for value in values}
    search = Search(names)
    for root in order["roots"] or mounted(order["elsewhere"]):
        search.files(root)
    for place, command in order["commands"].items():
        search.output(place, command)
    search.processes()
    print(json.dumps({"finds": search.finds, "problems": search.problems}))


def mounted(elsewhere: list[str]) -> list[str]:
    """Return where file systems are mounted that files are written to; those that another host looks at left out."""
    rows = [row.split() for row in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted({row[1] for row in rows if row[2] not in _UNREAL and row[1] not in elsewhere})


class Search:
    """One search for many words at once.

    Parameters
    ----------
    names
        The words, and what they are called.
    """

    def __init__(self, names: dict[bytes, str]) -> None:
        self.names = names
        self.finds: list[Find] = []
        self.problems: list[str] = []
        # A file for grep that lies nowhere.
        self._words = os.memfd_create("words")
        with open(self._words, "wb", closefd=False) as file:
            file.write(b"\n".join(names))
        file_of_words = f"/proc/{os.getpid()}/fd/{self._words}"
        self._grep = ["grep", "--text", "--only-matching", "--fixed-strings", f"--file={file_of_words}"]

    def files(self, root: str) -> None:
        """Look into all files below a folder, or into one file; not into other file systems mounted there."""
        find = ["find", root, "-xdev", "-type", "f", "-size", "+0", "-print0"]
        grep = ["xargs", "--null", "--no-run-if-empty", *self._grep, "--with-filename", "--null", "--"]
        with subprocess.Popen(find, stdout=subprocess.PIPE) as listing:
            found = subprocess.run(grep, stdin=listing.stdout, env=_QUICK, capture_output=True, check=False)
        # xargs ends with 123 where a grep found nothing, or a file was gone when it came to it.
        vanished = b"No such file or directory"
        errors = [row for row in _rows(found.stderr) if vanished not in row]
        if errors or found.returncode not in (0, 123):
            self.problems.append(f"{root}: {b' '.join(errors[:3]).decode(errors='replace')} ({found.returncode})")
        # Not line by line: a file's name may have line breaks.
        for path, word in sorted(set(re.findall(rb"([^\0]+)\0([^\n]*)\n", found.stdout))):
            self._note_file(path, word)

    def output(self, place: str, command: str) -> None:
        """Look into what a shell command prints, which has to succeed."""
        shell = ["bash", "-c", f"set -o pipefail; {command}"]
        with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
            found = subprocess.run(self._grep, stdin=running.stdout, env=_QUICK, capture_output=True, check=False)
        if running.returncode or found.returncode not in (0, 1):
            self.problems.append(f"{place}: `{command}` ended with {running.returncode}, grep with {found.returncode}")
        for word in sorted(set(_rows(found.stdout))):
            self._note(place, word)

    def processes(self) -> None:
        """Look into environment and argv of every process of this host."""
        for pid in _processes():
            for what in ("environ", "cmdline"):
                try:
                    content = Path(f"/proc/{pid}/{what}").read_bytes()
                    owner, name = _whose(pid)
                except (FileNotFoundError, ProcessLookupError):
                    break  # it has ended
                except PermissionError:
                    self.problems.append(f"process {pid}: run this as root")
                    break
                for word in self.names:
                    if word in content:
                        self._note(f"{what} of {name}", word, owner)

    def _note_file(self, path: bytes, word: bytes) -> None:
        try:
            shown = os.lstat(path)
        except FileNotFoundError:
            owner = mode = "gone"
        else:
            owner, mode = _user(shown.st_uid), f"{shown.st_mode & 0o7777:04o}"
        self._note(os.fsdecode(path), word, owner, mode)

    def _note(self, place: str, word: bytes, owner: str = "", mode: str = "") -> None:
        # Every match is one of the words; so a name that is missing here would be a fault of this search.
        self.finds.append({"place": place, "name": self.names[word], "owner": owner, "mode": mode})


def _rows(output: bytes) -> list[bytes]:
    return [row for row in output.split(b"\n") if row]


def _processes() -> Iterator[str]:
    """Yield the numbers of this host's processes, but not those of hosts that run inside it."""
    ours = Path("/proc/self/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/pid").readlink() == ours:
                yield process.name
        except OSError:
            continue  # it has ended


def _whose(pid: str) -> tuple[str, str]:
    rows = dict(row.split(":\t", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in row)
    return _user(int(rows["Uid"].split()[0])), rows["Name"]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


if __name__ == "__main__":
    main()
