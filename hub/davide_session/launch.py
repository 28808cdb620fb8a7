"""`davide-session`: what a session's batch script runs."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from davide_session.claim import NotClaimed, claim
from davide_session.environment import EnvironmentFileError, read_environment
from davide_session.handouts import finish_sync, start_sync
from davide_session.notice import VARIABLE
from davide_session.scratch import private_folder
from davide_session.tls import SessionTls


def main(argv: Sequence[str] | None = None) -> int:
    """Run one session until its end; return its exit status."""
    # What is imported stays till the end: looking for garbage in it, again and again, takes a fifth of the start.
    gc.disable()
    arguments = _parser().parse_args(argv)
    os.umask(0o077)
    try:
        if job_id := os.environ.get("SLURM_JOB_ID"):
            claim(arguments.environment.parent, job_id)
        variables = read_environment(arguments.environment)
    except (NotClaimed, EnvironmentFileError) as reason:
        print(reason, file=sys.stderr)
        return 1
    # The signal before the end, should a short session get it before its server is up: it would end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Until the server has a handler of its own: a session cancelled in its first second leaves nothing behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    home = Path.home()
    os.chdir(home)
    sync = start_sync(arguments.software / "handouts", home / arguments.course)
    with private_folder() as private:
        tls = SessionTls.take(variables, private)
        os.environ.update(variables)
        os.environ["JUPYTER_PATH"] = str(arguments.software / "share/jupyter")
        os.environ["JUPYTER_RUNTIME_DIR"] = str(private / "runtime")
        os.environ[VARIABLE] = str(private / "walltime")
        # Slurm sets /tmp where the site sets nothing: everybody's, and full of what others left.
        if os.environ.get("TMPDIR", "/tmp") == "/tmp":  # noqa: S108 - only compared
            os.environ["TMPDIR"] = str(private / "tmp")

        # Not at the top: Jupyter reads the variables above when it is imported, in a time that the hand-outs use.
        from davide_session.lean import import_jupyterlab, lean_imports

        with lean_imports():
            from davide_session import hub_client
            from davide_session.server import serve
            from davide_session.settings import Place, settings
            from davide_session.walltime import Warnings
            from davide_session.watch import Rules

            import_jupyterlab()

        finish_sync(sync)
        hub_client.call_with(tls.client_context() if tls else None)
        place = Place(home, private, arguments.software, arguments.kernel, arguments.course, tls)
        warnings = Warnings(tuple(60 * minutes for minutes in arguments.warn_minutes), arguments.save_seconds)
        serve(settings(place), arguments.environment.parent, Rules(warnings, arguments.idle_minutes))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="davide-session", description="Run JupyterLab as a session of DAVIDE Hub.")
    parser.add_argument("--environment", type=Path, required=True, help="the session's secrets, a 0600 JSON file")
    parser.add_argument("--software", type=Path, required=True, help="the site's software folder")
    parser.add_argument("--kernel", required=True, help="the kernel of new notebooks")
    parser.add_argument("--course", required=True, help="the course's folder in the home")
    # With defaults, for batch scripts that a site changed and has not brought up to date.
    parser.add_argument(
        "--warn-minutes", type=int, nargs="+", default=[15, 5], help="how long before the end the user is warned"
    )
    parser.add_argument(
        "--save-seconds", type=int, default=120, help="how long before the end everything is saved, at the latest"
    )
    parser.add_argument("--idle-minutes", type=int, help="after how long without work the hub ends the session")
    return parser
