"""Slurm's commands as programs in a folder, answered by this process: what two pretended Slurms have in common."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from contextlib import suppress
from pathlib import Path

UNREACHABLE = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
_COMMAND = """#!{python} -IS
import json, os, pathlib, socket, sys
name = pathlib.Path(sys.argv[0]).name
given = sys.stdin.read() if name == "sbatch" else ""
with socket.socket(socket.AF_UNIX) as slurm:
    slurm.connect({socket!r})
    slurm.sendall(json.dumps([[name, *sys.argv[1:]], given, dict(os.environ)]).encode() + b"\\n")
    code, out, err = json.loads(slurm.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""

Answer = tuple[int, str, str]


class SlurmCommands:
    """Answers commands; a subclass says what.

    Attributes
    ----------
    names
        Which commands there are.
    silent
        Whether the controller is out of reach.
    asked
        Every command, with its arguments.
    """

    names: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.silent = False
        self.asked: list[list[str]] = []
        self._answers = threading.Event()
        self._answers.set()

    def start(self) -> None:
        """Put the commands into `folder`/bin, and answer them."""
        socket = self.folder / "slurm"
        (self.folder / "bin").mkdir()
        for name in self.names:
            program = self.folder / "bin" / name
            program.write_text(_COMMAND.format(python=sys.executable, socket=str(socket)))
            program.chmod(0o755)
        self._listener = _Listener(str(socket), self)
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self.thaw()
        self._listener.shutdown()
        self._listener.server_close()

    def freeze(self) -> None:
        """Let every command hang from now on, as a frozen controller does."""
        self._answers.clear()

    def thaw(self) -> None:
        """Answer again."""
        self._answers.set()

    def answer(self, argv: list[str], given: str, environment: dict[str, str]) -> Answer:
        """Return exit code, output and complaint of a command.

        Parameters
        ----------
        argv
            The command.
        given
            What sbatch was given to read.
        environment
            The variables of whoever asks.
        """
        self.asked.append(argv)
        self._answers.wait()
        program, *arguments = argv
        if "--version" in arguments:
            return 0, "slurm-wlm 22.05.8\n", ""
        if self.silent:
            return 1, "", UNREACHABLE
        return self.run_command(program, arguments, given, environment)

    def run_command(self, program: str, arguments: list[str], given: str, environment: dict[str, str]) -> Answer:
        """Return what a Slurm within reach answers."""
        raise NotImplementedError


class _Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, socket: str, commands: SlurmCommands) -> None:
        super().__init__(socket, _Handler)
        self.commands = commands


class _Handler(socketserver.StreamRequestHandler):
    server: _Listener

    def handle(self) -> None:
        answer = self.server.commands.answer(*json.loads(self.rfile.readline()))
        with suppress(BrokenPipeError):  # whoever asked has lost patience, and ended the command
            self.wfile.write(json.dumps(answer).encode())
