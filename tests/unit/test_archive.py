"""The bundle as one file: what is in it, and that a host takes it only whole and only if it is meant."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from davide_lab import archive
from davide_lab.contents import Piece, contents
from davide_lab.say import Problem

TOP = Path(__file__).parents[2]
UNPACK = TOP / "ansible/roles/bundle/files/unpack-bundle"


def own_system() -> dict[str, str]:
    told = dict(row.split("=", 1) for row in Path("/etc/os-release").read_text().splitlines() if "=" in row)
    return {
        "release": told.get("VERSION_CODENAME", told["ID"]).strip('"'),
        "architecture": os.uname().machine,
        "python": "py{}{}".format(*sys.version_info[:2]),
    }


@pytest.fixture
def bundle(tmp_path):
    """Return a small bundle of one wheel and a program, and its manifest."""
    folder = tmp_path / "bundle"
    (folder / "wheels-hub").mkdir(parents=True)
    (folder / "tool-uv").mkdir()
    with zipfile.ZipFile(folder / "wheels-hub/one-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one-1.0.dist-info/METADATA", "Name: one\nVersion: 1.0\nLicense-Expression: MIT\n\ntext")
    (folder / "tool-uv/uv").write_text("#!/bin/sh\n")
    (folder / "tool-uv/uv").chmod(0o755)
    files = {f"{path.parent.name}/{path.name}": digest(path) for path in folder.glob("*/*")}
    return folder, {**own_system(), "files": files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def packed(folder: Path, manifest: dict, to: Path) -> str:
    text = json.dumps(manifest)
    archive.pack(folder, manifest, {"manifest.json": text}, to)
    return hashlib.sha256(text.encode()).hexdigest()


def unpack(file: Path, to: Path, identity: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, UNPACK, file, to, identity], capture_output=True, text=True, check=False)


def test_a_whole_bundle_is_unpacked_and_its_archive_removed(bundle, tmp_path):
    identity = packed(*bundle, tmp_path / "b.tar")
    done = unpack(tmp_path / "b.tar", tmp_path / "to/b", identity)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to/b/wheels-hub/one-1.0-py3-none-any.whl").exists()
    assert os.access(tmp_path / "to/b/tool-uv/uv", os.X_OK)
    assert not (tmp_path / "b.tar").exists()


def test_a_changed_file_is_named_and_nothing_is_left(bundle, tmp_path):
    folder, manifest = bundle
    manifest["files"]["tool-uv/uv"] = "0" * 64
    done = unpack(tmp_path / "b.tar", tmp_path / "to/b", packed(folder, manifest, tmp_path / "b.tar"))
    assert done.returncode == 1
    assert "nothing was changed: tool-uv/uv is not what the manifest says; copy the archive again" in done.stderr
    assert list((tmp_path / "to").iterdir()) == []


def test_another_manifest_than_was_announced_is_refused(bundle, tmp_path):
    packed(*bundle, tmp_path / "b.tar")
    done = unpack(tmp_path / "b.tar", tmp_path / "to/b", "0" * 64)
    assert "its manifest is not the one that was announced" in done.stderr


def test_a_missing_file_is_named(bundle, tmp_path):
    folder, manifest = bundle
    identity = packed(folder, manifest, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as whole, tarfile.open(tmp_path / "c.tar", "w") as part:
        for member in whole.getmembers()[:-1]:
            part.addfile(member, whole.extractfile(member))
    done = unpack(tmp_path / "c.tar", tmp_path / "to/b", identity)
    assert "wheels-hub/one-1.0-py3-none-any.whl is missing in it" in done.stderr


def test_what_the_manifest_does_not_name_is_refused(bundle, tmp_path):
    identity = packed(*bundle, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar", "a") as file:
        member = tarfile.TarInfo("../../etc/evil")
        member.size = 1
        file.addfile(member, io.BytesIO(b"x"))
    done = unpack(tmp_path / "b.tar", tmp_path / "to/b", identity)
    assert "it holds ../../etc/evil, which its manifest does not name" in done.stderr


@pytest.mark.parametrize(("what", "other"), [("release", "sarge"), ("architecture", "ppc64le"), ("python", "py24")])
def test_a_host_of_another_kind_refuses_it(bundle, tmp_path, what, other):
    folder, manifest = bundle
    manifest[what] = other
    done = unpack(tmp_path / "b.tar", tmp_path / "to/b", packed(folder, manifest, tmp_path / "b.tar"))
    assert f"it was made for {what} {other}, and this host has {own_system()[what]}" in done.stderr
    assert not (tmp_path / "to/b").exists()


def test_the_same_content_is_the_same_file(bundle, tmp_path):
    packed(*bundle, tmp_path / "one.tar")
    packed(*bundle, tmp_path / "two.tar")
    assert digest(tmp_path / "one.tar") == digest(tmp_path / "two.tar")


def test_it_says_what_is_in_it_with_version_and_licence(bundle):
    folder, _ = bundle
    (folder / "proxy").mkdir()
    with tarfile.open(folder / "proxy/p.tar.gz", "w:gz") as file:
        text = json.dumps({"name": "@a/b", "version": "2.0", "license": "ISC"}).encode()
        member = tarfile.TarInfo("node_modules/@a/b/package.json")
        member.size = len(text)
        file.addfile(member, io.BytesIO(text))
    assert contents(folder) == [Piece("@a/b", "2.0", "ISC", "proxy"), Piece("one", "1.0", "MIT", "wheels-hub")]


def test_what_is_no_bundle_is_refused_with_the_way_to_one(tmp_path):
    (tmp_path / "x.tar").write_bytes(gzip.compress(b"x"))
    with pytest.raises(Problem, match=r"x.tar can't be read as a bundle .* make one with ./davide bundle SITE"):
        archive.read_archive(tmp_path / "x.tar")


def test_a_bundle_of_another_checkout_is_refused(bundle, tmp_path):
    folder, manifest = bundle
    packed(folder, manifest | {"sources": "another"}, tmp_path / "b.tar")
    read = archive.read_archive(tmp_path / "b.tar")
    with pytest.raises(Problem, match="made from another version of the project than this checkout"):
        archive.require_ours(TOP, read)


def test_nodes_that_nothing_can_be_bundled_for_are_named():
    with pytest.raises(Problem, match=r"no bundle for davide: partition dvd_usr_prod \(ppc64le\) needs"):
        archive.require_buildable(TOP, TOP / "ansible/inventory/davide")
    archive.require_buildable(TOP, TOP / "ansible/inventory/leonardo")
