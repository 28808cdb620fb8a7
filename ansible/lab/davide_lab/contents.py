"""What a bundle holds, by name, version and licence: for whoever has to say what is installed on a cluster."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.parser import HeaderParser
from pathlib import Path

UNSAID = "not said in the package"
_CLASSIFIER = "License :: "


@dataclass(frozen=True)
class Piece:
    """One piece of software in a bundle."""

    name: str
    version: str
    licence: str
    part: str


def contents(bundle: Path) -> list[Piece]:
    """Return all that a bundle holds, part by part."""
    pieces = [piece for part in sorted(bundle.iterdir()) if part.is_dir() for piece in _pieces(part)]
    return sorted(pieces, key=lambda one: (one.part, one.name.lower()))


def as_json(pieces: list[Piece]) -> str:
    """Return them as text for a file."""
    return json.dumps([asdict(one) for one in pieces], indent=1) + "\n"


def _pieces(part: Path) -> Iterator[Piece]:
    for wheel in sorted(part.glob("*.whl")):
        yield _of_wheel(wheel, part.name)
    for deb in sorted(part.glob("*.deb")):
        yield _of_deb(deb, part.name)
    for archive in sorted(part.glob("*.tar.gz")):
        yield from _of_node_modules(archive, part.name)


def _of_wheel(wheel: Path, part: str) -> Piece:
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        told = HeaderParser().parsestr(file.read(name).decode(errors="replace"))
    classified = [
        row.rpartition(" :: ")[2] for row in told.get_all("Classifier", []) if str(row).startswith(_CLASSIFIER)
    ]
    # The field License may hold the whole text: then its first line has to do.
    licence = told["License-Expression"] or ", ".join(classified) or (told["License"] or "").strip().split("\n")[0]
    return Piece(told["Name"], told["Version"], licence or UNSAID, part)


def _of_deb(deb: Path, part: str) -> Piece:
    fields = subprocess.run(
        ["dpkg-deb", "--field", deb, "Package", "Version"], capture_output=True, text=True, check=True
    ).stdout
    told = dict(row.split(": ", 1) for row in fields.splitlines())
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as file:
        named = [one for one in file if one.isfile() and one.name.endswith("/copyright")]
        text = (file.extractfile(named[0]) or io.BytesIO()).read().decode(errors="replace") if named else ""
    licences = dict.fromkeys(found.strip() for found in re.findall(r"^License: *(\S.*)$", text, re.MULTILINE))
    where = f"see /usr/share/doc/{told['Package']}/copyright"
    return Piece(told["Package"], told["Version"], ", ".join(licences) or where, part)


def _of_node_modules(archive: Path, part: str) -> Iterator[Piece]:
    with tarfile.open(archive) as file:
        for member in file:
            if re.fullmatch(r"(.*/)?node_modules/(@[^/]+/)?[^/]+/package\.json", member.name):
                told = json.loads((file.extractfile(member) or io.BytesIO(b"{}")).read())
                licence = told.get("license", UNSAID)
                yield Piece(told["name"], told["version"], licence if isinstance(licence, str) else UNSAID, part)
