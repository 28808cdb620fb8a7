"""A whole session as a process, as the batch script starts it, from this checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
import websocket

from support.cluster import ROOT

# What `python -m davide_session` does, from a checkout. Root may run it only here: CI runs the tests as root.
START = """
import os, sys
sys.path[:0] = {path!r}
from davide_session.launch import main
if os.geteuid() == 0:
    from jupyter_server.serverapp import ServerApp
    ServerApp.allow_root.default_value = True
sys.exit(main())
"""


def write_entry_points(folder: Path) -> Path:
    """Write what an installed wheel tells other packages of itself; return the folder, which goes into sys.path."""
    project = tomllib.loads((ROOT / "hub/pyproject.toml").read_text())["project"]
    written = folder / f"davide_hub-{project['version']}.dist-info"
    written.mkdir(parents=True)
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (written / "entry_points.txt").write_text("\n".join(lines))
    (written / "METADATA").write_text(f"Metadata-Version: 2.1\nName: davide-hub\nVersion: {project['version']}\n")
    return folder


class SessionProcess:
    """A session that has called home."""

    def __init__(self, process: subprocess.Popen[bytes], hub: Any, home: Path, user: str, token: str) -> None:
        self.process, self.hub, self.home = process, hub, home
        self.url = f"http://127.0.0.1:{hub.calls[0]['port']}/user/{user}"
        self._token = token

    def request(self, method: str, path: str, /, token: str | None = None, **body: Any) -> requests.Response:
        """Return the server's answer, after any redirects."""
        headers = _authorization(self._token if token is None else token)
        return requests.request(method, self.url + path, json=body or None, headers=headers, timeout=60)

    def ask(self, path: str, token: str | None = None) -> requests.Response:
        """Return the server's answer to a question."""
        return self.request("GET", path, token)

    def press(self, path: str, token: str | None = None) -> requests.Response:
        """Return the server's answer to a button."""
        return self.request("POST", path, token)

    def run_in(self, kernel: str, code: str) -> str:
        """Run a cell as a browser does, and return what it printed."""
        url = self.url.replace("http:", "ws:") + f"/api/kernels/{kernel}/channels"
        header = [f"Authorization: token {self._token}"]
        channel = websocket.create_connection(url, timeout=60, header=header)
        try:
            return run_cell(channel, code)
        finally:
            channel.close()

    @property
    def private(self) -> Path:
        """The session's private folder: the runtime folder's parent, as the server itself tells in its log."""
        line = next(line for line in self.log.splitlines() if "cookie secret to" in line)
        return Path(line.split(" to ")[1]).parents[1]

    @property
    def log(self) -> str:
        """What it wrote up to now."""
        return (self.home.parent / "session.log").read_text()


@contextmanager
def session_process(
    hub: Any, home: Path, user: str, token: str, *arguments: object, **environment: str
) -> Iterator[SessionProcess]:
    """Start a session beside `home`, with the software there.

    Parameters
    ----------
    hub
        The stand-in for the hub.
    arguments
        More of them for the launcher.
    environment
        The job's variables, besides those that every one has.
    """
    top = home.parent
    secrets = home / "environment.json"
    secrets.write_text(json.dumps(hub.environment()))
    secrets.chmod(0o600)
    given = [
        "--environment",
        secrets,
        "--software",
        top / "software",
        "--kernel",
        "tf-cpu",
        "--course",
        "davide-course",
    ]
    path = [str(ROOT / "hub"), str(write_entry_points(top / "installed"))]
    command = [sys.executable, "-I", "-c", START.format(path=path), *given, *arguments]
    # TMPDIR as Slurm sets it.
    variables = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TMPDIR": "/tmp"} | environment
    with (top / "session.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, env=variables, stdout=log, stderr=subprocess.STDOUT)
    try:
        assert hub.heard.wait(60), (top / "session.log").read_text()
        yield SessionProcess(process, hub, home, user, token)
    finally:
        process.kill()
        process.wait()


def make_kernel(folder: Path, name: str, display_name: str = "", **more: Any) -> None:
    """Make a kernelspec that runs this Python's ipykernel."""
    argv = [sys.executable, "-I", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": display_name or name, "language": "python"} | more
    (folder / name).mkdir(parents=True)
    (folder / name / "kernel.json").write_text(json.dumps(spec))


def _authorization(token: str) -> Mapping[str, str]:
    return {"Authorization": f"token {token}"} if token else {}


def run_cell(channel: websocket.WebSocket, code: str) -> str:
    """Run a cell over an open channel; return the first thing that it prints."""
    number = uuid4().hex
    header = {"msg_id": number, "session": "s", "username": "", "msg_type": "execute_request", "version": "5.4"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channel.send(json.dumps(message))
    while True:
        answer = json.loads(channel.recv())
        # A kernel that starts says things of its own.
        if answer["msg_type"] == "stream" and answer["parent_header"].get("msg_id") == number:
            text: str = answer["content"]["text"]
            return text
