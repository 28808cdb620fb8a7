"""What a session does without: each in a Python of its own, since imports can't be undone."""

import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]


def python(code: str, **environ: str) -> str:
    """Return what a fresh Python prints."""
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(TOP / 'hub')!r})\n{code}"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


IMPORT = """
from davide_session.lean import import_jupyterlab, lean_imports
with lean_imports():
    import davide_session.server
    import_jupyterlab()
"""


def test_a_session_imports_nothing_of_the_hubs_own_side():
    modules = set(json.loads(python(f"{IMPORT}\nimport json, sys; print(json.dumps(list(sys.modules)))")))
    assert {"jupyterhub.singleuser.extension", "jupyterlab.labapp"} <= modules
    heavy = {"sqlalchemy", "alembic", "aiohttp", "requests", "httpx", "jupyterhub.orm", "jupyterhub.handlers"}
    assert not heavy & modules


def test_the_real_modules_are_there_afterwards():
    code = f"{IMPORT}\nimport sqlalchemy, requests\nprint(sqlalchemy.select, requests.get)"
    assert "function select" in python(code)


def test_what_stands_in_has_names_that_the_real_modules_have():
    """An upgrade that moves one of them is noticed here."""
    code = """
from importlib import import_module
from davide_session import lean
for name, names in lean._STAND_INS.items():
    module = import_module(name)
    print([f"{name}.{each}" for each in names if not hasattr(module, each)] or "", end="")
"""
    assert python(code) == ""


def test_a_module_that_is_in_use_already_is_not_replaced():
    check = "import jupyterhub.utils\nprint(jupyterhub.utils.SQLAlchemyError is real.SQLAlchemyError)"
    code = f"import sqlalchemy.exc as real\n{IMPORT}\n{check}"
    assert python(code) == "True\n"


def test_a_hub_user_is_let_in_by_jupyterhubs_own_comparison():
    """Scopes are compared by JupyterHub's code, with nothing put in its place."""
    code = f"""{IMPORT}
from jupyterhub.services import auth
from jupyterhub.scopes import _intersect_expanded_scopes as compare
assert auth._intersect_expanded_scopes is compare
for server in ("a/", "b/"):
    print(*compare({{"access:servers!user=a"}}, {{f"access:servers!server={{server}}"}}))
"""
    assert python(code) == "access:servers!server=a/\n\n"


def test_node_js_is_not_asked(tmp_path):
    """The twin: a plain import of JupyterLab does ask it."""
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho asked > {tmp_path}/asked\n")
    node.chmod(0o755)
    python(IMPORT, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert not (tmp_path / "asked").exists()
    python("import jupyterlab.labapp", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (tmp_path / "asked").exists()
