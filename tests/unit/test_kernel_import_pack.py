"""The pack of an environment's modules: imports are as they were, and the file system is asked less."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).parents[2] / "kernels/import_pack.py"
# What a Python sees of the modules below, and which files it opens for it.
LOOK = """
import sys
opened = []
sys.addaudithook(lambda event, words: opened.append(str(words[0])) if event == "open" else None)
import importlib.resources, inspect, json, pkgutil
import one, one.two, one.late, space.inner, shadowed
loaders = {name: type(sys.modules[name].__loader__).__name__ for name in ("one", "one.two", "one.late", "space.inner")}
print(json.dumps({
    "loaders": loaders,
    "values": [one.VALUE, one.two.VALUE, one.late.VALUE, space.inner.VALUE, shadowed.VALUE],
    "file": one.two.__file__,
    "source": inspect.getsource(one.two.answer),
    "inner": [module.name for module in pkgutil.iter_modules(one.__path__)],
    "data": importlib.resources.files("one").joinpath("data.txt").read_text(),
    "opened": [path.rpartition("/")[2].partition(".")[0] for path in opened if "/one/" in path and ".pyc" in path],
}))
"""


@pytest.fixture
def environment(tmp_path):
    """Return an environment with a package, a namespace, and a module that the working folder hides."""
    root = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    (packages,) = root.glob("lib/python3*/site-packages")
    files = {
        "one/__init__.py": "VALUE = 1\n",
        "one/two.py": "VALUE = 2\ndef answer():\n    return 42\n",
        "one/data.txt": "data",
        "space/inner.py": "VALUE = 4\n",
        "shadowed.py": "VALUE = 'of the environment'\n",
    }
    for name, text in files.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(text)
    subprocess.run([root / "bin/python", "-m", "compileall", "-q", packages], check=True)
    # Not compiled, so not in the pack.
    (packages / "one/late.py").write_text("VALUE = 3\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "shadowed.py").write_text("VALUE = 'of the user'\n")
    return root, packages, work


def look(root, work):
    # The code that a test run makes the Python write must not lie in the environment.
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("PYTHONPATH", None)
    done = subprocess.run([root / "bin/python", "-c", LOOK], cwd=work, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_imports_are_as_before_and_open_no_compiled_file(environment):
    root, _, work = environment
    before = look(root, work)
    subprocess.run([root / "bin/python", PACK], check=True, capture_output=True)
    after = look(root, work)
    assert before.pop("opened") == ["__init__", "two", "late"]
    assert after.pop("opened") == ["late"]
    packed = {"one": "PackLoader", "one.two": "PackLoader", "one.late": "SourceFileLoader", "space.inner": "PackLoader"}
    assert after.pop("loaders") == packed
    del before["loaders"]
    assert after == before
    assert after["values"] == [1, 2, 3, 4, "of the user"]


def test_without_the_packs_files_all_is_as_before(environment):
    root, packages, work = environment
    subprocess.run([root / "bin/python", PACK], check=True, capture_output=True)
    for path in packages.glob("davide_import_pack.*"):
        path.unlink()
    assert look(root, work)["loaders"]["one"] == "SourceFileLoader"


def test_a_source_that_is_newer_than_its_compiled_file_is_not_packed(environment):
    root, packages, work = environment
    (packages / "one/two.py").write_text("VALUE = 'newer'\ndef answer():\n    return 42\n")
    subprocess.run([root / "bin/python", PACK], check=True, capture_output=True)
    assert look(root, work)["values"][1] == "newer"


def test_the_pack_of_another_python_is_left_alone(environment):
    root, packages, work = environment
    subprocess.run([root / "bin/python", PACK], check=True, capture_output=True)
    code = packages / "davide_import_pack.code"
    code.write_bytes(b"none" + code.read_bytes()[4:])
    assert look(root, work)["loaders"]["one"] == "SourceFileLoader"
