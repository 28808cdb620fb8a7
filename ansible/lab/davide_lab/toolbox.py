"""The tool environment: ansible, ruff, pytest, ... locked with hashes, one folder per lock, shared by all checkouts.

This module runs on any Python >= 3.9 with nothing installed, so it imports only the standard library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from davide_lab.say import Problem, line, minutes, problem

SYSTEM_PYTHON = "/usr/bin/python3"  # not whatever comes first on PATH: the lock is for the distribution's Python
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def cache_dir() -> Path:
    """Return the folder of everything that can be made again: tools, downloads, base systems, bundles."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "davide-hub"


def tool_environment(root: Path) -> Path:
    """Return the folder of the tool environment that belongs to this checkout's lock."""
    lock = root / "ansible" / "lab" / "tools.lock"
    return cache_dir() / f"tools-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"


def clean_environ(tools: Path) -> dict[str, str]:
    """Return the process environment for the tools: complete even where the caller's was empty."""
    environ = dict(os.environ)
    environ.setdefault("HOME", str(Path.home()))
    environ.setdefault("LANG", "C.UTF-8")
    environ["PATH"] = f"{tools / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environ["DEBIAN_FRONTEND"] = "noninteractive"
    # An environment without .pyc files imports several times slower, see inventory/local and role python_env.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    environ.pop("PYTHONPATH", None)
    if Path(CERTIFICATES).exists():
        # A site's own certificate authority is in the system's store; pip and npm carry stores of their own.
        for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"):
            environ.setdefault(name, CERTIFICATES)
    return environ


def make_tool_environment(root: Path, tools: Path) -> None:
    """Build the tool environment beside its final place, and move it there when it is complete.

    Raises
    ------
    Problem
        If Python's venv module is missing and we are not root, or a registry can't be reached.
    """
    if shutil.which(SYSTEM_PYTHON) is None:
        raise Problem(f"{SYSTEM_PYTHON} is missing; install the package python3")
    if subprocess.run([SYSTEM_PYTHON, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        install_packages(["python3-venv"], clean_environ(tools))
    start = time.monotonic()
    line(f"Making the tool environment, once for this version of its lock ({tools.name})")
    unfinished = tools.with_name(f"{tools.name}.unfinished.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    environ = clean_environ(unfinished)
    lock = root / "ansible" / "lab" / "tools.lock"
    pip = [
        str(unfinished / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    try:
        call([SYSTEM_PYTHON, "-m", "venv", str(unfinished)], environ)
        uv_only = unfinished / "uv.lock"
        uv_only.write_text(requirement(lock.read_text(), "uv"))
        call([*pip, "--require-hashes", "--no-deps", "-r", str(uv_only)], environ)
        call(
            [
                str(unfinished / "bin" / "uv"),
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--require-hashes",
                "--python",
                str(unfinished / "bin" / "python"),
                "-r",
                str(lock),
            ],
            uv_environ(environ, unfinished),
        )
        move_environment(unfinished, tools)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    line(f"      done in {minutes(time.monotonic() - start)}")


def uv_environ(environ: dict[str, str], tools: Path) -> dict[str, str]:
    """Return `environ` for uv, which does not read pip's settings: hand it the index that pip was told to use."""
    pip = [str(tools / "bin" / "python"), "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(pip, env=environ, capture_output=True, text=True, check=False)
    uv = {**environ, "UV_HTTP_TIMEOUT": "120", "UV_NO_PROGRESS": "1"}
    if index.returncode == 0 and index.stdout.strip():
        uv["UV_DEFAULT_INDEX"] = index.stdout.strip()
    return uv


def requirement(lock: str, name: str) -> str:
    """Return the lines of a lock that pin `name`, with their hashes."""
    lines = lock.splitlines()
    first = next(i for i, text in enumerate(lines) if text.startswith(f"{name}=="))
    last = next(i for i in range(first, len(lines)) if not lines[i].endswith("\\"))
    return "\n".join(lines[first : last + 1]) + "\n"


def move_environment(made: Path, final: Path) -> None:
    """Put a finished environment at its final path: its scripts name the path, so that is written anew first."""
    for script in (made / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if str(made).encode() in content and b"\0" not in content[:1024]:
            script.write_bytes(content.replace(str(made).encode(), str(final).encode()))
    shutil.rmtree(final, ignore_errors=True)
    made.rename(final)


def install_packages(names: list[str], environ: dict[str, str]) -> None:
    """Install packages of the distribution on this machine, as far as they are missing.

    Raises
    ------
    Problem
        If we are not root, or apt-get fails.
    """
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n", *names]
    shown = subprocess.run(query, env=environ, capture_output=True, text=True, check=False).stdout
    missing = sorted(set(names) - {row.split()[1] for row in shown.splitlines() if row.startswith("installed ")})
    if not missing:
        return
    if os.geteuid() != 0:
        raise Problem(f"packages are missing on this machine; as root run: apt-get install {' '.join(missing)}")
    call(["apt-get", "update", "-qq"], environ)
    call(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], environ)


def call(argv: list[str], environ: dict[str, str]) -> None:
    """Run a program; if it fails, raise a `Problem` that names it and holds the last line it said."""
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [text for text in (done.stderr + done.stdout).splitlines() if text.strip()][-12:]
        raise Problem(
            f"`{Path(argv[0]).name} {' '.join(argv[1:4])} ...` failed; if a registry could not be reached, "
            "check the network and run the same command again, it continues where it can. It said:\n  "
            + "\n  ".join(said)
        )


def run(root: Path, arguments: list[str]) -> int:
    """Make the tools ready, and replace this process by the real command line; returns only if that fails."""
    if sys.version_info < (3, 9):  # noqa: UP036 - this file alone may meet an older one
        problem(f"Python {sys.version.split()[0]} is too old; use the python3 of Debian 12 or newer")
        return 2
    tools = tool_environment(root)
    try:
        if not (tools / "bin" / "python").exists():
            make_tool_environment(root, tools)
    except Problem as found:
        problem(str(found))
        return 1
    except KeyboardInterrupt:
        problem("interrupted; run the same command again, it continues where it can")
        return 130
    environ = {
        **clean_environ(tools),
        "PYTHONPATH": os.pathsep.join(str(root / p) for p in ("ansible/lab", "hub", "notebooks")),
    }
    python = str(tools / "bin" / "python")
    return os.execve(python, [python, "-m", "davide_lab", str(root), *arguments], environ)
