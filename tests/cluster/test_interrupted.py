"""A first `up` that is interrupted continues where it was: nothing half-made is taken for finished."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from davide_lab import bundle
from davide_lab.base import base_dir
from davide_lab.place import release
from support.cluster import ROOT

MAKE = (
    "import sys; from pathlib import Path; from davide_lab.bundle import *; make_bundle(Path(sys.argv[1]), sys.argv[2])"
)
NOWHERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "0",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
}


@pytest.fixture
def cache(cluster, tmp_path):
    """Return a cache of its own that holds the base system, so that only the bundle is missing."""
    mine = tmp_path / "davide-hub"
    base = base_dir(release())
    shutil.copytree(base, mine / base.name, symlinks=True, ignore=shutil.ignore_patterns("dev"))
    return tmp_path


def make_bundle(cache, **environ):
    """Make the bundle in a cache, and return what came of it."""
    return subprocess.run(
        [sys.executable, "-c", MAKE, ROOT, release()],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environ},
    )


def test_bundle_continues_after_a_registry_was_out_of_reach(cache):
    parts = cache / "davide-hub" / f"bundle-{release()}"
    failed = make_bundle(cache, **NOWHERE)
    assert failed.returncode != 0
    assert "If a registry was out of reach, check the network and run the same command again" in failed.stderr
    assert not (parts / "manifest.json").exists()
    assert not list(parts.glob("wheels-*")), "no half of a part may look like a part"
    kept = {path.name: path.stat().st_ino for path in parts.iterdir() if not path.name.startswith(".")}
    assert "proxy" in kept, "what came from another registry stays"
    assert make_bundle(cache).returncode == 0
    assert {name: (parts / name).stat().st_ino for name in kept} == kept
    manifest = json.loads((parts / "manifest.json").read_text())
    assert all(bundle.digest(parts / name) == value for name, value in manifest["files"].items())
