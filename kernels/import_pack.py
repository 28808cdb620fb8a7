"""All modules of an environment in one file: `python import_pack.py`, run by the environment's own Python, makes it.

A module costs Python half a dozen calls to the file system, `import tensorflow` has some thousand modules, and on a
shared file system each call is a trip to a server. With a pack, a start opens one file, which holds the index and the
compiled code; names, paths, sources and tracebacks are as they were. What the pack lacks is imported as ever.

An environment is never changed after its installation (an upgrade is a new folder), so nothing looks whether a source
has changed since. Whoever does change one removes the pack: `rm SITE_PACKAGES/davide_import_pack.*`.
"""

from __future__ import annotations

import marshal
import mmap
import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import MAGIC_NUMBER, cache_from_source, spec_from_file_location
from types import CodeType
from typing import Any

NAME = "davide_import_pack"
_HEADER = 16  # of a .pyc: magic number, flags, the source's time and size
_LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
# Packages' own tests are a third of the code, and nobody imports them.
_LEFT_OUT = ("__pycache__", "tests")
# A module's file below its folder, and where its code lies in the pack; no place for a library (.so).
Entry = tuple[str, int, int]


class PackLoader(SourceFileLoader):
    """Loads a module as ever, but its code comes from the pack."""

    def __init__(self, name: str, path: str, code: memoryview) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - this loader has one module
        """Return the module's code."""
        found: CodeType = marshal.loads(self._code)  # noqa: S302 - root wrote it, as the .pyc that it is a copy of
        return found


class PackFinder(FileFinder):
    """Finds what the pack has of a folder without looking at the folder; all else as ever."""

    def __init__(self, path: str, modules: dict[str, Entry], pack: memoryview) -> None:
        super().__init__(path, *_LOADERS)
        self._modules, self._pack = modules, pack

    def find_spec(self, fullname: str, target: Any = None) -> ModuleSpec | None:
        """Return where a module is."""
        entry = self._modules.get(fullname.rpartition(".")[2])
        if entry is None:
            return super().find_spec(fullname, target)
        file, start, size = entry
        path = f"{self.path}/{file}"
        package = [path.rpartition("/")[0]] if "/" in file else None
        loader: Any = ExtensionFileLoader(fullname, path)
        if size:
            loader = PackLoader(fullname, path, self._pack[start : start + size])
        return spec_from_file_location(fullname, path, loader=loader, submodule_search_locations=package)


def install() -> None:
    """Let this Python import from the pack beside this file. Its .pth calls it at each start."""
    site_packages = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - starts without pathlib
    with open(f"{site_packages}/{NAME}.code", "rb") as file:  # noqa: PTH123
        pack = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    magic, size = bytes(pack[:4]), int.from_bytes(pack[4:12], "little")
    if magic != MAGIC_NUMBER:  # of another Python
        return
    folders = marshal.loads(pack[12 : 12 + size])  # noqa: S302 - as above
    codes = pack[12 + size :]

    def hook(path: str) -> PackFinder:
        below = path.removeprefix(site_packages)
        if below == path or below not in folders:
            raise ImportError
        return PackFinder(path, folders[below], codes)

    sys.path_hooks.insert(0, hook)
    # Importing this file has made another one.
    sys.path_importer_cache[site_packages] = hook(site_packages)


def build(site_packages: str) -> tuple[int, int]:
    """Write the pack of a folder; return how many modules it has, and how many bytes."""
    folders: dict[str, dict[str, Entry]] = {}
    codes: list[bytes] = []
    place = 0
    for folder, module, file in _modules(site_packages):
        code = b"" if file.endswith(".so") else _compiled(f"{folder}/{file}")
        if code or file.endswith(".so"):
            folders.setdefault(folder.removeprefix(site_packages), {})[module] = (file, place, len(code))
            codes.append(code)
            place += len(code)
        else:  # Python would prefer this one
            folders.get(folder.removeprefix(site_packages), {}).pop(module, None)
    index = marshal.dumps(folders)
    unfinished = f"{site_packages}/.{NAME}.unfinished"
    with open(unfinished, "wb") as pack:  # noqa: PTH123
        pack.write(MAGIC_NUMBER + len(index).to_bytes(8, "little") + index)
        pack.writelines(codes)
    os.replace(unfinished, f"{site_packages}/{NAME}.code")  # noqa: PTH105
    return len(codes), place


def _modules(top: str) -> Iterator[tuple[str, str, str]]:
    """Yield folder, name and file of each module, in the order in which Python would prefer them, the best last."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name not in _LEFT_OUT)
        for suffixes in (SOURCE_SUFFIXES, reversed(EXTENSION_SUFFIXES)):
            for suffix in suffixes:
                for file in sorted(files):
                    if file.endswith(suffix) and file.removesuffix(suffix).isidentifier():
                        yield folder, file.removesuffix(suffix), file
        for name in folders:
            if os.path.isfile(f"{folder}/{name}/__init__.py"):  # noqa: PTH113
                yield folder, name, f"{name}/__init__.py"


def _compiled(path: str) -> bytes:
    """Return the code in a source's .pyc, or nothing if that is not of this source and this Python."""
    try:
        with open(cache_from_source(path), "rb") as file:  # noqa: PTH123
            content = file.read()
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return b""
    numbers = [int.from_bytes(content[at : at + 4], "little") for at in (4, 8, 12)]
    as_it_is = [0, int(state.st_mtime) & 0xFFFFFFFF, state.st_size & 0xFFFFFFFF]
    return content[_HEADER:] if content[:4] == MAGIC_NUMBER and numbers == as_it_is else b""


def main() -> None:
    """Make the pack of the environment that runs this; the line that uses it comes last."""
    os.umask(0o022)
    site_packages = sysconfig.get_path("purelib")
    modules, size = build(site_packages)
    with open(__file__, "rb") as own, open(f"{site_packages}/{NAME}.py", "wb") as copy:  # noqa: PTH123
        copy.write(own.read())
    with open(f"{site_packages}/{NAME}.pth", "w") as line:  # noqa: PTH123
        line.write(f"import {NAME}; {NAME}.install()\n")
    with open(f"{sys.prefix}/.{NAME}", "w"):  # noqa: PTH123 - Ansible looks for it
        pass
    print(f"{modules} modules, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
